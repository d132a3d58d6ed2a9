"""The command that scores data where it is: ``flask score``."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click
from flask import current_app
from flask.cli import with_appcontext

from slipway.core.errors import SlipwayError
from slipway.core.settings import Settings
from slipway.data.problem import Problem
from slipway.data.problem_loading import load_problem
from slipway.models.manifest import Manifest, read_manifest


@click.command
@click.option("--source", envvar="SLIPWAY_SOURCE", help="Where the tables are, as for flask etl.")
@click.option(
    "--out",
    required=True,
    help="A .parquet or .csv file, table:NAME in a database, or a folder with Spark.",
)
@click.option(
    "--model",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A model.pkl with its manifest beside it.  [default: the served model]",
)
@click.option("--table", help="Holds the features.  [default: the problem's query gives them]")
@click.option("--replace", is_flag=True, help="Put the answers in the place of earlier ones.")
@with_appcontext
def score(
    source: str | None, out: str, path: Path | None, table: str | None, replace: bool
) -> None:
    """Score the rows of a source by its own engine; write the answers there or to a file."""
    # SQL and its engines are nothing that the rest of the command line needs.
    from slipway.data.sources import open_source
    from slipway.serving.batch.in_database import score as score_rows

    settings: Settings = current_app.extensions["slipway_settings"]
    try:
        problem = load_problem(settings.problem)
        manifest = read_manifest(path or settings.model)
        wanted = _scored(problem, manifest, table)
        with open_source(source, wanted) as opened:
            done = score_rows(
                manifest, wanted, opened, out, table=table, replace=replace, progress=click.echo
            )
    except SlipwayError as error:
        raise click.ClickException(error.message) from error
    speed = f"{done.rows_per_second:,.0f} a second"
    click.echo(f"{done.rows:,} rows scored in {done.seconds:.1f} s, {speed}, into {done.out}")
    click.echo(f"{done.checked:,} of them held against the model's own answers")


def _scored(problem: Problem, manifest: Manifest, table: str | None) -> Problem:
    """Return the problem with the model's features, whose categories are never missing texts."""
    signature = manifest.signature
    return dataclasses.replace(
        problem,
        features=signature.features,
        missing=signature.missing,
        tables=problem.tables if table is None else (table,),
    )
