"""The rows that come with a fitted model, whatever a notebook keeps them in."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from slipway.core.errors import SlipwayError
from slipway.models.signature import Input

# Rows that the model predicts to find out what it takes.
FEW = 50


@dataclass
class InputRows:
    """Rows for a model, in two forms.

    Attributes
    ----------
    frame : DataFrame of shape (n_rows, n_columns)
        One column for each column of the model, in its order.
    given : object
        What the model's ``predict`` takes, as it came.
    input : str
        What that is; see ``Signature``.
    """

    frame: pd.DataFrame
    given: Any
    input: Input


def input_rows(model: Any, X: Any) -> InputRows:
    """Read the rows that a model was fitted on.

    Parameters
    ----------
    model : estimator
    X : DataFrame, Series, polars or Arrow table, array, sparse matrix, or list
        A list may hold rows, texts or dicts.

    Returns
    -------
    InputRows

    Raises
    ------
    SlipwayError
        The model has no use for such rows; the message says why.
    """
    X = _pandas_of_arrow(X)
    read = next((read for fits, read in _READERS if fits(X)), _from_array)
    try:
        return read(model, X)
    except (TypeError, ValueError) as error:
        raise SlipwayError(f"cannot read the rows: {error}") from error


def model_names(model: Any) -> tuple[str, ...] | None:
    """Return the names of the columns that a model was fitted on, where it keeps them."""
    names = getattr(model, "feature_names_in_", None)
    return None if names is None else tuple(map(str, names))


def few(X: Any, count: int = FEW) -> Any:
    """Return the first rows of anything that holds rows."""
    return X.iloc[:count] if isinstance(X, pd.DataFrame | pd.Series) else X[:count]


def predictions(model: Any, X: Any) -> Any:
    """Return the most telling answers of a model: probabilities, scores, values or labels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("predict_proba", "decision_function", "predict"):
            if hasattr(model, name):
                return np.asarray(getattr(model, name)(X))
    raise SlipwayError(f"the {type(model).__name__} does not predict")


def answers_alike(model: Any, one: Any, other: Any) -> bool:
    """Whether a model predicts the same for two forms of the same rows."""
    try:
        a, b = predictions(model, one), predictions(model, other)
    except Exception:  # a step of one's own can raise anything
        return False
    if a.shape != b.shape:
        return False
    if a.dtype.kind in "OUSb":
        return bool((a == b).all())
    return bool(np.allclose(a, b, rtol=1e-12, atol=1e-12, equal_nan=True))


def _answers(model: Any, X: Any, n_rows: int) -> bool:
    """Whether a model predicts one answer a row."""
    try:
        return len(predictions(model, X)) == n_rows
    except Exception:  # a step of one's own can raise anything
        return False


def _pandas_of_arrow(X: Any) -> Any:
    """Turn an Arrow table into a frame, which is how scikit-learn reads it."""
    is_arrow = type(X).__module__.partition(".")[0] == "pyarrow" and hasattr(X, "to_pandas")
    return X.to_pandas() if is_arrow else X


def _from_frame(model: Any, X: pd.DataFrame) -> InputRows:
    """Read a pandas frame."""
    some = few(X)
    is_column = X.shape[1] == 1 and not _answers(model, some, len(some))
    if is_column and _answers(model, some.iloc[:, 0], len(some)):
        return _from_series(model, X.iloc[:, 0])
    named = X.set_axis(X.columns.map(str), axis=1)
    names = model_names(model)
    if names is not None:
        return _with_names(named, X, names)
    if not named.columns.is_unique:
        raise SlipwayError("two columns of the rows have the same name")
    if answers_alike(model, some.to_numpy(), some):
        return InputRows(named, X, "array")
    whole = all(isinstance(label, int | np.integer) for label in X.columns)
    return InputRows(named, X, "numbered" if whole else "frame")


def _with_names(named: pd.DataFrame, X: pd.DataFrame, names: Sequence[str]) -> InputRows:
    """Put the columns in the order in which a model was fitted on them."""
    absent = [name for name in names if name not in named]
    if absent:
        raise SlipwayError(f"the rows lack columns of the model: {', '.join(absent)}")
    rows = named[list(names)]
    if rows.shape[1] != len(names):
        raise SlipwayError("two columns of the rows have the same name")
    return InputRows(rows, rows, "frame")


def _from_series(model: Any, X: pd.Series[Any]) -> InputRows:
    """Read one column: texts, or dicts."""
    if X.map(lambda each: isinstance(each, dict)).all():
        return _from_dicts(model, X.tolist())
    name = "text" if X.name is None else str(X.name)
    return InputRows(X.rename(name).to_frame(), X, "series")


def _from_list(model: Any, X: Sequence[Any]) -> InputRows:
    """Read a list of texts, of dicts, or of rows."""
    if all(isinstance(each, str) for each in X):
        return InputRows(pd.DataFrame({"text": list(X)}, dtype=object), X, "texts")
    if all(isinstance(each, dict) for each in X):
        return _from_dicts(model, X)
    rows = pd.DataFrame(list(X))
    return _named_array(model, rows.infer_objects(), X)


def _from_dicts(model: Any, X: Sequence[Any]) -> InputRows:
    """Read dicts, which may lack keys that others have."""
    rows = pd.DataFrame(list(X))
    names = model_names(model)
    if names is not None and set(names) <= set(rows.columns):
        return _with_names(rows, rows, names)
    return InputRows(rows.set_axis(rows.columns.map(str), axis=1), X, "dicts")


def _from_polars(model: Any, X: Any) -> InputRows:
    """Read a polars frame or series; steps that need polars get one."""
    if not hasattr(X, "columns"):
        return _from_series(model, X.to_pandas())
    rows = X.to_pandas()
    some, names = X[:FEW], model_names(model)
    if names is not None:
        rows, some = rows[list(names)], some[list(names)]
    if answers_alike(model, some, few(rows)):
        return _from_frame(model, rows)
    return InputRows(rows, X if names is None else X[list(names)], "polars")


def _from_sparse(model: Any, X: Any) -> InputRows:
    """Read a sparse matrix."""
    made = _named_array(model, pd.DataFrame(X.toarray()), X)
    return InputRows(made.frame, X, "sparse")


def _from_array(model: Any, X: Any) -> InputRows:
    """Read an array, or anything that numpy takes for one."""
    values = np.asarray(X)
    if values.ndim == 1:
        return _from_series(model, pd.Series(values))
    if values.ndim != 2:
        raise SlipwayError(f"the rows have {values.ndim} dimensions, where two are due")
    return _named_array(model, pd.DataFrame(values).infer_objects(), X)


def _named_array(model: Any, rows: pd.DataFrame, X: Any) -> InputRows:
    """Name the columns of an array, after the model where it knows names."""
    names = model_names(model) or tuple(f"x{i}" for i in range(rows.shape[1]))
    if len(names) != rows.shape[1]:
        raise SlipwayError(f"the model takes {len(names)} columns, the rows have {rows.shape[1]}")
    rows = rows.set_axis(list(names), axis=1)
    if model_names(model) is not None:
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
