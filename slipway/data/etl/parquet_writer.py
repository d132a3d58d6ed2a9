"""Write checked rows as Parquet files that are whole or not there at all."""

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
from slipway.data.etl.row_validation import REASONS, check, part_duplicates, plain
from slipway.data.problem import Problem

# A file is begun anew at the first watermark after this many rows. A later run reads again
# from the beginning of a file, so that few rows are read twice.
PART_ROWS = 250_000
DUPLICATE_REASON = "key: duplicate"


@dataclass
class _Open:
    """The rows of a part that is not written yet, and what was counted for it."""

    good: list[pl.DataFrame] = field(default_factory=list)
    bad: list[pl.DataFrame] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)
    rows_read: int = 0
    unlabelled: int = 0

    @property
    def rows(self) -> int:
        return sum(map(len, self.good))


def write_parts(problem: Problem, batches: Iterable[pl.DataFrame], folder: Path) -> Iterator[Part]:
    """Check rows, and write them in parts; one part at a time is in memory.

    Parameters
    ----------
    problem : Problem
    batches : iterable of DataFrame
        The rows by watermark and key.
    folder : Path

    Yields
    ------
    Part
    """
    opened = _Open()
    pieces = (piece for batch in batches for piece in batch.iter_slices(PART_ROWS))
    for rows in _whole_watermarks(pieces, problem):
        checked = check(problem, rows)
        kept, refused = part_duplicates(checked.good, problem.key)
        opened.rows_read += len(rows)
        opened.unlabelled += checked.unlabelled
        opened.marks += _ends(problem, rows)
        opened.good.append(kept)
        opened.bad += [_refused(checked.bad), _refused_twice(refused)]
        if opened.rows >= PART_ROWS:
            yield _write(problem, opened, folder)
            opened = _Open()
    if opened.rows_read:
        yield _write(problem, opened, folder)


def _whole_watermarks(batches: Iterable[pl.DataFrame], problem: Problem) -> Iterator[pl.DataFrame]:
    """Cut the stream where the watermark, or else the key, changes.

    Equal keys then come together, and a part ends where a later run can begin.
    """
    columns = [problem.watermark_column] if problem.watermark_column else [*problem.key]
    held: pl.DataFrame | None = None
    for batch in batches:
        rows = batch if held is None else pl.concat([held, batch], how="vertical_relaxed")
        if not len(rows):
            continue
        tail = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).last()) for name in columns)
        if len(before := rows.filter(~tail)):
            yield before
        held = rows.filter(tail)
    if held is not None:
        yield held


def _ends(problem: Problem, rows: pl.DataFrame) -> list[str]:
    """Give the first and the last watermark of some rows, as texts."""
    if problem.watermark_column is None:
        return []
    marks = rows.select(plain(problem.watermark_column, rows.schema)).to_series().drop_nulls()
    return [str(marks[0]), str(marks[-1])] if len(marks) else []


def _refused(bad: pl.DataFrame) -> pl.DataFrame:
    """Write refused rows as texts, whatever types they came in."""
    texts = [pl.col(name).cast(pl.String) for name in bad.columns if name != REASONS]
    return bad.select(pl.col(REASONS), *texts)


def _refused_twice(rows: pl.DataFrame) -> pl.DataFrame:
    reason = pl.concat_list(pl.lit(DUPLICATE_REASON)).alias(REASONS)
    return _refused(rows.with_columns(reason))


def _write(problem: Problem, opened: _Open, folder: Path) -> Part:
    """Write a part, and beside it the rows that were refused."""
    # A column of a database without types may begin with integers and go on with fractions.
    good = pl.concat(opened.good, how="vertical_relaxed")
    bad = pl.concat(opened.bad, how="diagonal")
    file = _store(good.with_columns(folds(problem, good)), folder)
    return Part(
        file=file.name,
        rows=len(good),
        sha256=file_sha256(file),
        first=opened.marks[0] if opened.marks else None,
        last=opened.marks[-1] if opened.marks else None,
        rows_read=opened.rows_read,
        left_out={problem.unlabelled: opened.unlabelled},
        quarantined=dict(Counter(reasons[0] for reasons in bad[REASONS])),
        quarantine=_store_refused(bad, folder),
    )


def folds(problem: Problem, rows: pl.DataFrame) -> pl.Series:
    """Draw a fold, 0 to 9, for each row, which depends on its key alone.

    pandas' hash of values is the same on every machine and in every version so far.
    """
    floats = [name for name in problem.key if rows.schema[name].is_float()]
    key = rows.select(problem.key).with_columns(pl.col(floats).cast(pl.String)).to_pandas()
    hashed = pd.util.hash_pandas_object(key, index=False).to_numpy()
    # The high bits, since a remainder by ten sees the low ones too much.
    return pl.Series(FOLD, (hashed >> 32) % N_FOLDS).cast(pl.Int8)


def _store(rows: pl.DataFrame, folder: Path) -> Path:
    """Write a Parquet file under the name of its content."""
    half = folder / ".part.tmp"
    rows.write_parquet(half, compression="zstd", row_group_size=65_536, statistics=True)
    return move_into_place(half, folder / f"part-{file_sha256(half)[:16]}.parquet")


def _store_refused(bad: pl.DataFrame, folder: Path) -> str:
    """Write refused rows as JSON lines, if there are any."""
    if not len(bad):
        return ""
    half = folder / ".quarantine.tmp"
    bad.write_ndjson(half)
    return move_into_place(half, folder / f"quarantine-{file_sha256(half)[:16]}.jsonl").name


def content_sha256(values: Iterable[pl.DataFrame]) -> str:
    """Hash all values, column by column, whatever pieces they come in.

    Each column's bytes, the lengths of its texts and its gaps are hashed by themselves.
    """
    digests: dict[str, list[hashlib._Hash]] = {}
    for rows in values:
        for column in rows.get_columns():
            three = digests.setdefault(column.name, [hashlib.sha256() for _ in range(3)])
            for digest, content in zip(three, _bytes(column), strict=True):
                digest.update(content)
    whole = hashlib.sha256()
    for name, three in digests.items():
        whole.update(name.encode())
        for digest in three:
            whole.update(digest.digest())
    return whole.hexdigest()


def _bytes(column: pl.Series) -> tuple[bytes, bytes, bytes]:
    """Give a column's values, the lengths of texts, and where it has gaps, as bytes."""
    gaps = column.is_null().to_numpy().tobytes()
    if column.dtype == pl.String:
        filled = column.fill_null("")
        lengths = filled.str.len_bytes().to_numpy().astype("<u4").tobytes()
        return "".join(filled.to_list()).encode(), lengths, gaps
    dense = column.fill_null(False if column.dtype == pl.Boolean else 0).to_numpy()
    return dense.tobytes(), b"", gaps
