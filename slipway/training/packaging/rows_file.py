"""Training rows in a CSV file beside a fitted model."""

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
from slipway.models.validation import MISSING_TEXTS
from slipway.training.packaging.encoder_hints import Hints
from slipway.training.packaging.inner_models import raw_readings
from slipway.training.packaging.input_rows import few, model_names, predictions
from slipway.training.packaging.unread_columns import read_columns

_TARGET_NAMES = {"target", "label", "labels", "class", "y"}
_INDEX = re.compile(r"Unnamed: \d+")
_DECIMAL_COMMA = re.compile(r"(?<![\d,])\d+,\d+(?![\d,])")


@dataclass
class FileRows:
    """The rows of a file, parted into features and target.

    Attributes
    ----------
    X : DataFrame of shape (n_rows, n_features), optional
    y : Series of shape (n_rows,), optional
    notes : list of str
        What the reader of the command's output should know of it.
    """

    X: pd.DataFrame | None
    y: pd.Series[Any] | None
    notes: list[str] = field(default_factory=list)


@dataclass
class ColumnChoice:
    """Which columns the owner has named.

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
    choice : Choice, optional

    Returns
    -------
    FileRows

    Raises
    ------
    ModelError
        The file is not CSV, lacks a column, or leaves a choice; the message shows the options
        that make it.
    """
    choice = choice or ColumnChoice()
    rows = _read(model, path, choice)
    _require_columns(path, rows, [*choice.features, *choice.drop, *filter(None, [choice.target])])
    index = [name for name in rows.columns if _INDEX.fullmatch(name)]
    notes = [f"{', '.join(index)}: an index that pandas wrote, left out"] if index else []
    rows = rows.drop(columns=[*index, *choice.drop])
    if choice.target is not None:
        _require_classes(model, path, rows[choice.target])
    names = choice.features or model_names(model)
    if names:
        found = _by_name(model, path, rows, names, choice)
    else:
        found = _by_place(model, path, rows, choice)
    notes += found.notes
    if found.X is not None and names:
        found.X, noted = _as_categories(model, found.X)
        notes += noted
    if found.X is not None and found.y is not None:
        notes += _unlikely(model, found.X, found.y)
    return FileRows(found.X, found.y, notes)


