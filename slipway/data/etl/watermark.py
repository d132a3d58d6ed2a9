"""Where a later run begins: the parts of an earlier one that stay, by their watermark."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from slipway.core.errors import SlipwayError
from slipway.data.dataset import Dataset, DatasetManifest, Part
from slipway.data.etl.row_validation import plain
from slipway.data.etl.time_order import MOMENT
from slipway.data.problem import Problem

LAST = "last"
Key = float | str


class Watermark:
    """The problem's watermark column, as an earlier run stored it.

    Parameters
    ----------
    column : str
    numeric : bool
        Whether it holds numbers. Dates and times are texts that sort in their order.
    """

    def __init__(self, column: str, *, numeric: bool) -> None:
        self.column = column
        self.numeric = numeric

    def key(self, text: str) -> Key:
        """Return what a watermark compares by."""
        if not self.numeric:
            return text.replace("T", " ", 1) if MOMENT.fullmatch(text) else text
        return float(text) if set(text) & set(".eEn") else int(text)

    def later(self, rows: pl.DataFrame, after: str) -> pl.DataFrame:
        """Return the rows beyond a watermark, of those that an engine gave for it.

        Engines write the same moment in several ways, so that their own comparison of texts may
        return the rows of the watermark itself again.
        """
        column = plain(self.column, rows.schema)
        if self.numeric:
            return rows.filter(column > self.key(after))
        if MOMENT.fullmatch(after):
            column = column.str.replace("T", " ", literal=True)
        return rows.filter(column > str(self.key(after)))


def kept_parts(problem: Problem, stored: Dataset, since: str) -> tuple[tuple[Part, ...], Watermark]:
    """Return the parts of an earlier run that end before a watermark.

    Parameters
    ----------
    problem : Problem
    stored : Dataset
    since : str
        A watermark, or ``last`` for the stored one.

    Returns
    -------
    tuple of Part, Watermark

    Raises
    ------
    SlipwayError
        The problem names no watermark, or ``since`` is not of its type.
    """
    column = problem.watermark_column
    if column is None:
        raise SlipwayError(f"the problem {problem.name} names no watermark; run without --since")
    mark = Watermark(column, numeric=_is_numeric(stored.files, column))
    first = stored.manifest.watermark if since == LAST else _readable(mark, stored.manifest, since)
    if first is None:
        return (), mark
    begin = mark.key(first)
    kept = tuple(
        part
        for part in stored.manifest.parts
        if part.last is not None and mark.key(part.last) < begin  # type: ignore[operator]
    )
    return kept, mark


def _is_numeric(files: list[Path], column: str) -> bool:
    """Whether all files store numbers in a column."""
    return all(pl.read_parquet_schema(file)[column].is_numeric() for file in files)


def _readable(mark: Watermark, manifest: DatasetManifest, since: str) -> str:
    """Return a watermark that the user gave, if it can be compared with the stored ones."""
    stored = manifest.watermark or ""
    fix = f"it ended at {stored}, and 'last' continues there"
    if mark.numeric:
        try:
            mark.key(since)
        except ValueError:
            raise SlipwayError(
                f"--since {since} is not a number, as the watermark {mark.column} is; {fix}"
            ) from None
    elif MOMENT.fullmatch(stored) and not MOMENT.fullmatch(since):
        form = "a date such as 2026-01-31"
        raise SlipwayError(
            f"--since {since} is not {form}, as the watermark {mark.column} is; {fix}"
        )
    return since
