"""Compare rows with ``time_split``: before it, or from it on."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

import polars as pl

from slipway.core.errors import SlipwayError
from slipway.data.problem import Problem

DATETIME = re.compile(
    r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?( ?(Z|[+-]\d\d(:?\d\d)?))?)?", re.ASCII
)


def in_test_period(problem: Problem, column: pl.Series) -> pl.Series:
    """Return whether each value is at or after the problem's ``time_split``.

    Numbers compare as numbers. Dates and times compare in time order; UTC is assumed if they have
    no offset. Other texts compare by bytes.

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
        return _to_datetimes(problem, column) >= _to_utc(split)
    if not isinstance(split, str):
        return _to_numbers(problem, column) >= split
    if column.dtype != pl.String:
        raise _mismatch(problem, column[0])
    if DATETIME.fullmatch(split) and _holds_datetimes(column):
        return _to_datetimes(problem, column) >= _parse_datetime(split)
    return column >= split


def _to_numbers(problem: Problem, column: pl.Series) -> pl.Series:
    """Return a column as numbers; parse texts."""
    if column.dtype.is_numeric():
        return column
    if column.dtype != pl.String:
        raise _mismatch(problem, column[0])
    numbers = column.cast(pl.Float64, strict=False)
    invalid = column.filter(numbers.is_null() | numbers.is_nan())
    if len(invalid):
        raise _mismatch(problem, invalid[0])
    return numbers


def _to_datetimes(problem: Problem, column: pl.Series) -> pl.Series:
    """Return a column of texts as times in UTC."""
    if column.dtype != pl.String:
        raise _mismatch(problem, column[0])
    parsed: dict[str, datetime] = {}
    for text in column.unique(maintain_order=True):
        try:
            parsed[text] = _parse_datetime(text if DATETIME.fullmatch(text) else "")
        except ValueError as error:
            raise _mismatch(problem, text) from error
    return column.replace_strict(parsed, return_dtype=pl.Datetime("us", "UTC"))


def _holds_datetimes(column: pl.Series) -> bool:
    """Return whether every text is a date, or a date and time."""
    return all(DATETIME.fullmatch(text) for text in column.unique())


def _parse_datetime(text: str) -> datetime:
    """Parse a date, or a date and time, in ISO 8601."""
    return _to_utc(datetime.fromisoformat(text.replace(" +", "+").replace(" -", "-")))


def _to_utc(value: date) -> datetime:
    """Return a date or a time as a time in UTC."""
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:
        # UTC can be outside the calendar on its first and last day.
        return (datetime.min if value.year == 1 else datetime.max).replace(tzinfo=UTC)


def _mismatch(problem: Problem, value: object) -> SlipwayError:
    """Return the error for a value that cannot be compared with ``time_split``."""
    split = problem.time_split
    kind = "a text" if isinstance(split, str) else "a number"
    if isinstance(split, date):
        kind = "a date"
    fix = "set time_split to a value of the column's type, or choose another order_column"
    return SlipwayError(
        f"time_split is {kind}, {str(split)!r}, but order_column {problem.order_column} "
        f"has the value {value!r}; {fix}"
    )
