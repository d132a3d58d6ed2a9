"""Check that the prediction for a row does not depend on other rows."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd

from slipway.core.errors import SlipwayError
from slipway.training.packaging.input_rows import first_rows, predict

ROWS = 20
# The rounding of a matrix product depends on the row's place in the batch. Products of 32-bit
# floats have half as many digits as those of 64-bit floats.
TOLERANCE = 1e-5


def require_row_independence(model: Any, X: Any) -> None:
    """Require that a model predicts each row alone as it does in a batch.

    A service predicts one request at a time.

    Parameters
    ----------
    model : estimator
    X : DataFrame, Series, array or list
        Rows in the form that the model accepts.

    Raises
    ------
    SlipwayError
        A prediction depends on other rows; the message names the step.
    """
    sample = first_rows(X, ROWS)
    try:
        in_batch = predict(model, sample)
    except Exception as error:  # a custom step can raise any error
        raise SlipwayError(f"the model cannot predict the given rows: {error}") from error
    try:
        reversed_batch = predict(model, _reversed(sample))[::-1]
        alone = [predict(model, _row(sample, i)) for i in range(len(in_batch))]
        equal = _arrays_match(in_batch, reversed_batch) and _arrays_match(
            in_batch, np.concatenate(alone)
        )
    except Exception:  # a custom step can raise any error
        # A step may reject a single row but accept several.
        equal = False
    if not equal:
        raise SlipwayError(
            "the prediction for a row depends on the rows beside it, from "
            f"{_find_dependent_step(model, sample)} on; compute statistics over rows in fit"
        )


def _find_dependent_step(model: Any, sample: Any) -> str:
    """Return the first step whose output for a row depends on other rows."""
    for k, (name, _) in enumerate(getattr(model, "steps", [])[:-1], start=1):
        try:
            in_batch = _to_array(model[:k].transform(sample))
            alone = [_to_array(model[:k].transform(_row(sample, i))) for i in range(len(in_batch))]
            if _arrays_match(in_batch, np.concatenate(alone)):
                continue
        except Exception:  # noqa: S110 - a step that raises for one row depends on the others
            pass
        return f"the step {name!r}"
    return "the last step"


def _to_array(output: Any) -> Any:
    """Convert the output of a step to an array."""
    return output.toarray() if hasattr(output, "toarray") else np.asarray(output)


def _row(X: Any, i: int) -> Any:
    """Return one row in the container type of the rows."""
    return X.iloc[i : i + 1] if isinstance(X, pd.DataFrame | pd.Series) else X[i : i + 1]


def _reversed(X: Any) -> Any:
    """Return the rows in reverse order."""
    return X.iloc[::-1] if isinstance(X, pd.DataFrame | pd.Series) else X[::-1]


def _arrays_match(first: Any, second: Any) -> bool:
    """Return whether two arrays are equal up to rounding."""
    if first.shape != second.shape:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            numbers = first.astype(float), second.astype(float)
        except (TypeError, ValueError):
            return first.astype(str).tolist() == second.astype(str).tolist()  # type: ignore[no-any-return]
    return bool(np.allclose(*numbers, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True))
