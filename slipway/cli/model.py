"""The commands for model versions: ``flask model add|show|diff|sql|report``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click
import msgspec
from flask import current_app
from flask.cli import AppGroup

from slipway.core.errors import ModelError, SlipwayError
from slipway.core.settings import Settings
from slipway.models.artifacts import manifest_path
from slipway.models.features import Target
from slipway.models.manifest import Manifest, read_manifest
from slipway.reports.html import write_report
from slipway.reports.model_card import card_text, describe_card
from slipway.reports.model_diff import compare, difference_text

FILE = click.Path(path_type=Path, dir_okay=False)
EXISTING = click.Path(path_type=Path, dir_okay=False, exists=True)

model = AppGroup("model", help="Add, show, compare, translate and report on model versions.")


@model.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True))
@click.option("--name", default="model", help="For the metadata.", show_default=True)
@click.option("--title", help="The question that the model answers, for the pages.")
@click.option("--positive-class", help="The class whose probability is given.")
@click.option("--data", type=EXISTING, help="A CSV file of training rows, to learn more from.")
@click.option("--features", help="The columns of the fit, in their order, with commas.")
@click.option("--target", help="The column of --data that the model predicts.")
@click.option("--drop", help="Columns of --data to leave out, with commas.")
@click.option("--output", type=FILE, help="Where to write it.  [default: the served model]")
def add(
    path: Path,
    name: str,
    title: str | None,
    positive_class: str | None,
    data: Path | None,
    features: str | None,
    target: str | None,
    drop: str | None,
    output: Path | None,
) -> None:
    """Read a fitted model, and write model.pkl and model.json.

    PATH is a file of pickle, joblib or skops, compressed or not, or the folder of MLflow.
    """
    # Opening a model needs scikit-learn, which nothing else of the command line does.
    from slipway.training.packaging.model_file import find_model_file, open_model
    from slipway.training.packaging.rows_file import ColumnChoice, FileRows, read_rows
    from slipway.training.packaging.version import describe_model, write_checked

    settings: Settings = current_app.extensions["slipway_settings"]
    output = output or settings.model
    try:
        path = find_model_file(path)
        skew = settings.allow_version_skew
        opened = open_model(path, path.read_bytes(), allow_version_skew=skew)
        choice = ColumnChoice(_listed(features), target, _listed(drop))
        rows = read_rows(opened.model, data, choice) if data else FileRows(None, None)
        named: dict[str, Any] = {"name": name, "positive": positive_class}
        if title:
            named["title"] = title
        source = data.name if data else ""
        made = describe_model(opened.model, rows.X, rows.y, source=source, **named)
        manifest = write_checked(opened.content, made.manifest, output)
    except SlipwayError as error:
        raise click.ClickException(error.message) from error
    notes = [*_told(manifest, made.notes), *(f"note: {note}" for note in rows.notes)]
    for line in (*opened.notes, *notes):
        click.echo(line)
    click.echo(f"wrote {output.name} and {manifest_path(output).name}: {manifest.version}")


@model.command()
@click.argument("path", type=FILE, required=False)
@click.option("--json", "as_json", is_flag=True, help="As JSON, with every level and interval.")
def show(path: Path | None, as_json: bool) -> None:
    """Print the card of a model version: what it takes, gives and adds up, and how good it is.

    PATH is a model.pkl, whose manifest stands beside it; the default is the served one.
    """
    settings: Settings = current_app.extensions["slipway_settings"]
    card = describe_card(_manifest(path or settings.model))
    click.echo(_json(card) if as_json else card_text(card), nl=as_json)


@model.command()
@click.argument("a", type=FILE)
@click.argument("b", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def diff(a: Path, b: Path, as_json: bool) -> None:
    """Print what has changed from one model version to another, the largest effect first.

    A and B are two model.pkl, with their manifests beside them.
    """
    difference = compare(_manifest(a), _manifest(b))
    click.echo(_json(difference) if as_json else difference_text(difference), nl=as_json)


@model.command()
@click.argument("path", type=FILE, required=False)
@click.option("--dialect", required=True, help="duckdb, sqlite, postgres, spark, and others.")
@click.option("--table", help="What holds the features' columns.  [default: the model's name]")
@click.option("--key", help="A column that tells the rows apart, to be handed on.")
@click.option("--explain", is_flag=True, help="With every feature's contribution.")
def sql(path: Path | None, dialect: str, table: str | None, key: str | None, explain: bool) -> None:
    """Print a model version as one SELECT, to be run where the data is.

    PATH is a model.pkl, whose manifest stands beside it; the default is the served one.
    """
    # sqlglot takes a third of a second to import, and a web process does not have it.
    from slipway.compiler.sql import model_sql

    settings: Settings = current_app.extensions["slipway_settings"]
    manifest = _manifest(path or settings.model)
    table = table or manifest.name
    try:
        text = model_sql(manifest, table=table, dialect=dialect, key=key, explain=explain)
    except SlipwayError as error:
        raise click.ClickException(error.message) from error
    click.echo(f"{text};")


@model.command()
@click.argument("path", type=FILE, required=False)
@click.option("--previous", type=FILE, help="Another model.pkl to compare with.")
def report(path: Path | None, previous: Path | None) -> None:
    """Write the report of a model version: report.html beside its pickle.

    PATH is a model.pkl, whose manifest stands beside it; the default is the served one.
    """
    settings: Settings = current_app.extensions["slipway_settings"]
    path = path or settings.model
    manifest = _manifest(path)
    try:
        written = write_report(manifest, path, None if previous is None else _manifest(previous))
    except OSError as error:
        raise click.ClickException(f"cannot write the report: {error.strerror}") from error
    click.echo(f"wrote {written.name}: {manifest.version}")


def _listed(names: str | None) -> tuple[str, ...]:
    """Split an option that lists columns."""
    return tuple(name.strip() for name in (names or "").split(",") if name.strip())


def _manifest(path: Path) -> Manifest:
    """Read the manifest of a model version that was named on the command line."""
    try:
        return read_manifest(path)
    except ModelError as error:
        raise click.ClickException(f"{path}: {error.message}") from error


def _json(told: msgspec.Struct) -> str:
    """Write a card or a difference as JSON that people can read as well."""
    return msgspec.json.format(msgspec.json.encode(told), indent=2).decode()


def _told(manifest: Manifest, notes: list[str]) -> list[str]:
    """Say what will be served, by which engine, and what could not be known."""
    signature = manifest.signature
    kinds = Counter(feature.kind for feature in signature.features)
    counted = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    rows = manifest.training.rows_read
    checked = f"{rows:,} rows and {len(manifest.golden)} golden rows"
    engine = f"engine: scorecard, the model's equal on {checked}"
    if manifest.scorecard is None:
        engine = f"engine: pickle, because {manifest.reason}"
    return [
        f"{manifest.estimator}: {_answer(signature.target)}",
        f"{len(signature.features)} features: {counted}",
        engine,
        *(f"not known: {note}" for note in notes),
    ]


def _answer(target: Target) -> str:
    """Say what the model gives."""
    if target.task == "regression":
        return f"a value, {target.name}"
    number = target.measure_name
    if not number:
        return f"a label, one of {', '.join(target.classes)}"
    if target.task == "binary":
        return f"the {number} of {target.positive!r}, of {' or '.join(target.classes)}"
    numbers = {"probability": "probabilities", "score": "scores"}[number]
    return f"the {numbers} of {', '.join(target.classes)}"
