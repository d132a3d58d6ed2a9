"""Divide the columns of a CSV file into the features and the target of a fitted model."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import is_classifier

from slipway.core.errors import ModelError
from slipway.training.packaging.csv_rows import read_csv_rows
from slipway.training.packaging.input_rows import get_feature_names, predicts_rows
from slipway.training.packaging.unread_columns import find_read_columns

_TARGET_NAMES = {"target", "label", "labels", "class", "y"}
_INDEX = re.compile(r"Unnamed: \d+")


@dataclass
class FileRows:
    """The rows of a file, divided into features and target.

    Attributes
    ----------
    X : DataFrame of shape (n_rows, n_features), optional
    y : Series of shape (n_rows,), optional
    notes : list of str
        Notes for the output of the command.
    """

    X: pd.DataFrame | None
    y: pd.Series[Any] | None
    notes: list[str] = field(default_factory=list)


@dataclass
class ColumnChoice:
    """The columns that the owner has named.

    Attributes
    ----------
    features, drop : tuple of str
    target : str, optional
    """

    features: tuple[str, ...] = ()
    target: str | None = None
    drop: tuple[str, ...] = ()


def read_rows(model: Any, path: Path, choice: ColumnChoice | None = None) -> FileRows:
    """Read the rows that a model was fitted on from a CSV file.

    Parameters
    ----------
    model : estimator
    path : Path
    choice : ColumnChoice, optional

    Returns
    -------
    FileRows

    Raises
    ------
    ModelError
        The file is not CSV, lacks a column, or is ambiguous; the message shows the options
        that resolve it.
    """
    choice = choice or ColumnChoice()
    rows = read_csv_rows(model, path, choice.features or get_feature_names(model) or ())
    _require_columns(path, rows, [*choice.features, *choice.drop, *filter(None, [choice.target])])
    index = [name for name in rows.columns if _INDEX.fullmatch(name)]
    notes = [f"{', '.join(index)}: pandas index, dropped"] if index else []
    rows = rows.drop(columns=[*index, *choice.drop])
    if choice.target is not None:
        _require_classes(model, path, rows[choice.target])
    names = choice.features or get_feature_names(model)
    if names:
        selected = _select_by_name(model, path, rows, names, choice)
    else:
        selected = _select_by_position(model, path, rows, choice)
    selected.notes = notes + selected.notes
    if selected.X is not None and names:
        selected.X, category_notes = _to_categories(model, selected.X)
        selected.notes += category_notes
    if selected.X is not None and selected.y is not None:
        selected.notes += _warn_if_implausible(model, selected.X, selected.y)
    return selected


def _require_columns(path: Path, rows: pd.DataFrame, names: Sequence[str]) -> None:
    """Require the named columns in the file."""
    missing = [name for name in dict.fromkeys(names) if name not in rows]
    if missing:
        present = ", ".join(map(str, rows.columns[:20]))
        raise ModelError(
            f"{path.name} has no column {', '.join(missing)}; its columns are {present}"
        )


def _require_classes(model: Any, path: Path, target: pd.Series[Any]) -> None:
    """Require a class of the model in the column that is named as the target."""
    classes = getattr(model, "classes_", None)
    if classes is None or isinstance(classes, list):
        return
    known = set(map(_normalize_class, np.asarray(classes).tolist()))
    if known.isdisjoint(map(_normalize_class, target.dropna().unique())):
        listed = ", ".join(map(str, np.asarray(classes).tolist()[:10]))
        raise ModelError(f"column {target.name} of {path.name} has none of the classes {listed}")


def _to_categories(model: Any, X: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Convert texts to pandas categories if the model raises otherwise."""
    texts = [name for name in X.columns if not pd.api.types.is_numeric_dtype(X[name])]
    if not texts or predicts_rows(model, X):
        return X, []
    typed = X.astype(dict.fromkeys(texts, "category"))
    if not predicts_rows(model, typed):
        return X, []
    return typed, [f"{', '.join(texts)}: converted to pandas categories, which the model requires"]


def _select_by_name(
    model: Any, path: Path, rows: pd.DataFrame, names: Sequence[str], choice: ColumnChoice
) -> FileRows:
    """Select the columns by the names of the model or its owner."""
    read = names if choice.features else find_read_columns(model, tuple(names))
    _require_columns(path, rows, read)
    # The model does not read the other columns, so the file may lack them.
    rows = rows.assign(**{name: None for name in names if name not in rows})
    others = [name for name in rows.columns if name not in set(names)]
    target = choice.target or _recognize_target(model, rows[others])
    if target is None and len(others) == 1:
        target = others[0]
    if target is None:
        candidates = " or ".join(others[:10])
        notes = [f"the target may be {candidates}; name it with --target"] if others else []
        return FileRows(rows[list(names)], None, notes)
    return FileRows(rows[list(names)], rows[target])


