"""The commands for model versions: ``slipway model add|show|diff|sql|report``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from flask.cli import AppGroup

from slipway.cli.options import (
    FILE,
    as_json_option,
    json_text,
    model_options,
    one_line_errors,
    settings,
)
from slipway.core.errors import ModelError
from slipway.models.artifacts import manifest_path
from slipway.models.manifest import Manifest, read_manifest
from slipway.reports.html import write_report
from slipway.reports.model_card import card_text, describe_card
from slipway.reports.model_diff import compare, difference_text
from slipway.reports.model_summary import summary_lines

model = AppGroup("model", help="Add, show, compare, export and release model versions.")


@model.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True))
@click.option("--name", default="model", help="Name of the model.", show_default=True)
@model_options
@click.option("--output", type=FILE, help="Pickle to write.  [default: the served model]")
def add(path: Path, output: Path | None, **options: Any) -> None:
    """Read a fitted model, and write model.pkl and model.json.

    PATH is a file of pickle, joblib or skops, compressed or not, or an MLflow model folder.
    """
    # Opening a model needs scikit-learn, which the other commands do not.
    from slipway.training.packaging.added_model import add_model

    output = output or settings().model
    with one_line_errors():
        added = add_model(path, output, skew=settings().allow_version_skew, **options)
    for line in (*added.file_notes, *summary_lines(added.manifest), *added.unknown, *added.notes):
        click.echo(line)
    click.echo(f"wrote {output.name} and {manifest_path(output).name}: {added.manifest.version}")


@model.command()
@click.argument("path", type=FILE, required=False)
@as_json_option
def show(path: Path | None, as_json: bool) -> None:
    """Print the card of a model version: its features, prediction, terms and scores.

    PATH is a model.pkl with its manifest; the default is the served one.
    """
    card = describe_card(_manifest(path or settings().model))
    click.echo(json_text(card) if as_json else card_text(card), nl=as_json)


@model.command()
@click.argument("a", type=FILE)
@click.argument("b", type=FILE)
@as_json_option
def diff(a: Path, b: Path, as_json: bool) -> None:
    """Print the changes from one model version to another, the largest effect first.

    A and B are two model.pkl with their manifests.
    """
    difference = compare(_manifest(a), _manifest(b))
    click.echo(json_text(difference) if as_json else difference_text(difference), nl=as_json)


@model.command()
@click.argument("path", type=FILE, required=False)
@click.option("--dialect", required=True, help="duckdb, sqlite, postgres, spark, and others.")
@click.option("--table", help="Table of the features.  [default: the model's name]")
@click.option("--key", help="Key column to copy to the output.")
@click.option("--explain", is_flag=True, help="Add the contribution of each feature.")
def sql(path: Path | None, dialect: str, table: str | None, key: str | None, explain: bool) -> None:
    """Print a model version as one SELECT statement.

    PATH is a model.pkl with its manifest; the default is the served one.
    """
    # sqlglot takes a third of a second to import.
    from slipway.compiler.sql import model_sql

    manifest = _manifest(path or settings().model)
    table = table or manifest.name
    with one_line_errors():
        text = model_sql(manifest, table=table, dialect=dialect, key=key, explain=explain)
    click.echo(f"{text};")


@model.command()
@click.argument("path", type=FILE, required=False)
@click.option("--previous", type=FILE, help="Another model.pkl to compare with.")
def report(path: Path | None, previous: Path | None) -> None:
    """Write the report of a model version: report.html beside its pickle.

    PATH is a model.pkl with its manifest; the default is the served one.
    """
    path = path or settings().model
    manifest = _manifest(path)
    try:
        written = write_report(manifest, path, None if previous is None else _manifest(previous))
    except OSError as error:
        raise click.ClickException(f"cannot write the report: {error.strerror}") from error
    click.echo(f"wrote {written.name}: {manifest.version}")


def _manifest(path: Path) -> Manifest:
    """Read the manifest of a model version on the command line."""
    try:
        return read_manifest(path)
    except ModelError as error:
        raise click.ClickException(f"{path}: {error.message}") from error
