"""Validate rows and write them as Parquet files, each file atomically."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import polars as pl

from slipway.core.files import file_sha256, move_into_place
from slipway.data.dataset import FOLD, N_FOLDS, Part
from slipway.data.etl.row_validation import REASONS, split_duplicates, to_stored_type, validate_rows
from slipway.data.problem import Problem

# A new file starts at the first watermark after this many rows. A later run reads the last file
# again from its start.
PART_ROWS = 250_000
DUPLICATE_REASON = "key: duplicate"


@dataclass
class _OpenPart:
    """The rows and counts of a part that is not written yet."""

    good: list[pl.DataFrame] = field(default_factory=list)
    bad: list[pl.DataFrame] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)
    rows_read: int = 0
    unlabelled: int = 0

    @property
    def rows(self) -> int:
        return sum(map(len, self.good))


def write_parts(problem: Problem, batches: Iterable[pl.DataFrame], folder: Path) -> Iterator[Part]:
    """Validate rows and write them in parts, with one part in memory at a time.

    Parameters
    ----------
    problem : Problem
    batches : iterable of DataFrame
        Rows ordered by watermark and key.
    folder : Path

    Yields
    ------
    Part
    """
    part = _OpenPart()
    pieces = (piece for batch in batches for piece in batch.iter_slices(PART_ROWS))
    for rows in _split_at_watermarks(pieces, problem):
        checked = validate_rows(problem, rows)
        kept, duplicates = split_duplicates(checked.good, problem.key)
        part.rows_read += len(rows)
        part.unlabelled += checked.unlabelled
        part.marks += _watermark_bounds(problem, rows)
        part.good.append(kept)
        part.bad += [_to_quarantine_rows(checked.bad), _to_duplicate_rows(duplicates)]
        if part.rows >= PART_ROWS:
            yield _write_part(problem, part, folder)
            part = _OpenPart()
    if part.rows_read:
        yield _write_part(problem, part, folder)


def _split_at_watermarks(
    batches: Iterable[pl.DataFrame], problem: Problem
) -> Iterator[pl.DataFrame]:
    """Split the stream where the watermark changes, or else where the key changes.

    Equal keys stay together, and a later run can begin at the start of any part.
    """
    columns = [problem.watermark_column] if problem.watermark_column else [*problem.key]
    pending: pl.DataFrame | None = None
    for batch in batches:
        rows = batch if pending is None else pl.concat([pending, batch], how="vertical_relaxed")
        if not len(rows):
            continue
        is_last = pl.all_horizontal(
            pl.col(name).eq_missing(pl.col(name).last()) for name in columns
        )
        if len(complete := rows.filter(~is_last)):
            yield complete
        pending = rows.filter(is_last)
    if pending is not None:
        yield pending


def _watermark_bounds(problem: Problem, rows: pl.DataFrame) -> list[str]:
    """Return the first and the last watermark as texts."""
    if problem.watermark_column is None:
        return []
    column = to_stored_type(problem.watermark_column, rows.schema)
    marks = rows.select(column).to_series().drop_nulls()
    return [str(marks[0]), str(marks[-1])] if len(marks) else []


def _to_quarantine_rows(bad: pl.DataFrame) -> pl.DataFrame:
    """Return rejected rows with all values as texts."""
    texts = [pl.col(name).cast(pl.String) for name in bad.columns if name != REASONS]
    return bad.select(pl.col(REASONS), *texts)


def _to_duplicate_rows(rows: pl.DataFrame) -> pl.DataFrame:
    reason = pl.concat_list(pl.lit(DUPLICATE_REASON)).alias(REASONS)
    return _to_quarantine_rows(rows.with_columns(reason))


def _write_part(problem: Problem, part: _OpenPart, folder: Path) -> Part:
    """Write a part and its quarantine file."""
    # A column of an untyped database may start with integers and continue with fractions.
    good = pl.concat(part.good, how="vertical_relaxed")
    bad = pl.concat(part.bad, how="diagonal")
    file = _write_parquet(good.with_columns(assign_folds(problem, good)), folder)
    return Part(
        file=file.name,
        rows=len(good),
        sha256=file_sha256(file),
        first=part.marks[0] if part.marks else None,
        last=part.marks[-1] if part.marks else None,
        rows_read=part.rows_read,
        left_out={problem.unlabelled: part.unlabelled},
        quarantined=dict(Counter(reasons[0] for reasons in bad[REASONS])),
        quarantine=_write_quarantine(bad, folder),
    )


def assign_folds(problem: Problem, rows: pl.DataFrame) -> pl.Series:
    """Return the fold, 0 to 9, of each row, derived only from its key.

    The pandas hash of values is the same on every machine and in every version so far.
    """
    floats = [name for name in problem.key if rows.schema[name].is_float()]
    key = rows.select(problem.key).with_columns(pl.col(floats).cast(pl.String)).to_pandas()
    hashed = pd.util.hash_pandas_object(key, index=False).to_numpy()
    # Use the high bits: a remainder by ten depends too much on the low ones.
    return pl.Series(FOLD, (hashed >> 32) % N_FOLDS).cast(pl.Int8)


def _write_parquet(rows: pl.DataFrame, folder: Path) -> Path:
    """Write a Parquet file named by the hash of its content."""
    draft = folder / ".part.tmp"
    rows.write_parquet(draft, compression="zstd", row_group_size=65_536, statistics=True)
    return move_into_place(draft, folder / f"part-{file_sha256(draft)[:16]}.parquet")


def _write_quarantine(bad: pl.DataFrame, folder: Path) -> str:
    """Write rejected rows as JSON lines; return the file name, empty without rows."""
    if not len(bad):
        return ""
    draft = folder / ".quarantine.tmp"
    bad.write_ndjson(draft)
    return move_into_place(draft, folder / f"quarantine-{file_sha256(draft)[:16]}.jsonl").name


def content_sha256(values: Iterable[pl.DataFrame]) -> str:
    """Return the SHA-256 of all values, independent of how they are split into frames.

    For each column, separate digests cover the values, the lengths of texts and the missing
    values.
    """
    digests: dict[str, list[hashlib._Hash]] = {}
    for rows in values:
        for column in rows.get_columns():
            column_digests = digests.setdefault(column.name, [hashlib.sha256() for _ in range(3)])
            for digest, content in zip(column_digests, _column_bytes(column), strict=True):
                digest.update(content)
    whole = hashlib.sha256()
    for name, column_digests in digests.items():
        whole.update(name.encode())
        for digest in column_digests:
            whole.update(digest.digest())
    return whole.hexdigest()


def _column_bytes(column: pl.Series) -> tuple[bytes, bytes, bytes]:
    """Return a column's values, text lengths and missing-value mask as bytes."""
    missing = column.is_null().to_numpy().tobytes()
    if column.dtype == pl.String:
        filled = column.fill_null("")
        lengths = filled.str.len_bytes().to_numpy().astype("<u4").tobytes()
        return "".join(filled.to_list()).encode(), lengths, missing
    dense = column.fill_null(False if column.dtype == pl.Boolean else 0).to_numpy()
    return dense.tobytes(), b"", missing