def _select_by_position(
    model: Any, path: Path, rows: pd.DataFrame, choice: ColumnChoice
) -> FileRows:
    """Select the columns for a model without names, if there is only one way."""
    count = _count_features(model)
    target = choice.target or _recognize_target(model, rows)
    features = [name for name in rows.columns if name != target]
    regressor_needs_target = not is_classifier(model) and target is None
    # A custom first step accepts any number of columns; later steps check it.
    count = len(features) if count is None and target is not None else count
    if count is not None and len(rows.columns) < count:
        raise ModelError(f"the file has {len(rows.columns)} columns; the model takes {count}")
    if len(features) != count or regressor_needs_target:
        raise ModelError(_describe_ambiguity(path, rows, count, target))
    return FileRows(rows[features], None if target is None else rows[target])


def _recognize_target(model: Any, rows: pd.DataFrame) -> str | None:
    """Recognise the target by its name, or as the only column with the model's classes."""
    named = [name for name in rows.columns if name.lower() in _TARGET_NAMES]
    if len(named) == 1:
        return str(named[0])
    classes = getattr(model, "classes_", None)
    if classes is None or isinstance(classes, list):
        return None
    known = set(map(_normalize_class, np.asarray(classes).tolist()))
    values_by_name = {
        name: set(map(_normalize_class, rows[name].dropna().unique())) for name in rows.columns
    }
    candidates = [name for name, values in values_by_name.items() if values and values <= known]
    return str(candidates[0]) if len(candidates) == 1 else None


def _normalize_class(value: Any) -> str:
    """Return a class as a text that does not depend on its type in a file."""
    if isinstance(value, bool | np.bool_ | str):
        return str(value)
    try:
        return str(float(value))
    except (TypeError, ValueError):
        return str(value)


def _count_features(model: Any) -> int | None:
    """Return the number of columns that a model was fitted on, or None if unknown."""
    first = model.steps[0][1] if hasattr(model, "steps") else model
    if hasattr(first, "build_analyzer"):
        return 1
    count = getattr(model, "n_features_in_", None)
    return None if count is None else int(count)


def _describe_ambiguity(
    path: Path, rows: pd.DataFrame, count: int | None, target: str | None
) -> str:
    """Describe why the columns are ambiguous, with a command that resolves it."""
    columns = [str(name) for name in rows.columns]
    y = target or next((c for c in reversed(columns) if c.lower() in _TARGET_NAMES), columns[-1])
    features = [name for name in columns if name != y]
    numeric = [name for name in features if pd.api.types.is_numeric_dtype(rows[name])]
    wanted = count or len(features)
    chosen = (numeric if len(numeric) >= wanted else features)[-wanted:]
    dropped = [name for name in features if name not in chosen]
    command = f"--features {','.join(chosen)} --target {y}"
    command += f" --drop {','.join(dropped)}" if dropped else ""
    described = f"{count} columns" if count else "columns"
    problem = f"the model was fitted on {described} without names, and {path.name} has "
    return (
        f"{problem}{len(columns)} ({', '.join(columns[:20])}); name them in the order of the fit, "
        f"for example: slipway model add … --data {path.name} {command}"
    )


def _warn_if_implausible(model: Any, X: pd.DataFrame, y: pd.Series[Any]) -> list[str]:
    """Return a warning if a model is not better than a guess, a sign of wrong columns."""
    known = y.notna()
    try:
        features = X[known] if get_feature_names(model) else X[known].to_numpy()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            predicted = np.asarray(model.predict(features))
    except Exception:  # a later check of the rows reports the error
        return []
    advice = "check the columns and the target"
    if is_classifier(model):
        correct = [
            _normalize_class(a) == _normalize_class(b)
            for a, b in zip(predicted, y[known], strict=True)
        ]
        accuracy, share = (
            float(np.mean(correct)),
            float(y[known].value_counts(normalize=True).max()),
        )
        if accuracy > share:
            return []
        figures = (
            f"accuracy on these rows is {accuracy:.2f}, always the commonest class {share:.2f}"
        )
        return [f"{figures}; {advice}"]
    if not pd.api.types.is_numeric_dtype(y):
        return []
    error = float(np.mean((predicted.ravel() - y[known]) ** 2))
    if error < float(np.var(y[known])):
        return []
    return [f"the predictions for these rows are not better than their mean; {advice}"]
