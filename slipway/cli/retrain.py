"""``slipway retrain``, which a scheduler runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import click
from flask.cli import with_appcontext

from slipway.cli.options import (
    Stages,
    command_name,
    commit,
    engine_option,
    memory_option,
    mover,
    one_line_errors,
    registry_at,
    registry_option,
    rows_option,
    settings,
    since_option,
    source_option,
    who_option,
)


@click.command
@source_option
@rows_option
@registry_option
@since_option
@engine_option
@memory_option
@click.option(
    "--dry-run", is_flag=True, help="Do everything except pushing the model and moving the alias."
)
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
    **options: Any,
) -> None:
    """Read the rows, train, and promote the model if it is not worse than production.

    Exit status: 0 if the model is in production, now or before; 3 if it stays a candidate, with
    the reason; 1 if the models could not be compared. The evidence is in retrain/promotion.json,
    in the folder of the dataset.
    """
    # Training needs scikit-learn, which the other commands do not.
    from slipway.data.problem_loading import load_problem
    from slipway.training.retraining.run import RetrainingOptions
    from slipway.training.retraining.run import retrain as run
    from slipway.training.retraining.summary import format_promotion
    from slipway.training.train import TrainingOptions

    plan = TrainingOptions(
        engine=None if engine == "auto" else cast(Any, engine),
        memory=memory,
        spark=os.environ.get("SLIPWAY_SPARK", TrainingOptions.spark),
        command=command_name(),
        commit=commit(),
    )
    with one_line_errors():
        problem = load_problem(settings().problem)
        order = RetrainingOptions(
            rows=rows or Path("data") / problem.name,
            registry=registry_at(url),
            who=mover(who),
            training=plan,
            allow_version_skew=settings().allow_version_skew,
            **options,
        )
        promotion = run(problem, order, Stages())
    click.echo("\n" + format_promotion(promotion), nl=False)
    context.exit(promotion.status)
