"""The commands from raw tables to a model version: ``slipway etl`` and ``slipway train``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import click
from flask.cli import with_appcontext

from slipway.cli.options import (
    FILE,
    FOLDER,
    Stages,
    command_name,
    commit,
    engine_option,
    memory_option,
    one_line_errors,
    rows_option,
    settings,
    since_option,
    source_option,
)
from slipway.data.problem import Problem
from slipway.models.manifest import Manifest


@click.command
@source_option
@rows_option
@since_option
@with_appcontext
def etl(source: str | None, rows: Path | None, since: str | None) -> None:
    """Run the problem's query on a source, check its rows, and write them as Parquet files."""
    # The other commands do not need what reading needs.
    from slipway.data.etl.run import run_etl
    from slipway.data.problem_loading import load_problem

    with one_line_errors():
        problem = load_problem(settings().problem)
        folder = rows or Path("data") / problem.name
        dataset = run_etl(problem, source, folder, since=since, progress=Stages())
    click.echo(f"{dataset.rows_read:,} rows read, {dataset.rows:,} kept in {folder}")
    for reason, count in (dataset.left_out | dataset.quarantined).items():
        click.echo(f"{count:,} not kept: {reason}")
    click.echo(f"content {dataset.data_sha256[:16]}, watermark {dataset.watermark}")


@click.command
@click.option("--rows", type=FOLDER, help="Dataset of `slipway etl`.  [default: read it now]")
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
    help="With the chunks engine: fit one model in several passes, or average one per chunk.",
)
@click.option("--learning-curve", is_flag=True, help="Find how many rows are enough.")
@click.option(
    "--output", type=FILE, help="Pickle to write, with its manifest.  [default: the served model]"
)
@with_appcontext
def train(rows: Path | None, output: Path | None, engine: str, **options: Any) -> None:
    """Train the problem's model, and write model.pkl, model.json and report.html."""
    # Training needs scikit-learn, which the other commands do not.
    from slipway.data.problem_loading import load_problem
    from slipway.training.train import TrainingOptions

    plan = TrainingOptions(
        engine=None if engine == "auto" else cast(Any, engine),
        spark=os.environ.get("SLIPWAY_SPARK", TrainingOptions.spark),
        command=_command(),
        commit=commit(),
        **options,
    )
    with one_line_errors():
        problem = load_problem(settings().problem)
        manifest = _train(problem, rows, output or settings().model, plan)
    for line in _score_lines(manifest):
        click.echo(line)


def _train(problem: Problem, rows: Path | None, output: Path, plan: Any) -> Manifest:
    """Train on a dataset, or on rows that are read for this run alone."""
    from slipway.data.dataset import open_dataset
    from slipway.data.etl.run import default_dataset
    from slipway.training.train import train as train_model

    stages = Stages()
    if rows is not None:
        return train_model(problem, open_dataset(rows), output, plan, stages)
    with default_dataset(problem, stages) as dataset:
        return train_model(problem, dataset, output, plan, stages)


def _score_lines(manifest: Manifest) -> list[str]:
    """Write the scores of each evaluation, and the version."""
    lines = [
        f"{name:8} {scored:18} ROC AUC {scores.roc_auc:.4f}   log loss {scores.log_loss:.4f}   "
        f"calibration error {scores.calibration_error:.4f}"
        for name, evaluation in manifest.evaluations.items()
        for scored, scores in evaluation.scores.items()
    ]
    return [*lines, f"model version {manifest.version}"]


def _command() -> str:
    """Return the command as it was typed, without the paths of this machine."""
    context = click.get_current_context()
    given = {
        f"--{name.replace('_', '-')}": value
        for name, value in context.params.items()
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        and not isinstance(value, Path)
    }
    words = [name if value is True else f"{name} {value}" for name, value in given.items()]
    return " ".join([command_name(), *words])
