"""Read the rows of a fitted model from any container that notebooks use."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from slipway.core.errors import SlipwayError
from slipway.models.signature import Input

# Number of rows used to probe the model.
N_PROBE_ROWS = 50


@dataclass
class InputRows:
    """Rows for a model, as a frame and in their original form.

    Attributes
    ----------
    frame : DataFrame of shape (n_rows, n_columns)
        One column for each input column of the model, in the model's order.
    original : object
        The rows in the form that the model's ``predict`` accepts.
    input : str
        The kind of that form; see ``Signature``.
    """

    frame: pd.DataFrame
    original: Any
    input: Input


def read_input_rows(model: Any, X: Any) -> InputRows:
    """Read the rows that a model was fitted on.

    Parameters
    ----------
    model : estimator
    X : DataFrame, Series, polars or Arrow table, array, sparse matrix, or list
        A list of rows, texts or dicts.

    Returns
    -------
    InputRows

    Raises
    ------
    SlipwayError
        The model does not accept the rows; the message says why.
    """
    X = _arrow_to_pandas(X)
    read = next((read for accepts, read in _READERS if accepts(X)), _from_array)
    try:
        return read(model, X)
    except (TypeError, ValueError) as error:
        raise SlipwayError(f"cannot read the rows: {error}") from error


def get_feature_names(model: Any) -> tuple[str, ...] | None:
    """Return the column names that a model was fitted on, or None if it does not store them."""
    names = getattr(model, "feature_names_in_", None)
    return None if names is None else tuple(map(str, names))


def first_rows(X: Any, count: int = N_PROBE_ROWS) -> Any:
    """Return the first rows of any container."""
    return X.iloc[:count] if isinstance(X, pd.DataFrame | pd.Series) else X[:count]


def predict(model: Any, X: Any) -> Any:
    """Return the probabilities, scores, values or labels of a model, whichever it has first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("predict_proba", "decision_function", "predict"):
            if hasattr(model, name):
                return np.asarray(getattr(model, name)(X))
    raise SlipwayError(f"{type(model).__name__} has no predict method")


def predictions_match(model: Any, first: Any, second: Any) -> bool:
    """Return whether a model predicts the same for two forms of the same rows."""
    try:
        a, b = predict(model, first), predict(model, second)
    except Exception:  # a custom step can raise any error
        return False
    if a.shape != b.shape:
        return False
    if a.dtype.kind in "OUSb":
        return bool((a == b).all())
    return bool(np.allclose(a, b, rtol=1e-12, atol=1e-12, equal_nan=True))


def predicts_rows(model: Any, X: Any) -> bool:
    """Return whether a model returns one prediction for each of the first rows."""
    sample = first_rows(X)
    try:
        return len(predict(model, sample)) == len(sample)
    except Exception:  # a custom step can raise any error
        return False


def _arrow_to_pandas(X: Any) -> Any:
    """Convert an Arrow table to a frame; return other containers unchanged."""
    is_arrow = type(X).__module__.partition(".")[0] == "pyarrow" and hasattr(X, "to_pandas")
    return X.to_pandas() if is_arrow else X


def _from_frame(model: Any, X: pd.DataFrame) -> InputRows:
    """Read a pandas frame."""
    is_column = X.shape[1] == 1 and not predicts_rows(model, X)
    if is_column and predicts_rows(model, X.iloc[:, 0]):
        return _from_series(model, X.iloc[:, 0])
    named = X.set_axis(X.columns.map(str), axis=1)
    names = get_feature_names(model)
    if names is not None:
        return _select_named(named, X, names)
    if not named.columns.is_unique:
        raise SlipwayError("two columns of the rows have the same name; rename one of them")
    sample = first_rows(X)
    if predictions_match(model, sample.to_numpy(), sample):
        return InputRows(named, X, "array")
    whole = all(isinstance(label, int | np.integer) for label in X.columns)
    return InputRows(named, X, "numbered" if whole else "frame")


