"""``slipway score``: score data where it is."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click
from flask.cli import with_appcontext

from slipway.cli.options import FILE, one_line_errors, settings
from slipway.data.problem import Problem
from slipway.models.manifest import Manifest, read_manifest


@click.command
@click.option("--source", envvar="SLIPWAY_SOURCE", help="Tables, as for slipway etl.")
@click.option(
    "--out",
    required=True,
    help="A .parquet or .csv file, table:NAME in a database, or a folder with Spark.",
)
@click.option(
    "--model", "path", type=FILE, help="model.pkl with its manifest.  [default: the served model]"
)
@click.option("--table", help="Table of features.  [default: the problem's query]")
@click.option("--replace", is_flag=True, help="Overwrite earlier predictions.")
@with_appcontext
def score(
    source: str | None, out: str, path: Path | None, table: str | None, replace: bool
) -> None:
    """Score the rows of a source in its own engine; write the predictions there or to a file."""
    # The other commands need neither SQL nor its engines.
    from slipway.data.problem_loading import load_problem
    from slipway.data.sources import open_source
    from slipway.serving.batch.in_database import score as score_rows

    with one_line_errors():
        problem = load_problem(settings().problem)
        manifest = read_manifest(path or settings().model)
        scored = _problem_of_model(problem, manifest, table)
        with open_source(source, scored) as opened:
            done = score_rows(
                manifest, scored, opened, out, table=table, replace=replace, progress=click.echo
            )
    speed = f"{done.rows_per_second:,.0f} a second"
    click.echo(f"{done.rows:,} rows scored in {done.seconds:.1f} s, {speed}, into {done.out}")
    click.echo(f"{done.checked:,} of them compared with the model's own predictions")


def _problem_of_model(problem: Problem, manifest: Manifest, table: str | None) -> Problem:
    """Return the problem with the model's features, whose categories are never missing texts."""
    signature = manifest.signature
    return dataclasses.replace(
        problem,
        features=signature.features,
        missing=signature.missing,
        tables=problem.tables if table is None else (table,),
    )
