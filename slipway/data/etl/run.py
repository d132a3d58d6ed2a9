"""Run a problem's query on a source and store the valid rows."""

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

from slipway.core.errors import SlipwayError
from slipway.core.files import write_atomic
from slipway.core.locking import lock_folder
from slipway.data.dataset import MANIFEST, Dataset, DatasetManifest, Part, open_dataset
from slipway.data.etl.column_statistics import compute_statistics, require_trainable
from slipway.data.etl.parquet_writer import content_sha256, write_parts
from slipway.data.etl.row_validation import match_column_names
from slipway.data.etl.time_order import in_test_period
from slipway.data.etl.watermark import Watermark, ordered_query, select_kept_parts
from slipway.data.problem import Problem, field_errors
from slipway.data.sources import Source, open_source

CLASSES = "target_column accepts 0 and 1, false and true, no and yes, or the classes"
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
    """Write a problem's dataset to a folder; replace an earlier one only on success.

    Parameters
    ----------
    problem : Problem
    url : str, optional
        The source; by default the problem's own files.
    folder : Path
    since : str, optional
        Read rows again from this watermark; ``last`` continues after the previous run.
    progress : callable
        Called with each stage before it begins.
    environ : mapping of str to str
        The environment variables with credentials.

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
            kept, watermark = _load_kept_parts(problem, folder, since)
            progress(f"running the query on {source.redacted}")
            manifest = _read_rows(problem, source, folder, kept, watermark, progress)
            seconds = round(time.perf_counter() - started, 1)
            manifest = msgspec.structs.replace(manifest, seconds=seconds)
            _publish(manifest, folder)
            return manifest
    except OSError as error:
        raise _disk_error(error, folder) from error
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise SlipwayError(f"cannot store the rows of the query: {reason}") from error


@contextmanager
def default_dataset(problem: Problem, progress: Progress = lambda stage: None) -> Iterator[Dataset]:
    """Write the dataset of a problem's own files to a scratch folder.

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


def _read_rows(
    problem: Problem,
    source: Source,
    folder: Path,
    kept: tuple[Part, ...],
    watermark: Watermark | None,
    progress: Progress,
) -> DatasetManifest:
    """Read new rows, and return the manifest of kept and new parts."""
    parts = list(kept)
    batches = _query_batches(problem, source, kept, watermark)
    for part in write_parts(problem, batches, folder):
        parts.append(part)
        n_rows = sum(part.rows_read for part in parts)
        progress(f"{n_rows:,} rows read, until {part.last or 'now'}")
    if not kept or kept[-1].last is None:
        _require_complete(problem, source, parts)
    _require_few_rejected(problem, parts, folder)
    progress("hashing and counting the columns")
    dataset = Dataset(folder, _build_manifest(problem, source, parts))
    return _add_statistics(problem, dataset)


def _load_kept_parts(
    problem: Problem, folder: Path, since: str | None
) -> tuple[tuple[Part, ...], Watermark | None]:
    """Return the parts of an earlier run to keep, and its watermark."""
    if since is None:
        return (), None
    if problem.watermark_column is None:
        raise SlipwayError(f"the problem {problem.name} has no watermark; run without --since")
    dataset = open_dataset(folder)
    if dataset.manifest.query_sha256 != query_sha256(problem):
        raise SlipwayError("the query has changed since the rows were written; run without --since")
    return select_kept_parts(dataset, problem.watermark_column, since)


def _query_batches(
    problem: Problem, source: Source, kept: tuple[Part, ...], watermark: Watermark | None
) -> Iterator[pl.DataFrame]:
    """Yield the rows after the kept parts, ordered by watermark and key."""
    after = kept[-1].last if kept else None
    query = ordered_query(problem, after, numeric=watermark is not None and watermark.numeric)
    for batch in source.batches(query):
        rows = match_column_names(problem, cast(pl.DataFrame, pl.from_arrow(batch)))
        yield rows if after is None or watermark is None else watermark.rows_after(rows, after)


def _require_complete(problem: Problem, source: Source, parts: list[Part]) -> None:
    """Raise an error if the query did not return one row for each row of the first table."""
    read = sum(part.rows_read for part in parts)
    table = problem.tables[0]
    expected = int(source.rows(f'SELECT COUNT(*) FROM "{table}"')[0][0])  # noqa: S608
    if read != expected:
        raise SlipwayError(
            f"the query returned {read:,} rows for the {expected:,} of {table}; correct the query"
        )
    if not read:
        raise SlipwayError(f"the table {table} of {source.redacted} is empty")


