"""Whether a model's answer for a row depends on the rows beside it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd

from slipway.core.errors import SlipwayError
from slipway.training.packaging.input_rows import few, predictions

ROWS = 20
# What the same row's product of matrices may differ by, on another place in a batch; products
# of 32-bit floats have half as many digits.
TOLERANCE = 1e-5


def require_row_independence(model: Any, X: Any) -> None:
    """Require that a model answers each row alone as it does among others.

    A service answers one request at a time.

    Parameters
    ----------
    model : estimator
    X : DataFrame, Series, array or list
        Rows as the model takes them.

    Raises
    ------
    SlipwayError
        An answer depends on other rows; the message names the step.
    """
    some = few(X, ROWS)
    try:
        together = predictions(model, some)
    except Exception as error:  # a step of one's own can raise anything
        raise SlipwayError(f"the model raises for the rows themselves: {error}") from error
    try:
        turned = predictions(model, _reversed(some))[::-1]
        alone = [predictions(model, _row(some, i)) for i in range(len(together))]
        alike = _alike(together, turned) and _alike(together, np.concatenate(alone))
    except Exception:  # a step of one's own can raise anything
        # One row may be refused where several are answered.
        alike = False
    if not alike:
        raise SlipwayError(
            f"the prediction for a row depends on the rows beside it, from {_step(model, some)} "
            "on; what it computes over several rows must be learned in fit"
        )


def _step(model: Any, some: Any) -> str:
    """Name the first step whose output for a row depends on other rows."""
    for k, (name, _) in enumerate(getattr(model, "steps", [])[:-1], start=1):
        try:
            together = _cells(model[:k].transform(some))
            alone = [_cells(model[:k].transform(_row(some, i))) for i in range(len(together))]
            if _alike(together, np.concatenate(alone)):
                continue
        except Exception:  # noqa: S110 - a step that raises for one row depends on the others
            pass
        return f"the step {name!r}"
    return "its last step"


def _cells(made: Any) -> Any:
    """Return what a step made as an array."""
    return made.toarray() if hasattr(made, "toarray") else np.asarray(made)


def _row(X: Any, i: int) -> Any:
    """Return one row, in whatever holds the rows."""
    return X.iloc[i : i + 1] if isinstance(X, pd.DataFrame | pd.Series) else X[i : i + 1]


def _reversed(X: Any) -> Any:
    """Return the rows in the opposite order."""
    return X.iloc[::-1] if isinstance(X, pd.DataFrame | pd.Series) else X[::-1]


def _alike(one: Any, other: Any) -> bool:
    """Whether two arrays hold the same, but for the last digits."""
    if one.shape != other.shape:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            numbers = one.astype(float), other.astype(float)
        except (TypeError, ValueError):
            return one.astype(str).tolist() == other.astype(str).tolist()  # type: ignore[no-any-return]
    return bool(np.allclose(*numbers, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True))
