"""Part rows in time: those before ``time_split``, and those from it on."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

import polars as pl

from slipway.core.errors import SlipwayError
from slipway.data.problem import Problem

MOMENT = re.compile(
    r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?( ?(Z|[+-]\d\d(:?\d\d)?))?)?", re.ASCII
)


def is_late(problem: Problem, column: pl.Series) -> pl.Series:
    """Compare a column of stored rows with the problem's ``time_split``.

    Numbers compare as numbers. Dates and times compare as moments, in UTC where they name no
    offset, however they are written; other texts compare by their bytes.

    Parameters
    ----------
    problem : Problem
    column : Series
        The values of ``order_column``, as stored.

    Returns
    -------
    Series of bool

    Raises
    ------
    SlipwayError
        A value cannot be compared with ``time_split``.
    """
    split = problem.time_split
    if isinstance(split, date):
        return _moments(problem, column) >= _as_moment(split)
    if not isinstance(split, str):
        return _numbers(problem, column) >= split
    if column.dtype != pl.String:
        raise _mismatch(problem, column[0])
    if MOMENT.fullmatch(split) and _spells_moments(column):
        return _moments(problem, column) >= _read_moment(split)
    return column >= split


def _numbers(problem: Problem, column: pl.Series) -> pl.Series:
    """Return a column of numbers; a text that spells one counts."""
    if column.dtype.is_numeric():
        return column
    if column.dtype != pl.String:
        raise _mismatch(problem, column[0])
    numbers = column.cast(pl.Float64, strict=False)
    wrong = column.filter(numbers.is_null() | numbers.is_nan())
    if len(wrong):
        raise _mismatch(problem, wrong[0])
    return numbers


def _moments(problem: Problem, column: pl.Series) -> pl.Series:
    """Return a column of moments in UTC."""
    if column.dtype != pl.String:
        raise _mismatch(problem, column[0])
    moments: dict[str, datetime] = {}
    for text in column.unique(maintain_order=True):
        try:
            moments[text] = _read_moment(text if MOMENT.fullmatch(text) else "")
        except ValueError as error:
            raise _mismatch(problem, text) from error
    return column.replace_strict(moments, return_dtype=pl.Datetime("us", "UTC"))


def _spells_moments(column: pl.Series) -> bool:
    """Whether every text of a column is a date, or a date and time."""
    return all(MOMENT.fullmatch(text) for text in column.unique())


def _read_moment(text: str) -> datetime:
    """Read a date, or a date and time, in ISO 8601."""
    return _as_moment(datetime.fromisoformat(text.replace(" +", "+").replace(" -", "-")))


def _as_moment(value: date) -> datetime:
    """Return a date or a time as a moment in UTC."""
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:
        # On the calendar's first or last day UTC may be beyond it.
        return (datetime.min if value.year == 1 else datetime.max).replace(tzinfo=UTC)


def _mismatch(problem: Problem, value: object) -> SlipwayError:
    """Name a value of the column that cannot be compared, and the field to change."""
    split = problem.time_split
    kind = "a text" if isinstance(split, str) else "a number"
    if isinstance(split, date):
        kind = "a date"
    fix = "give time_split the type of the column, or name another order_column"
    return SlipwayError(
        f"time_split is {kind}, {str(split)!r}, and order_column {problem.order_column} "
        f"holds {value!r}; {fix}"
    )
