"""Rows that a problem's query gave, in a folder: Parquet files, and ``rows.json`` about them.

Whoever reads goes by ``rows.json``, which is written last and in one step. A file that it does
not name is no part of the rows: it is half written, or older.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from slipway.core.errors import SlipwayError
from slipway.core.files import file_sha256

MANIFEST = "rows.json"
FOLD = "fold"
N_FOLDS = 10
# The rows of these folds are held out: a fifth.
HELD_OUT = (8, 9)
BATCH_ROWS = 65_536


class Part(msgspec.Struct, frozen=True):
    """One Parquet file.

    Attributes
    ----------
    file, sha256 : str
    rows : int
    first, last : str, optional
        The lowest and highest watermark of its rows, where the problem has one.
    rows_read : int
        Rows that the query gave for it: those stored, left out and quarantined.
    left_out, quarantined : dict of str to int
        By reason.
    quarantine : str
        The file of refused rows with all their reasons, as JSON lines; empty without any.
    """

    file: str
    rows: int
    sha256: str
    first: str | None = None
    last: str | None = None
    rows_read: int = 0
    left_out: dict[str, int] = {}
    quarantined: dict[str, int] = {}
    quarantine: str = ""


class ColumnStatistics(msgspec.Struct, frozen=True):
    """What a column holds: gaps, and the range of numbers or the count of distinct texts."""

    missing: int
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    distinct: int | None = None


class DatasetManifest(msgspec.Struct, frozen=True):
    """Where rows came from and what became of each; ``rows_read`` is the sum of the counts.

    Attributes
    ----------
    problem, source : str
        The source as it may be shown: without credentials.
    query_sha256, data_sha256 : str
        Hashes of the query, and of all values, whatever files they are parted into.
    made : str
        UTC.
    seconds : float
        Of the last run.
    watermark : str, optional
        The highest value of the problem's watermark; the next run may begin there.
    rows_read : int
        Rows that the query gave.
    rows : int
        Rows that are stored; those below were not.
    left_out : dict of str to int
        Rows without a target, by reason.
    quarantined : dict of str to int
        Rows that the checks refused, by the first reason.
    columns : dict of str to ColumnStatistics
    parts : tuple of Part
    labels : dict of str to dict
        Names for people, by feature and category.
    """

    problem: str
    source: str
    query_sha256: str
    data_sha256: str
    made: str
    seconds: float
    watermark: str | None
    rows_read: int
    rows: int
    left_out: dict[str, int]
    quarantined: dict[str, int]
    columns: dict[str, ColumnStatistics]
    parts: tuple[Part, ...]
    labels: dict[str, dict[str, str]]


@dataclass(frozen=True)
class Dataset:
    """Rows in a folder.

    The files hold the problem's features in the signature's order (category: string, integer:
    int64, number: float64, flag: bool), the target column as 0 or 1, the other columns of the
    query, and ``fold``, 0 to 9, which depends on the row's key alone.

    Attributes
    ----------
    folder : Path
    manifest : DatasetManifest
    """

    folder: Path
    manifest: DatasetManifest

    @property
    def files(self) -> list[Path]:
        """The Parquet files, in the order of the rows."""
        return [self.folder / part.file for part in self.manifest.parts]

    def batches(
        self, columns: Sequence[str] | None = None, rows: int = BATCH_ROWS
    ) -> Iterator[pa.RecordBatch]:
        """Read all rows in order, some at a time.

        Parameters
        ----------
        columns : sequence of str, optional
        rows : int
            In one batch, at most.
        """
        for file in self.files:
            with pq.ParquetFile(file) as opened:
                yield from opened.iter_batches(
                    rows, columns=None if columns is None else [*columns]
                )


def open_dataset(folder: Path) -> Dataset:
    """Open rows, if every file is what ``rows.json`` says.

    Raises
    ------
    SlipwayError
        There are none, or a file was changed.
    """
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=DatasetManifest)
    except OSError as error:
        fix = "`flask etl` writes them"
        raise SlipwayError(f"there are no rows in {folder}: {error.strerror}; {fix}") from error
    except msgspec.DecodeError as error:
        raise SlipwayError(f"{folder / MANIFEST} is damaged: {error}; run `flask etl`") from error
    stored = Dataset(folder, manifest)
    for part, file in zip(manifest.parts, stored.files, strict=True):
        if not file.is_file() or file_sha256(file) != part.sha256:
            raise SlipwayError(f"{file} is missing or was changed; run `flask etl`")
    return stored
