"""Read the file of a fitted model, with its training rows, and write a model version."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.models.manifest import Manifest
from slipway.training.packaging.model_file import find_model_file, open_model
from slipway.training.packaging.rows_file import ColumnChoice, FileRows, read_rows
from slipway.training.packaging.version import describe_model, write_checked


@dataclass(frozen=True)
class AddedModel:
    """A model version that was written, and what to print about it.

    Attributes
    ----------
    manifest : Manifest
    file_notes : tuple of str
        About the file of the model.
    unknown : tuple of str
        What could not be inferred.
    notes : tuple of str
        About the training rows.
    """

    manifest: Manifest
    file_notes: tuple[str, ...]
    unknown: tuple[str, ...]
    notes: tuple[str, ...]


def add_model(
    path: Path,
    output: Path,
    *,
    name: str = "model",
    title: str | None = None,
    positive: str | None = None,
    data: Path | None = None,
    features: str | None = None,
    target: str | None = None,
    drop: str | None = None,
    skew: bool = False,
) -> AddedModel:
    """Read a fitted model, and write it as a model version.

    Parameters
    ----------
    path : Path
        A file of pickle, joblib or skops, compressed or not, or an MLflow model folder.
    output : Path
        The pickle to write; the manifest goes beside it.
    name, title, positive
        As for ``slipway.save``.
    data : Path, optional
        A file of training rows.
    features, target, drop : str, optional
        Columns of ``data``, separated by commas.
    skew : bool
        Whether the pickle can be of another scikit-learn.

    Returns
    -------
    AddedModel

    Raises
    ------
    SlipwayError
        The model cannot be served; the message says why, and what to do.
    """
    path = find_model_file(path)
    opened = open_model(path, path.read_bytes(), allow_version_skew=skew)
    choice = ColumnChoice(_names(features), target, _names(drop))
    rows = read_rows(opened.model, data, choice) if data else FileRows(None, None)
    options: dict[str, Any] = {"name": name, "positive": positive}
    if title:
        options["title"] = title
    described = describe_model(
        opened.model, rows.X, rows.y, source=data.name if data else "", **options
    )
    manifest = write_checked(opened.content, described.manifest, output)
    notes = tuple(f"note: {note}" for note in rows.notes)
    unknown = tuple(f"not known: {note}" for note in described.notes)
    return AddedModel(manifest, tuple(opened.notes), unknown, notes)


def _names(text: str | None) -> tuple[str, ...]:
    """Split an option that lists columns."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())