def _select_named(named: pd.DataFrame, X: pd.DataFrame, names: Sequence[str]) -> InputRows:
    """Select the columns of a model, in its order."""
    missing = [name for name in names if name not in named]
    if missing:
        raise SlipwayError(f"the rows lack columns of the model: {', '.join(missing)}; add them")
    rows = named[list(names)]
    if rows.shape[1] != len(names):
        raise SlipwayError("two columns of the rows have the same name; rename one of them")
    return InputRows(rows, rows, "frame")


def _from_series(model: Any, X: pd.Series[Any]) -> InputRows:
    """Read one column of texts or dicts."""
    if X.map(lambda value: isinstance(value, dict)).all():
        return _from_dicts(model, X.tolist())
    name = "text" if X.name is None else str(X.name)
    return InputRows(X.rename(name).to_frame(), X, "series")


def _from_list(model: Any, X: Sequence[Any]) -> InputRows:
    """Read a list of texts, of dicts, or of rows."""
    if all(isinstance(item, str) for item in X):
        return InputRows(pd.DataFrame({"text": list(X)}, dtype=object), X, "texts")
    if all(isinstance(item, dict) for item in X):
        return _from_dicts(model, X)
    rows = pd.DataFrame(list(X))
    return _name_columns(model, rows.infer_objects(), X)


def _from_dicts(model: Any, X: Sequence[Any]) -> InputRows:
    """Read dicts, which may have different keys."""
    rows = pd.DataFrame(list(X))
    names = get_feature_names(model)
    if names is not None and set(names) <= set(rows.columns):
        return _select_named(rows, rows, names)
    return InputRows(rows.set_axis(rows.columns.map(str), axis=1), X, "dicts")


def _from_polars(model: Any, X: Any) -> InputRows:
    """Read a polars frame or series; keep polars if the steps need it."""
    if not hasattr(X, "columns"):
        return _from_series(model, X.to_pandas())
    rows = X.to_pandas()
    sample, names = X[:N_PROBE_ROWS], get_feature_names(model)
    if names is not None:
        rows, sample = rows[list(names)], sample[list(names)]
    if predictions_match(model, sample, first_rows(rows)):
        return _from_frame(model, rows)
    return InputRows(rows, X if names is None else X[list(names)], "polars")


def _from_sparse(model: Any, X: Any) -> InputRows:
    """Read a sparse matrix."""
    rows = _name_columns(model, pd.DataFrame(X.toarray()), X)
    return InputRows(rows.frame, X, "sparse")


def _from_array(model: Any, X: Any) -> InputRows:
    """Read an array, or any object that numpy converts to one."""
    values = np.asarray(X)
    if values.ndim == 1:
        return _from_series(model, pd.Series(values))
    if values.ndim != 2:
        raise SlipwayError(f"the rows have {values.ndim} dimensions; give a two-dimensional array")
    return _name_columns(model, pd.DataFrame(values).infer_objects(), X)


def _name_columns(model: Any, rows: pd.DataFrame, X: Any) -> InputRows:
    """Name the columns of an array, by the model's names if it stores them."""
    names = get_feature_names(model) or tuple(f"x{i}" for i in range(rows.shape[1]))
    if len(names) != rows.shape[1]:
        raise SlipwayError(f"the rows have {rows.shape[1]} columns; the model takes {len(names)}")
    rows = rows.set_axis(list(names), axis=1)
    if get_feature_names(model) is not None:
        return InputRows(rows, rows, "frame")
    return InputRows(rows, X, "array")


def _is_polars(X: Any) -> bool:
    return type(X).__module__.partition(".")[0] == "polars"


_READERS: tuple[tuple[Callable[[Any], bool], Callable[[Any, Any], InputRows]], ...] = (
    (lambda X: isinstance(X, pd.DataFrame), _from_frame),
    (lambda X: isinstance(X, pd.Series), _from_series),
    (_is_polars, _from_polars),
    (lambda X: hasattr(X, "toarray"), _from_sparse),
    (lambda X: isinstance(X, list | tuple), _from_list),
)
