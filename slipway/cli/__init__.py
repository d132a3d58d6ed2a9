"""The commands, which ``slipway`` and a project's ``flask`` share."""

from __future__ import annotations

import click
from flask import Flask

from slipway.cli import registry, rollout  # noqa: F401 - they add commands to the group model
from slipway.cli.model import model
from slipway.cli.retrain import retrain
from slipway.cli.score import score
from slipway.cli.smoke import smoke
from slipway.cli.training import etl, train

COMMANDS: tuple[click.Command, ...] = (model, etl, train, score, retrain, smoke)


def add_commands(app: Flask) -> Flask:
    """Add the commands to an app, and return it."""
    for command in COMMANDS:
        app.cli.add_command(command)
    return app
