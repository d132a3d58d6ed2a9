"""Run a problem's query on a source, and keep the rows that pass the checks."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import msgspec
import polars as pl
import sqlglot
from sqlglot import exp

from slipway.core.errors import SlipwayError
from slipway.core.files import write_atomic
from slipway.core.locking import lock_folder
from slipway.data.dataset import MANIFEST, Dataset, DatasetManifest, Part, open_dataset
from slipway.data.etl.column_statistics import column_statistics, require_balance
from slipway.data.etl.parquet_writer import content_sha256, write_parts
from slipway.data.etl.row_validation import named
from slipway.data.etl.time_order import is_late
from slipway.data.etl.watermark import Watermark, kept_parts
from slipway.data.problem import Problem, running
from slipway.data.sources import Source, open_source

CLASSES = "target_column may hold 0 and 1, false and true, no and yes, or the classes"
Progress = Callable[[str], None]


def run_etl(
    problem: Problem,
    url: str | None,
    folder: Path,
    *,
    since: str | None = None,
    progress: Progress = lambda stage: None,
    environ: Mapping[str, str] = os.environ,
) -> DatasetManifest:
    """Fill a folder with a problem's rows; what was there before stays until all is well.

    Parameters
    ----------
    problem : Problem
    url : str, optional
        Of the source; by default the problem's own files.
    folder : Path
    since : str, optional
        The watermark from which on rows are read anew, or ``last`` for the stored one.
    progress : callable
        Told each stage before it begins.
    environ : mapping of str to str
        Where credentials come from.

    Returns
    -------
    DatasetManifest

    Raises
    ------
    SlipwayError
        The message says what is wrong and what to do.
    """
    started = time.perf_counter()
    try:
        with lock_folder(folder), open_source(url, problem, environ) as source:
            _remove_half_written(folder)
            begun = _kept(problem, folder, since)
            progress(f"running the query on {source.shown}")
            manifest = _read(problem, source, folder, begun, progress)
            seconds = round(time.perf_counter() - started, 1)
            manifest = msgspec.structs.replace(manifest, seconds=seconds)
            _publish(manifest, folder)
            return manifest
    except OSError as error:
        raise _explained(error, folder) from error
    except pl.exceptions.PolarsError as error:
        said = str(error).splitlines()[0]
        raise SlipwayError(f"the rows that the query gives cannot be stored: {said}") from error


@contextmanager
def default_dataset(problem: Problem, progress: Progress = lambda stage: None) -> Iterator[Dataset]:
    """Hold the rows of a problem's own files, in a scratch folder.

    Parameters
    ----------
    problem : Problem
    progress : callable

    Yields
    ------
    Dataset
    """
    with TemporaryDirectory() as scratch:
        run_etl(problem, None, Path(scratch), progress=progress)
        yield open_dataset(Path(scratch))


def _read(
    problem: Problem,
    source: Source,
    folder: Path,
    begun: tuple[tuple[Part, ...], Watermark | None],
    progress: Progress,
) -> DatasetManifest:
    """Read what is new, and describe it together with what is kept."""
    kept, mark = begun
    first = kept[-1].last if kept else None
    parts = list(kept)
    batches = _batches(problem, source, kept, mark)
    for part in write_parts(problem, batches, folder):
        parts.append(part)
        progress(f"{sum(each.rows_read for each in parts):,} rows read, until {part.last or 'now'}")
    _require_all(problem, source, parts, first)
    _require_good(problem, parts, folder)
    progress("hashing and counting the columns")
    stored = Dataset(folder, _described(problem, source, parts))
    return _with_content(problem, stored)


def _kept(
    problem: Problem, folder: Path, since: str | None
) -> tuple[tuple[Part, ...], Watermark | None]:
    """Return the parts of an earlier run that stay, and its watermark."""
    if since is None:
        return (), None
    if problem.watermark_column is None:
        raise SlipwayError(f"the problem {problem.name} names no watermark; run without --since")
    stored = open_dataset(folder)
    if stored.manifest.query_sha256 != query_sha256(problem):
        raise SlipwayError("the query has changed since the rows were written; run without --since")
    return kept_parts(problem, stored, since)


def _batches(
    problem: Problem, source: Source, kept: tuple[Part, ...], mark: Watermark | None
) -> Iterator[pl.DataFrame]:
    """Run the query for what comes after the parts that are kept, by watermark and key."""
    after = kept[-1].last if kept else None
    query = ordered_query(problem, after, numeric=mark is not None and mark.numeric)
    for batch in source.batches(query):
        rows = named(problem, cast(pl.DataFrame, pl.from_arrow(batch)))
        yield rows if after is None or mark is None else mark.later(rows, after)


def ordered_query(problem: Problem, after: str | None = None, *, numeric: bool = False) -> str:
    """Give the problem's query with its rows in one order on every engine.

    Parameters
    ----------
    problem : Problem
    after : str, optional
        Only rows with a greater watermark.
    numeric : bool
        Whether the watermark is a number.

    Returns
    -------
    str
        In DuckDB's dialect.
    """
    inner = sqlglot.parse_one(problem.query, read="duckdb")
    inner.set("order", None)
    mark = problem.watermark_column
    order = dict.fromkeys([*([mark] if mark else []), *problem.key])
    query = exp.select("*").from_(exp.Subquery(this=inner, alias="row_of_query"))
    query = query.order_by(*(exp.column(name, quoted=True) for name in order))
    if after is not None and mark is not None:
        column: exp.Expression = exp.column(mark, quoted=True)
        text = column if numeric else exp.cast(column, "VARCHAR")
        query = query.where(text > (exp.Literal.number(after) if numeric else after))
    return query.sql(dialect="duckdb")


def _require_all(problem: Problem, source: Source, parts: list[Part], first: str | None) -> None:
    """Hold the count of rows against that of the raw table, where all of it was asked for."""
    read = sum(part.rows_read for part in parts)
    if first is not None:
        return
    table = problem.tables[0]
    due = int(source.rows(f'SELECT COUNT(*) FROM "{table}"')[0][0])  # noqa: S608
    if read != due:
        raise SlipwayError(f"the query gave {read:,} rows for the {due:,} of {table}; mend it")
    if not read:
        raise SlipwayError(f"the table {table} of {source.shown} is empty")


def _require_good(problem: Problem, parts: list[Part], folder: Path) -> None:
    """Stop where too many rows were refused; the files of refused rows are left to look at."""
    read, refused = sum(part.rows_read for part in parts), _summed(p.quarantined for p in parts)
    bad = sum(refused.values())
    if bad <= problem.max_quarantined * read:
        return
    target = f"{problem.target_column}: not_a_class"
    fix = (
        f"; {CLASSES} {' and '.join(map(repr, problem.target.classes))}"
        if target in refused
        else ""
    )
    most = "; ".join(f"{reason} ({n:,})" for reason, n in Counter(refused).most_common(3))
    files = ", ".join(str(folder / part.quarantine) for part in parts if part.quarantine)
    share = f"{bad:,} of {read:,} rows, more than {problem.max_quarantined:.1%}"
    raise SlipwayError(f"{share}, were refused: {most}{fix}; they are in {files}")


def _described(problem: Problem, source: Source, parts: list[Part]) -> DatasetManifest:
    """Put the counts of all parts together."""
    return DatasetManifest(
        problem=problem.name,
        source=source.shown,
        query_sha256=query_sha256(problem),
        data_sha256="",
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=0.0,
        watermark=next((part.last for part in reversed(parts) if part.last is not None), None),
        rows_read=sum(part.rows_read for part in parts),
        rows=sum(part.rows for part in parts),
        left_out=_summed(part.left_out for part in parts),
        quarantined=_summed(part.quarantined for part in parts),
        columns={},
        parts=tuple(parts),
        labels=_labels(problem, source),
    )


def _labels(problem: Problem, source: Source) -> dict[str, dict[str, str]]:
    """Return the display names by feature and category."""
    with running("labels"):
        given = problem.labels(source.rows)
        labels = {str(name): dict(names) for name, names in given.items()}
    known = {feature.name for feature in problem.features}
    for name, names in labels.items():
        if name not in known:
            raise SlipwayError(f"the problem's labels name {name!r}, which is not a feature")
        for category, text in names.items():
            if not isinstance(category, str) or not isinstance(text, str):
                pair = f"{category!r}: {text!r}"
                raise SlipwayError(f"the problem's labels for {name} must be texts, not {pair}")
    return labels


def _with_content(problem: Problem, stored: Dataset) -> DatasetManifest:
    """Add what takes a look at all values, and refuse rows that nothing can be learned from."""
    statistics = column_statistics(stored)
    require_balance(problem, stored, statistics)
    for batch in stored.batches([problem.order_column]):
        is_late(problem, cast(pl.Series, pl.from_arrow(batch.column(0))))
    frames = (cast(pl.DataFrame, pl.from_arrow(batch)) for batch in stored.batches())
    return msgspec.structs.replace(
        stored.manifest, columns=statistics, data_sha256=content_sha256(frames)
    )


def query_sha256(problem: Problem) -> str:
    """Hash the query's text."""
    return hashlib.sha256(problem.query.encode()).hexdigest()


def _summed(counts: Iterator[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(total)


def _publish(manifest: DatasetManifest, folder: Path) -> None:
    """Make the new rows the rows, in one step, and drop files that nobody reads any more."""
    try:
        older = open_dataset(folder).manifest.parts
    except SlipwayError:
        older = ()
    content = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    write_atomic(folder / MANIFEST, content + b"\n")
    # Somebody may just be reading the rows of the run before this one.
    used = {name for part in (*manifest.parts, *older) for name in (part.file, part.quarantine)}
    for pattern in ("part-*.parquet", "quarantine-*.jsonl"):
        for file in folder.glob(pattern):
            if file.name not in used:
                file.unlink()


def _remove_half_written(folder: Path) -> None:
    """Remove what a run that was killed has left."""
    for file in folder.glob(".*.tmp"):
        file.unlink()


def _explained(error: OSError, folder: Path) -> SlipwayError:
    """Say what to do about an error of the disk."""
    fix = "the rows of the run before are untouched"
    if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
        return SlipwayError(f"the disk of {folder} is full; make room and run again; {fix}")
    return SlipwayError(f"cannot write to {folder}: {error.strerror or error}; {fix}")
