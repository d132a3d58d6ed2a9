"""Take in a pickle that nobody wrote a manifest for."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from slipway.compiler import find_readings
from slipway.errors import ModelError, SlipwayError
from slipway.manifest import Manifest
from slipway.training.infer import feature_names
from slipway.training.modelfile import open_model
from slipway.training.version import describe_model, stamped

_log = logging.getLogger(__name__)


def adopt(path: Path, content: bytes, *, allow_version_skew: bool = False) -> tuple[Any, Manifest]:
    """Open a bare pickle, and infer what can be known of it.

    Parameters
    ----------
    path : Path
    content : bytes
    allow_version_skew : bool
        Whether it may be of another scikit-learn.

    Returns
    -------
    model : estimator
    manifest : Manifest
        Its version is the file's own time and hash.

    Raises
    ------
    ModelError
        It is no pickle of a model that can be served.
    """
    opened = open_model(path, content, allow_version_skew=allow_version_skew)
    model = opened.model
    for note in opened.notes:
        _log.warning("%s: %s", path.name, note)
    try:
        made = describe_model(model, name=path.stem)
    except SlipwayError as error:
        raise ModelError(f"{path.name} has no manifest, and {error.message}") from error
    changed = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    _log.warning("%s has no manifest beside it; `flask model add` writes one", path.name)
    for note in made.notes:
        _log.warning("not known from the pickle: %s", note)
    return model, stamped(made.manifest, content, changed)


def open_pickle(path: Path, content: bytes, *, allow_version_skew: bool = False) -> Any:
    """Open the file of a model that has no manifest yet; see ``open_model``."""
    return open_model(path, content, allow_version_skew=allow_version_skew).model


def read_rows(model: Any, path: Path) -> tuple[pd.DataFrame, pd.Series[Any] | None]:
    """Read rows from a CSV file; the one column that is no feature is taken for the target.

    Raises
    ------
    ModelError
        The file is not CSV.
    """
    try:
        names = _names(model, pd.read_csv(path, nrows=0))
        rows = pd.read_csv(path, dtype=dict.fromkeys(_texts(model, names), str))
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ModelError(f"{path.name} is not a CSV file: {error}") from error
    others = [column for column in rows.columns if column not in set(names)]
    X = rows.drop(columns=others)
    return X, rows[others[0]] if len(others) == 1 else None


def _names(model: Any, head: pd.DataFrame) -> tuple[str, ...]:
    """Name a model's columns; one that was fitted on an array takes those of a file in their order.

    Raises
    ------
    ModelError
        The file has fewer columns than the model takes.
    """
    count = getattr(model, "n_features_in_", head.shape[1])
    names = feature_names(model, head.iloc[:, :count])
    if len(names) < count:
        raise ModelError(f"the model takes {count} columns, and the file has {len(names)}")
    return names


def _texts(model: Any, names: tuple[str, ...]) -> list[str]:
    """Name the columns that encoders know as texts, because a text can look like a number."""
    readings = (each for each in find_readings(model, names) if hasattr(each.step, "categories_"))
    known = ((each.feature, each.step.categories_[each.position]) for each in readings)
    return [feature for feature, all_ in known if any(isinstance(c, str) for c in all_)]
