"""Ask a fitted transformer for its output: one column varies, the others hold a usual value."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from itertools import count
from typing import Any

import numpy as np
import pandas as pd

from slipway.compiler.columns import REFUSED, Column, DiscreteColumn, is_gap

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
        All columns that the step takes.
    cases : sequence of sequence
        The values of each column. ``REFUSED`` stays refused, whatever the step makes of it.
    width : int
        The number of output columns.

    Returns
    -------
    list of list of list
        By column and case, the output columns: all ``REFUSED`` where the step raises.
    """
    others = [usual(step, i, column) for i, column in enumerate(columns)]
    asked = [_typed([case for case in each if case is not REFUSED]) for each in cases]
    known = [[value for value in values if not is_gap(value)] for values in asked]
    found = [iter(rows) for rows in _rows(step, map(_part, asked, known), others, width)]
    gaps = [[value for value in values if is_gap(value)] for values in asked]
    empty = [iter(rows) for rows in _rows(step, map(_part, asked, gaps), others, width)]
    refused = [REFUSED] * width
    return [
        [refused if c is REFUSED else next(empty[i] if is_gap(c) else found[i]) for c in each]
        for i, each in enumerate(cases)
    ]


def _part(column: pd.Series[Any], values: list[Any]) -> pd.Series[Any]:
    """Return some of a column's values, in its type: beside texts a gap is an object."""
    if column.dtype == object or not values:
        return pd.Series(values, dtype=column.dtype)
    return _typed(values)


def _rows(step: Any, asked: Iterable[pd.Series[Any]], others: list[Any], width: int) -> list[Rows]:
    """Transform the cases of all columns, by column."""
    asked = list(asked)
    try:
        # A row depends on nothing but itself, so that all columns can vary in one call.
        together = _transformed(step, list(zip(asked, others, strict=True)))
        return [together[: len(each)] for each in asked]
    except Exception:
        # One case spoils the others; whatever a step raises, it has no output for that case.
        refused = [REFUSED] * width
        return [_varied(step, each, i, others, refused) for i, each in enumerate(asked)]


def _typed(values: Sequence[Any]) -> pd.Series[Any]:
    """Return values as a column; beside texts a number and a gap are objects."""
    plain = all(isinstance(value, int | float) for value in values)
    return pd.Series(list(values), dtype=(None if values else float) if plain else object)


def _varied(
    step: Any, values: pd.Series[Any], position: int, others: list[Any], refused: list[Any]
) -> Rows:
    """Transform the cases of one column, by halves where some of them are refused."""
    if values.empty:
        return []
    parts: list[Part] = [(_typed([]), other) for other in others]
    parts[position] = (values, None)
    try:
        return _transformed(step, parts)
    except Exception:
        if len(values) == 1:
            return [refused]
    half = len(values) // 2
    first, second = values[:half], values[half:].reset_index(drop=True)
    return [
        *_varied(step, first, position, others, refused),
        *_varied(step, second, position, others, refused),
    ]


def _transformed(step: Any, parts: Sequence[Part]) -> Rows:
    """Transform columns, each of some values and, after them, the same one again and again."""
    length = max(len(values) for values, _ in parts)
    if not length:
        return []
    names = getattr(step, "feature_names_in_", range(len(parts)))
    cells = {
        name: _filled(values, other, length)
        for name, (values, other) in zip(names, parts, strict=True)
    }
    X: Any = pd.DataFrame(cells)
    with warnings.catch_warnings():
        # The unseen value is unseen on purpose.
        warnings.simplefilter("ignore")
        answered = step.transform(X if hasattr(step, "feature_names_in_") else X.to_numpy())
    if hasattr(answered, "toarray"):
        answered = answered.toarray()
    rows: Rows = np.asarray(answered).tolist()
    return rows


def _filled(values: pd.Series[Any], other: Any, length: int) -> pd.Series[Any]:
    """Lengthen a column to the length of the others."""
    if len(values) == length:
        return values
    added = _typed([other] * (length - len(values)))
    if values.empty:
        return added
    column: pd.Series[Any] = pd.Series([*values, *added], dtype=_common(values, added))
    return column


def _common(values: pd.Series[Any], added: pd.Series[Any]) -> Any:
    """Return the type of two columns in one; only numbers of two types stay numbers."""
    if values.dtype == added.dtype:
        return values.dtype
    kinds = {values.dtype.kind, added.dtype.kind}
    return float if kinds <= {"i", "f"} else object


def usual(step: Any, i: int, column: Column) -> Any:
    """Return a value that a step takes in a column, from what it has learned of its training."""
    if isinstance(column, DiscreteColumn):
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