def _read(model: Any, path: Path, choice: ColumnChoice) -> pd.DataFrame:
    """Read the file as a notebook would; texts that the model knows stay texts."""
    try:
        form = _form(path)
        header = list(pd.read_csv(path, nrows=0, **form).columns)
        _require_single(path, pd.read_csv(path, nrows=1, header=None, dtype=str, **form))
        known = _known_texts(model, choice.features or model_names(model) or ())
        missing = {
            name: [t for t in MISSING_TEXTS if t not in known.get(name, ())] for name in header
        }
        texts = dict.fromkeys(known.keys() & set(header), str)
        rows: pd.DataFrame = pd.read_csv(
            path, dtype=texts, na_values=missing, keep_default_na=False, **form
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ModelError(f"{path.name} is not a CSV file: {error}") from error
    except UnicodeDecodeError as error:
        message = f"{path.name} is not UTF-8, maybe Latin-1 or Windows-1252"
        raise ModelError(f"{message}; save it as UTF-8") from error
    if rows.empty:
        raise ModelError(f"{path.name} holds no rows")
    return rows


def _require_single(path: Path, header: pd.DataFrame) -> None:
    """Reject a header that names a column twice, which pandas would rename."""
    names = header.iloc[0].dropna()
    twice = names[names.duplicated()]
    if len(twice):
        raise ModelError(f"{path.name} has the column {twice.iloc[0]} twice; rename one of them")


def _form(path: Path) -> dict[str, Any]:
    """Recognise semicolons, with decimal commas where the file uses them, and tabs."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        head = file.readline()
        some = "".join(line for _, line in zip(range(50), file, strict=False))
    if "," in head:
        return {"encoding": "utf-8-sig"}
    separator = max(";\t", key=head.count)
    if separator not in head:
        return {"encoding": "utf-8-sig"}
    decimal = "," if _DECIMAL_COMMA.search(some) else "."
    return {"encoding": "utf-8-sig", "sep": separator, "decimal": decimal}


def _known_texts(model: Any, names: tuple[str, ...]) -> dict[str, set[str]]:
    """Return the texts that encoders know, by column; a text can look like a number or a gap."""
    readings = raw_readings(model, names)
    known: dict[str, set[str]] = {}
    for name in names:
        hints = Hints([each for each in readings if each.feature == name])
        texts = {each for each in hints.categories or () if isinstance(each, str)}
        if texts:
            known[name] = texts - {""} if hints.knows_gaps else texts
    return known


def _require_columns(path: Path, rows: pd.DataFrame, names: Sequence[str]) -> None:
    """Require columns that somebody has named."""
    absent = [name for name in dict.fromkeys(names) if name not in rows]
    if absent:
        have = ", ".join(map(str, rows.columns[:20]))
        raise ModelError(f"{path.name} has no column {', '.join(absent)}; it has {have}")


def _require_classes(model: Any, path: Path, target: pd.Series[Any]) -> None:
    """Require that a column that was named as the target holds a class of the model."""
    classes = getattr(model, "classes_", None)
    if classes is None or isinstance(classes, list):
        return
    known = set(map(_comparable, np.asarray(classes).tolist()))
    if known.isdisjoint(map(_comparable, target.dropna().unique())):
        listed = ", ".join(map(str, np.asarray(classes).tolist()[:10]))
        raise ModelError(f"the column {target.name} of {path.name} holds none of {listed}")


def _as_categories(model: Any, X: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Make pandas categories of texts where the model raises otherwise: no file keeps the type."""
    texts = [name for name in X.columns if not pd.api.types.is_numeric_dtype(X[name])]
    if not texts or _answers(model, X):
        return X, []
    typed = X.astype(dict.fromkeys(texts, "category"))
    if not _answers(model, typed):
        return X, []
    return typed, [f"{', '.join(texts)}: taken as pandas categories, as the model asks for"]


def _answers(model: Any, X: pd.DataFrame) -> bool:
    """Whether a model predicts rows."""
    try:
        predictions(model, few(X))
    except Exception:  # what the model raises is said where its rows are checked
        return False
    return True


def _by_name(
    model: Any, path: Path, rows: pd.DataFrame, names: Sequence[str], choice: ColumnChoice
) -> FileRows:
    """Take the columns that the model, or its owner, names."""
    read = names if choice.features else read_columns(model, tuple(names))
    _require_columns(path, rows, read)
    # Nothing reads the columns that a file may lack.
    rows = rows.assign(**{name: None for name in names if name not in rows})
    others = [name for name in rows.columns if name not in set(names)]
    target = choice.target or _target(model, rows[others])
    if target is None and len(others) == 1:
        target = others[0]
    if target is None:
        notes = []
        if others:
            known = f"the target: it can be {' or '.join(others[:10])}"
            notes = [f"{known}; name it with --target"]
        return FileRows(rows[list(names)], None, notes)
    return FileRows(rows[list(names)], rows[target])


def _by_place(model: Any, path: Path, rows: pd.DataFrame, choice: ColumnChoice) -> FileRows:
    """Take the columns for a model without names, where nothing is left to choose."""
    count = _count(model)
    target = choice.target or _target(model, rows)
    left = [name for name in rows.columns if name != target]
    regressor_needs_target = not is_classifier(model) and target is None
    # A first step of one's own takes the columns that there are, and its checks come later.
    count = len(left) if count is None and target is not None else count
    if count is not None and len(rows.columns) < count:
        have = len(rows.columns)
        raise ModelError(f"the model takes {count} columns, and the file has {have}")
    if len(left) != count or regressor_needs_target:
        raise ModelError(_which(path, rows, count, target))
    return FileRows(rows[left], None if target is None else rows[target])


def _target(model: Any, rows: pd.DataFrame) -> str | None:
    """Recognise the target beyond doubt: by its name, or as the only column of the classes."""
    named = [name for name in rows.columns if name.lower() in _TARGET_NAMES]
    if len(named) == 1:
        return str(named[0])
    classes = getattr(model, "classes_", None)
    if classes is None or isinstance(classes, list):
        return None
    known = set(map(_comparable, np.asarray(classes).tolist()))
    held = {name: set(map(_comparable, rows[name].dropna().unique())) for name in rows.columns}
    alike = [name for name, values in held.items() if values and values <= known]
    return str(alike[0]) if len(alike) == 1 else None


def _comparable(value: Any) -> str:
    """Return a class as a text that does not depend on how a file writes it."""
    if isinstance(value, bool | np.bool_ | str):
        return str(value)
    try:
        return str(float(value))
    except (TypeError, ValueError):
        return str(value)


def _count(model: Any) -> int | None:
    """Return how many columns a model was fitted on; None where it does not keep that."""
    first = model.steps[0][1] if hasattr(model, "steps") else model
    if hasattr(first, "build_analyzer"):
        return 1
    count = getattr(model, "n_features_in_", None)
    return None if count is None else int(count)


def _which(path: Path, rows: pd.DataFrame, count: int | None, target: str | None) -> str:
    """Say which choice a file leaves, and show the command that makes it."""
    columns = [str(name) for name in rows.columns]
    y = target or next((c for c in reversed(columns) if c.lower() in _TARGET_NAMES), columns[-1])
    features = [name for name in columns if name != y]
    numeric = [name for name in features if pd.api.types.is_numeric_dtype(rows[name])]
    wanted = count or len(features)
    chosen = (numeric if len(numeric) >= wanted else features)[-wanted:]
    dropped = [name for name in features if name not in chosen]
    command = f"--features {','.join(chosen)} --target {y}"
    command += f" --drop {','.join(dropped)}" if dropped else ""
    taken = f"{count} columns" if count else "columns"
    what = f"the model was fitted on {taken} without names, and {path.name} has "
    return (
        f"{what}{len(columns)} ({', '.join(columns[:20])}); say which they are, in the order of "
        f"the fit, for instance: flask model add … --data {path.name} {command}"
    )


def _unlikely(model: Any, X: pd.DataFrame, y: pd.Series[Any]) -> list[str]:
    """Warn where a model is no better on its rows than a guess: so wrong columns show."""
    kept = y.notna()
    try:
        given = X[kept] if model_names(model) else X[kept].to_numpy()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            predicted = np.asarray(model.predict(given))
    except Exception:  # what the model raises is said where its rows are checked
        return []
    advice = "check that the columns and the target are the right ones"
    if is_classifier(model):
        right = [_comparable(a) == _comparable(b) for a, b in zip(predicted, y[kept], strict=True)]
        accuracy, share = float(np.mean(right)), float(y[kept].value_counts(normalize=True).max())
        if accuracy > share:
            return []
        found = (
            f"accuracy on these rows is {accuracy:.2f}, the commonest class alone has {share:.2f}"
        )
        return [f"{found}; {advice}"]
    if not pd.api.types.is_numeric_dtype(y):
        return []
    error = float(np.mean((predicted.ravel() - y[kept]) ** 2))
    if error < float(np.var(y[kept])):
        return []
    return [f"the predictions for these rows are no better than their mean; {advice}"]
