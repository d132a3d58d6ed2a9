"""Incremental runs: which parts stay, and which rows the query returns, by watermark."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import sqlglot
from sqlglot import exp

from slipway.core.errors import SlipwayError
from slipway.data.dataset import Dataset, DatasetManifest, Part
from slipway.data.etl.row_validation import to_stored_type
from slipway.data.etl.time_order import DATETIME
from slipway.data.problem import Problem

LAST = "last"
SortKey = float | str


class Watermark:
    """The watermark column as an earlier run stored it.

    Parameters
    ----------
    column : str
    numeric : bool
        Whether its values are numbers. Dates and times are texts that sort in time order.
    """

    def __init__(self, column: str, *, numeric: bool) -> None:
        self.column = column
        self.numeric = numeric

    def sort_key(self, text: str) -> SortKey:
        """Return the value by which watermarks are compared."""
        if not self.numeric:
            return text.replace("T", " ", 1) if DATETIME.fullmatch(text) else text
        return float(text) if set(text) & set(".eEn") else int(text)

    def rows_after(self, rows: pl.DataFrame, after: str) -> pl.DataFrame:
        """Drop the rows up to a watermark that an engine returned by mistake.

        Engines format times differently, so their comparison of texts can return the rows of the
        watermark again.
        """
        column = to_stored_type(self.column, rows.schema)
        if self.numeric:
            return rows.filter(column > self.sort_key(after))
        if DATETIME.fullmatch(after):
            column = column.str.replace("T", " ", literal=True)
        return rows.filter(column > str(self.sort_key(after)))


def select_kept_parts(
    dataset: Dataset, column: str, since: str
) -> tuple[tuple[Part, ...], Watermark]:
    """Return the parts of an earlier run that end before a watermark.

    Parameters
    ----------
    dataset : Dataset
    column : str
        The watermark column.
    since : str
        A watermark, or ``last`` for the stored one.

    Returns
    -------
    tuple of Part, Watermark

    Raises
    ------
    SlipwayError
        ``since`` has another type than the watermark.
    """
    watermark = Watermark(column, numeric=_is_numeric(dataset.files, column))
    manifest = dataset.manifest
    first = manifest.watermark if since == LAST else _validate_since(watermark, manifest, since)
    if first is None:
        return (), watermark
    start = watermark.sort_key(first)
    kept = tuple(
        part
        for part in manifest.parts
        if part.last is not None and watermark.sort_key(part.last) < start  # type: ignore[operator]
    )
    return kept, watermark


def ordered_query(problem: Problem, after: str | None = None, *, numeric: bool = False) -> str:
    """Return the problem's query with the same row order on every engine.

    Parameters
    ----------
    problem : Problem
    after : str, optional
        Return only rows with a greater watermark.
    numeric : bool
        Whether the watermark is a number.

    Returns
    -------
    str
        SQL in DuckDB's dialect.
    """
    inner = sqlglot.parse_one(problem.query, read="duckdb")
    inner.set("order", None)
    watermark = problem.watermark_column
    order = dict.fromkeys([*([watermark] if watermark else []), *problem.key])
    query = exp.select("*").from_(exp.Subquery(this=inner, alias="row_of_query"))
    query = query.order_by(*(exp.column(name, quoted=True) for name in order))
    if after is not None and watermark is not None:
        column: exp.Expression = exp.column(watermark, quoted=True)
        text = column if numeric else exp.cast(column, "VARCHAR")
        query = query.where(text > (exp.Literal.number(after) if numeric else after))
    return query.sql(dialect="duckdb")


def _is_numeric(files: list[Path], column: str) -> bool:
    """Return whether all files store numbers in a column."""
    return all(pl.read_parquet_schema(file)[column].is_numeric() for file in files)


def _validate_since(watermark: Watermark, manifest: DatasetManifest, since: str) -> str:
    """Return the value of ``--since`` if it is comparable with the stored watermark."""
    last = manifest.watermark or ""
    fix = f"the last run ended at {last}; use 'last' to continue there"
    if watermark.numeric:
        try:
            watermark.sort_key(since)
        except ValueError:
            raise SlipwayError(
                f"--since {since} is not a number, as the watermark {watermark.column} is; {fix}"
            ) from None
    elif DATETIME.fullmatch(last) and not DATETIME.fullmatch(since):
        example = "a date such as 2026-01-31"
        raise SlipwayError(
            f"--since {since} is not {example}, as the watermark {watermark.column} is; {fix}"
        )
    return since
