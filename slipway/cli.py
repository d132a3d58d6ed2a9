"""The commands, on Flask's own Click integration: ``flask train``, ``flask model …``."""

from __future__ import annotations

import time
from pathlib import Path

import click
from flask import Flask, current_app
from flask.cli import with_appcontext

from slipway.config import Settings
from slipway.errors import SlipwayError
from slipway.model_cli import model
from slipway.problem import load_problem


def register(app: Flask) -> None:
    """Give an app the commands."""
    app.cli.add_command(train)
    app.cli.add_command(model)


@click.command
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to write the pickle; the manifest goes beside it.  [default: the served model]",
)
@with_appcontext
def train(output: Path | None) -> None:
    """Train the problem's model, and write model.pkl and model.json."""
    # Training needs scikit-learn, which nothing else of the command line does.
    from slipway.training.train import train as train_model

    settings: Settings = current_app.extensions["slipway_settings"]
    try:
        problem = load_problem(settings.problem)
        manifest = train_model(problem, output or settings.model, _Stages())
    except SlipwayError as error:
        raise click.ClickException(error.message) from error
    for name, evaluation in manifest.evaluations.items():
        for scored, scores in evaluation.scores.items():
            click.echo(
                f"{name:8} {scored:18} ROC AUC {scores.roc_auc:.4f}   "
                f"log loss {scores.log_loss:.4f}   "
                f"calibration error {scores.calibration_error:.4f}"
            )
    click.echo(f"model version {manifest.version}")


class _Stages:
    """Show each stage as it begins, with the seconds since the start."""

    def __init__(self) -> None:
        self.started = time.perf_counter()

    def __call__(self, stage: str) -> None:
        click.echo(f"[{time.perf_counter() - self.started:5.1f} s] {stage}")
