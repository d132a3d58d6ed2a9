"""The command that a scheduler runs: ``flask retrain``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import click
from flask import current_app
from flask.cli import with_appcontext

from slipway.cli.registry import at, mover, one_line, registry_at, who_option
from slipway.cli.training import (
    Stages,
    commit,
    engine_option,
    memory_option,
    rows_option,
    since_option,
    source_option,
)
from slipway.core.settings import Settings
from slipway.data.problem_loading import load_problem


@click.command
@source_option
@rows_option
@at
@since_option
@engine_option
@memory_option
@click.option("--dry-run", is_flag=True, help="All but to push and to move an alias.")
@who_option
@click.pass_context
@with_appcontext
def retrain(
    context: click.Context,
    /,
    rows: Path | None,
    url: str | None,
    who: str | None,
    engine: str,
    memory: int | None,
    **wanted: Any,
) -> None:
    """Read the rows, train, and promote the model if it is not worse than that in production.

    It ends with 0 if the model is in production now, or was before; with 3 if it stays candidate,
    and says why; with 1 if it could not be decided. retrain/promotion.json, in the folder of the
    rows, has the evidence.
    """
    # Training needs scikit-learn, which the other commands do not.
    from slipway.training.retraining.run import RetrainingOptions
    from slipway.training.retraining.run import retrain as run
    from slipway.training.retraining.summary import format_promotion
    from slipway.training.train import TrainingOptions

    settings: Settings = current_app.extensions["slipway_settings"]
    plan = TrainingOptions(
        engine=None if engine == "auto" else cast(Any, engine),
        memory=memory,
        spark=os.environ.get("SLIPWAY_SPARK", TrainingOptions.spark),
        command="flask retrain",
        commit=commit(),
    )
    with one_line():
        problem = load_problem(settings.problem)
        order = RetrainingOptions(
            rows=rows or Path("data") / problem.name,
            registry=registry_at(url),
            who=mover(who),
            training=plan,
            allow_version_skew=settings.allow_version_skew,
            **wanted,
        )
        promotion = run(problem, order, Stages())
    click.echo("\n" + format_promotion(promotion), nl=False)
    context.exit(promotion.status)
