"""Ask a fitted transformer for its output: one column varies, the others hold a usual value."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import count
from typing import Any

import numpy as np
import pandas as pd

from slipway.compiler.column import REFUSED, Column, Values, is_gap

UNSEEN_TEXT = "\x00 no category is called this"


def probe(
    step: Any, columns: Sequence[Column], position: int, cases: Sequence[Any], width: int
) -> list[list[Any]]:
    """Transform each case of one column.

    Parameters
    ----------
    step : transformer
    columns : sequence of Column
        All columns that the step takes.
    position : int
        The column that varies.
    cases : sequence
        Its values. ``REFUSED`` stays refused, whatever the step would make of it.
    width : int
        The number of output columns.

    Returns
    -------
    list of list
        The output columns of each case, all of them ``REFUSED`` where the step raises.
    """
    refused = [REFUSED] * width
    asked = [case for case in cases if case is not REFUSED]
    # A single gap beside texts is an object, not a number.
    column_type = _type_of(asked)
    try:
        rows = iter(_transformed(step, columns, position, pd.Series(asked, dtype=column_type)))
        return [refused if case is REFUSED else next(rows) for case in cases]
    except Exception:
        # One case spoils the others; whatever a step raises, it has no output for that case.
        singles = (pd.Series([case], dtype=column_type) for case in asked)
        found = (_alone(step, columns, position, each, refused) for each in singles)
        return [refused if case is REFUSED else next(found) for case in cases]


def _type_of(values: Sequence[Any]) -> Any:
    """Return the type of a column of values."""
    if not all(isinstance(value, int | float) for value in values):
        return object
    return pd.Series(list(values)).dtype if values else float


def _alone(
    step: Any, columns: Sequence[Column], position: int, case: pd.Series[Any], refused: list[Any]
) -> list[Any]:
    """Transform a single case."""
    try:
        return _transformed(step, columns, position, case)[0]
    except Exception:
        return refused


def _transformed(
    step: Any, columns: Sequence[Column], position: int, values: pd.Series[Any]
) -> list[list[Any]]:
    """Transform rows that differ in one column."""
    if values.empty:
        return []
    names = getattr(step, "feature_names_in_", range(len(columns)))
    cells: dict[Any, pd.Series[Any]] = {}
    for i, (name, column) in enumerate(zip(names, columns, strict=True)):
        same = [usual(step, i, column)] * len(values)
        cells[name] = values if i == position else pd.Series(same, dtype=_type_of(same))
    X: Any = pd.DataFrame(cells)
    with warnings.catch_warnings():
        # The unseen value is unseen on purpose.
        warnings.simplefilter("ignore")
        answered = step.transform(X if hasattr(step, "feature_names_in_") else X.to_numpy())
    if hasattr(answered, "toarray"):
        answered = answered.toarray()
    rows: list[list[Any]] = np.asarray(answered).tolist()
    return rows


def usual(step: Any, i: int, column: Column) -> Any:
    """Return a value that a step takes in a column, from what it has learned of its training."""
    if isinstance(column, Values):
        cases = (*column.values, column.missing, column.unseen)
        return next((case for case in cases if case is not REFUSED and not is_gap(case)), None)
    for ends in (_ends(step, i), *((_learned(step, name, i),) * 2 for name in _MIDDLES)):
        if ends is not None and not any(is_gap(end) for end in ends):
            low, high = ends
            return low if isinstance(low, str) else low + (high - low) / 2
    return column.missing if isinstance(column.missing, str) else 1.0


_MIDDLES = ("mean_", "center_", "statistics_")


def _ends(step: Any, i: int) -> tuple[Any, Any] | None:
    """Return the range of a column in training, where a transformer kept it."""
    if hasattr(step, "bsplines_"):
        spline = step.bsplines_[i]
        return float(spline.t[spline.k]), float(spline.t[-spline.k - 1])
    if hasattr(step, "bin_edges_"):
        return float(step.bin_edges_[i][0]), float(step.bin_edges_[i][-1])
    if hasattr(step, "quantiles_"):
        return float(step.quantiles_[0, i]), float(step.quantiles_[-1, i])
    if hasattr(step, "data_min_"):
        return float(step.data_min_[i]), float(step.data_max_[i])
    return None


def _learned(step: Any, name: str, i: int) -> Any:
    """Return one learned value of a column as Python's own."""
    learned = getattr(step, name, None)
    value = None if learned is None else learned[i]
    return value.item() if isinstance(value, np.generic) else value


def unseen(levels: tuple[Any, ...]) -> Any:
    """Return a value that is not among the levels."""
    if any(isinstance(level, bool) for level in levels):
        return next((flag for flag in (True, False) if flag not in levels), REFUSED)
    if not levels or any(isinstance(level, str) for level in levels):
        return UNSEEN_TEXT
    if all(isinstance(level, int) and abs(level) < 2**53 for level in levels):
        return max(levels) + 1
    return next(number for i in count() if (number := i + 0.5) not in levels)
