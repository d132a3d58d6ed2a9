"""Call a fitted transformer on the cases of one column, with typical values in the others."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import count
from typing import Any

import numpy as np
import pandas as pd

from slipway.compiler.columns import REJECTED, Column, DiscreteColumn, is_missing

UNSEEN_TEXT = "\x00 no category is called this"


Rows = list[list[Any]]
Part = tuple["pd.Series[Any]", Any]


def probe(
    step: Any, columns: Sequence[Column], cases: Sequence[Sequence[Any]], width: int
) -> list[Rows]:
    """Transform each case of each column.

    Parameters
    ----------
    step : transformer
    columns : sequence of Column
        All input columns of the step.
    cases : sequence of sequence
        The values of each column. ``REJECTED`` is never passed to the step and stays ``REJECTED``.
    width : int
        The number of output columns.

    Returns
    -------
    list of list of list
        The output columns by input column and case; all ``REJECTED`` where the step raises.
    """
    defaults = [choose_typical_value(step, i, column) for i, column in enumerate(columns)]
    accepted = [_to_series([case for case in column if case is not REJECTED]) for column in cases]
    present, missing = (
        _transform_cases(step, [_select(v, missing=flag) for v in accepted], defaults, width)
        for flag in (False, True)
    )
    outputs = [(iter(present[i]), iter(missing[i])) for i in range(len(cases))]
    rejected = [REJECTED] * width
    return [
        [rejected if case is REJECTED else next(rows[is_missing(case)]) for case in column]
        for column, rows in zip(cases, outputs, strict=True)
    ]


def _select(column: pd.Series[Any], *, missing: bool) -> pd.Series[Any]:
    """Return the missing or the other values. Next to texts, a missing value is an object."""
    values = [value for value in column if is_missing(value) == missing]
    if column.dtype == object or not values:
        return pd.Series(values, dtype=column.dtype)
    return _to_series(values)


def _transform_cases(
    step: Any, cases: Sequence[pd.Series[Any]], defaults: list[Any], width: int
) -> list[Rows]:
    """Transform the cases of all columns, by column."""
    try:
        # Rows are independent, so one call can vary all columns.
        together = _transform(step, list(zip(cases, defaults, strict=True)))
        return [together[: len(values)] for values in cases]
    except Exception:
        # One rejected case makes the whole call fail, so try each column on its own.
        rejected = [REJECTED] * width
        return [
            _bisect_cases(step, column, i, defaults, rejected) for i, column in enumerate(cases)
        ]


def _to_series(values: Sequence[Any]) -> pd.Series[Any]:
    """Return values as a series. Next to texts, a number or a missing value is an object."""
    plain = all(isinstance(value, int | float) for value in values)
    return pd.Series(list(values), dtype=(None if values else float) if plain else object)


def _bisect_cases(
    step: Any, values: pd.Series[Any], position: int, defaults: list[Any], rejected: list[Any]
) -> Rows:
    """Transform the cases of one column; bisect them if the step rejects some."""
    if values.empty:
        return []
    parts: list[Part] = [(_to_series([]), default) for default in defaults]
    parts[position] = (values, None)
    try:
        return _transform(step, parts)
    except Exception:
        if len(values) == 1:
            return [rejected]
    half = len(values) // 2
    first, second = values[:half], values[half:].reset_index(drop=True)
    return [
        *_bisect_cases(step, first, position, defaults, rejected),
        *_bisect_cases(step, second, position, defaults, rejected),
    ]


def _transform(step: Any, parts: Sequence[Part]) -> Rows:
    """Transform columns, each padded at its end with one repeated value."""
    length = max(len(values) for values, _ in parts)
    if not length:
        return []
    names = getattr(step, "feature_names_in_", range(len(parts)))
    cells = {
        name: _pad(values, default, length)
        for name, (values, default) in zip(names, parts, strict=True)
    }
    X: Any = pd.DataFrame(cells)
    with warnings.catch_warnings():
        # Warnings about the unseen value are expected.
        warnings.simplefilter("ignore")
        output = step.transform(X if hasattr(step, "feature_names_in_") else X.to_numpy())
    if hasattr(output, "toarray"):
        output = output.toarray()
    rows: Rows = np.asarray(output).tolist()
    return rows


def _pad(values: pd.Series[Any], default: Any, length: int) -> pd.Series[Any]:
    """Pad a column to the length of the others."""
    if len(values) == length:
        return values
    padding = _to_series([default] * (length - len(values)))
    if values.empty:
        return padding
    column: pd.Series[Any] = pd.Series(
        [*values, *padding], dtype=_find_common_dtype(values, padding)
    )
    return column


def _find_common_dtype(values: pd.Series[Any], padding: pd.Series[Any]) -> Any:
    """Return the common dtype of two columns. Only two numeric types have a numeric one."""
    if values.dtype == padding.dtype:
        return values.dtype
    kinds = {values.dtype.kind, padding.dtype.kind}
    return float if kinds <= {"i", "f"} else object


def choose_typical_value(step: Any, i: int, column: Column) -> Any:
    """Return a value that a step accepts in a column, from what it learned in training."""
    if isinstance(column, DiscreteColumn):
        cases = (*column.values, column.missing, column.unseen)
        return next((case for case in cases if case is not REJECTED and not is_missing(case)), None)
    for limits in (
        _find_training_range(step, i),
        *((_read_attribute(step, name, i),) * 2 for name in _CENTER_ATTRIBUTES),
    ):
        if limits is not None and not any(is_missing(limit) for limit in limits):
            low, high = limits
            return low if isinstance(low, str) else low + (high - low) / 2
    return column.missing if isinstance(column.missing, str) else 1.0


_CENTER_ATTRIBUTES = ("mean_", "center_", "statistics_")


def _find_training_range(step: Any, i: int) -> tuple[Any, Any] | None:
    """Return the training range of a column, if the transformer stores it."""
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


def _read_attribute(step: Any, name: str, i: int) -> Any:
    """Return one learned value of a column as a Python object."""
    learned = getattr(step, name, None)
    value = None if learned is None else learned[i]
    return value.item() if isinstance(value, np.generic) else value


def choose_unseen_value(levels: tuple[Any, ...]) -> Any:
    """Return a value that is not among the levels."""
    if any(isinstance(level, bool) for level in levels):
        return next((flag for flag in (True, False) if flag not in levels), REJECTED)
    if not levels or any(isinstance(level, str) for level in levels):
        return UNSEEN_TEXT
    if all(isinstance(level, int) and abs(level) < 2**53 for level in levels):
        return max(levels) + 1
    return next(number for i in count() if (number := i + 0.5) not in levels)
