"""The commands, on Flask's own Click integration."""

from __future__ import annotations

from flask import Flask

from slipway.following_cli import model
from slipway.retrain_cli import retrain
from slipway.score_cli import score
from slipway.smoke_cli import smoke
from slipway.training_cli import etl, train


def register(app: Flask) -> None:
    """Give an app the commands."""
    for command in (etl, train, score, retrain, model, smoke):
        app.cli.add_command(command)