def _require_few_rejected(problem: Problem, parts: list[Part], folder: Path) -> None:
    """Raise an error if too many rows were rejected; the quarantine files stay."""
    read = sum(part.rows_read for part in parts)
    rejected = _sum_counts(part.quarantined for part in parts)
    n_rejected = sum(rejected.values())
    if n_rejected <= problem.max_quarantined * read:
        return
    fix = ""
    if f"{problem.target_column}: not_a_class" in rejected:
        fix = f"; {CLASSES} {' and '.join(map(repr, problem.target.classes))}"
    reasons = "; ".join(f"{reason} ({n:,})" for reason, n in Counter(rejected).most_common(3))
    files = ", ".join(str(folder / part.quarantine) for part in parts if part.quarantine)
    share = f"{n_rejected:,} of {read:,} rows, more than {problem.max_quarantined:.1%}"
    raise SlipwayError(f"{share}, were rejected: {reasons}{fix}; see {files}")


def _build_manifest(problem: Problem, source: Source, parts: list[Part]) -> DatasetManifest:
    """Return the manifest of all parts, without statistics."""
    return DatasetManifest(
        problem=problem.name,
        source=source.redacted,
        query_sha256=query_sha256(problem),
        data_sha256="",
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=0.0,
        watermark=next((part.last for part in reversed(parts) if part.last is not None), None),
        rows_read=sum(part.rows_read for part in parts),
        rows=sum(part.rows for part in parts),
        left_out=_sum_counts(part.left_out for part in parts),
        quarantined=_sum_counts(part.quarantined for part in parts),
        columns={},
        parts=tuple(parts),
        labels=_read_labels(problem, source),
    )


def _read_labels(problem: Problem, source: Source) -> dict[str, dict[str, str]]:
    """Return the display names by feature and category."""
    with field_errors("labels"):
        result = problem.labels(source.rows)
        labels = {str(name): dict(names) for name, names in result.items()}
    known = {feature.name for feature in problem.features}
    for name, names in labels.items():
        if name not in known:
            raise SlipwayError(
                f"the problem's labels have the key {name!r}, which is not a feature"
            )
        for category, text in names.items():
            if not isinstance(category, str) or not isinstance(text, str):
                pair = f"{category!r}: {text!r}"
                raise SlipwayError(f"the problem's labels for {name} must be texts, not {pair}")
    return labels


def _add_statistics(problem: Problem, dataset: Dataset) -> DatasetManifest:
    """Add statistics and the content hash; reject a dataset that cannot be trained on."""
    statistics = compute_statistics(dataset)
    require_trainable(problem, dataset, statistics)
    for batch in dataset.batches([problem.order_column]):
        in_test_period(problem, cast(pl.Series, pl.from_arrow(batch.column(0))))
    frames = (cast(pl.DataFrame, pl.from_arrow(batch)) for batch in dataset.batches())
    return msgspec.structs.replace(
        dataset.manifest, columns=statistics, data_sha256=content_sha256(frames)
    )


def query_sha256(problem: Problem) -> str:
    """Return the SHA-256 of the query's text."""
    return hashlib.sha256(problem.query.encode()).hexdigest()


def _sum_counts(counts: Iterator[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for part in counts:
        total.update(part)
    return dict(total)


def _publish(manifest: DatasetManifest, folder: Path) -> None:
    """Replace the manifest atomically, and delete files of runs before the previous one."""
    try:
        previous = open_dataset(folder).manifest.parts
    except SlipwayError:
        previous = ()
    content = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    write_atomic(folder / MANIFEST, content + b"\n")
    # Another process may still read the dataset of the previous run.
    used = {name for part in (*manifest.parts, *previous) for name in (part.file, part.quarantine)}
    for pattern in ("part-*.parquet", "quarantine-*.jsonl"):
        for file in folder.glob(pattern):
            if file.name not in used:
                file.unlink()


def _remove_half_written(folder: Path) -> None:
    """Delete the temporary files of a killed run."""
    for file in folder.glob(".*.tmp"):
        file.unlink()


def _disk_error(error: OSError, folder: Path) -> SlipwayError:
    """Return the error for a failed write."""
    fix = "the dataset of the previous run is unchanged"
    if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
        return SlipwayError(f"the disk of {folder} is full; free some space and run again; {fix}")
    return SlipwayError(f"cannot write to {folder}: {error.strerror or error}; {fix}")
