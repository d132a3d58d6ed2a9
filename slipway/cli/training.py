"""The commands from raw tables to a model version: ``flask etl`` and ``flask train``."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any, cast

import click
from flask import current_app
from flask.cli import with_appcontext

from slipway.core.errors import SlipwayError
from slipway.core.settings import Settings
from slipway.data.problem import Problem
from slipway.data.problem_loading import load_problem
from slipway.models.manifest import Manifest

FOLDER = click.Path(path_type=Path, file_okay=False)


class Size(click.ParamType[int]):
    """A size in memory, such as 1GiB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it."""
        from slipway.training.engines.selection import parse_size

        try:
            return parse_size(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


source_option = click.option(
    "--source",
    envvar="SLIPWAY_SOURCE",
    help="Where the tables are: a folder, or the URL of a bucket, a database, MongoDB, Hive or "
    "Spark; a password comes from the environment, as ${NAME}.  [default: the problem's own]",
)
rows_option = click.option(
    "--rows", type=FOLDER, help="Where to keep them.  [default: data/ and the problem]"
)
since_option = click.option(
    "--since", help="Read anew from this watermark on; 'last' for where it ended."
)
engine_option = click.option(
    "--engine",
    type=click.Choice(["auto", "memory", "chunks", "spark"]),
    default="auto",
    show_default=True,
    help="What fits it; spark uses the master that SLIPWAY_SPARK names.",
)
memory_option = click.option(
    "--memory", type=Size(), help="How much to use, as 1GiB.  [default: what is free]"
)


@click.command
@source_option
@rows_option
@since_option
@with_appcontext
def etl(source: str | None, rows: Path | None, since: str | None) -> None:
    """Run the problem's query on a source, check its rows, and keep them as Parquet files."""
    # Reading needs what nothing else of the command line does.
    from slipway.data.etl.run import run_etl

    try:
        problem = _problem()
        folder = rows or Path("data") / problem.name
        told = run_etl(problem, source, folder, since=since, progress=Stages())
    except SlipwayError as error:
        raise click.ClickException(error.message) from error
    reasons = told.left_out | told.quarantined
    click.echo(f"{told.rows_read:,} rows read, {told.rows:,} kept in {folder}")
    for reason, count in reasons.items():
        click.echo(f"{count:,} not kept: {reason}")
    click.echo(f"content {told.data_sha256[:16]}, watermark {told.watermark}")


@click.command
@click.option("--rows", type=FOLDER, help="What `flask etl` kept.  [default: read them now]")
@engine_option
@click.option(
    "--estimator",
    type=click.Choice(["logistic", "xgboost"]),
    default="logistic",
    show_default=True,
    help="The problem's own pipeline, or XGBoost's trees.",
)
@memory_option
@click.option(
    "--combine",
    type=click.Choice(["passes", "average"]),
    default="passes",
    show_default=True,
    help="Of chunks: one model by passes over all of them, or the average of a model for each.",
)
@click.option("--learning-curve", is_flag=True, help="Find how many rows are enough.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to write the pickle; the rest goes beside it.  [default: the served model]",
)
@with_appcontext
def train(rows: Path | None, output: Path | None, engine: str, **wanted: Any) -> None:
    """Train the problem's model, and write model.pkl, model.json and report.html."""
    # Training needs scikit-learn, which nothing else of the command line does.
    from slipway.training.train import TrainingOptions

    settings: Settings = current_app.extensions["slipway_settings"]
    plan = TrainingOptions(
        engine=None if engine == "auto" else cast(Any, engine),
        spark=os.environ.get("SLIPWAY_SPARK", TrainingOptions.spark),
        command=_command(),
        commit=commit(),
        **wanted,
    )
    try:
        manifest = _trained(_problem(), rows, output or settings.model, plan)
    except SlipwayError as error:
        raise click.ClickException(error.message) from error
    for line in _told(manifest):
        click.echo(line)


def _trained(problem: Problem, rows: Path | None, output: Path, plan: Any) -> Manifest:
    """Train on rows that are kept, or on rows that are read for this once."""
    from slipway.data.dataset import open_dataset
    from slipway.data.etl.run import default_dataset
    from slipway.training.train import train as train_model

    stages = Stages()
    if rows is not None:
        return train_model(problem, open_dataset(rows), output, plan, stages)
    with default_dataset(problem, stages) as stored:
        return train_model(problem, stored, output, plan, stages)


def _told(manifest: Manifest) -> list[str]:
    """Say how good the model is."""
    lines = [
        f"{name:8} {scored:18} ROC AUC {scores.roc_auc:.4f}   log loss {scores.log_loss:.4f}   "
        f"calibration error {scores.calibration_error:.4f}"
        for name, evaluation in manifest.evaluations.items()
        for scored, scores in evaluation.scores.items()
    ]
    return [*lines, f"model version {manifest.version}"]


def _problem() -> Problem:
    """Load the problem that the settings name."""
    settings: Settings = current_app.extensions["slipway_settings"]
    return load_problem(settings.problem)


def _command() -> str:
    """Give the command as it was typed, without the paths of this machine."""
    context = click.get_current_context()
    given = {
        f"--{name.replace('_', '-')}": value
        for name, value in context.params.items()
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        and not isinstance(value, Path)
    }
    words = [name if value is True else f"{name} {value}" for name, value in given.items()]
    return " ".join(["flask", "train", *words])


def commit() -> str:
    """Give the git commit of the code, with a plus where files were changed since."""
    git = ["git", "-C", current_app.root_path]
    try:
        commit = subprocess.check_output([*git, "rev-parse", "HEAD"], text=True, stderr=-3)  # noqa: S603
        changed = subprocess.check_output([*git, "status", "--porcelain"], text=True, stderr=-3)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("SOURCE_VERSION", "")
    return commit.strip() + ("+" if changed.strip() else "")


class Stages:
    """Show each stage as it begins, with the seconds since the start."""

    def __init__(self) -> None:
        self.started = time.perf_counter()

    def __call__(self, stage: str) -> None:
        """Show one."""
        click.echo(f"[{time.perf_counter() - self.started:5.1f} s] {stage}")
