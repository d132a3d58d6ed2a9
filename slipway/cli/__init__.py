"""The commands, on Flask's own Click integration."""

from __future__ import annotations

from flask import Flask

from slipway.cli.retrain import retrain
from slipway.cli.rollout import model
from slipway.cli.score import score
from slipway.cli.smoke import smoke
from slipway.cli.training import etl, train


def add_commands(app: Flask) -> Flask:
    """Add the commands to an app, and return it."""
    for command in (etl, train, score, retrain, model, smoke):
        app.cli.add_command(command)
    return app
