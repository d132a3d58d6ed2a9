"""Datasets: a folder with the checked rows of a problem as Parquet files, and ``rows.json``.

The ETL writes ``rows.json`` last and atomically. Readers ignore files that it does not name:
they are incomplete, or belong to an earlier run.
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
# The folds of the hold-out set: a fifth of the rows.
HELD_OUT = (8, 9)
BATCH_ROWS = 65_536


class Part(msgspec.Struct, frozen=True):
    """One Parquet file of a dataset.

    Attributes
    ----------
    file, sha256 : str
    rows : int
    first, last : str, optional
        The lowest and highest watermark of its rows, if the problem has a watermark.
    rows_read : int
        Rows that the query returned: stored, left out and quarantined.
    left_out, quarantined : dict of str to int
        Counts by reason.
    quarantine : str
        The JSON lines file of rejected rows with all their reasons; empty if there are none.
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
    """Missing values of a column, with its range (numbers) or count of distinct texts."""

    missing: int
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    distinct: int | None = None


class DatasetManifest(msgspec.Struct, frozen=True):
    """The content of ``rows.json``: the origin of the rows and the counts of the ETL.

    ``rows_read`` is the sum of ``rows``, ``left_out`` and ``quarantined``.

    Attributes
    ----------
    problem, source : str
        The source without credentials.
    query_sha256, data_sha256 : str
        Hashes of the query, and of all values regardless of how files split them.
    made : str
        Time in UTC.
    seconds : float
        Duration of the last run.
    watermark : str, optional
        The highest value of the problem's watermark; the next run can begin there.
    rows_read : int
        Rows that the query returned.
    rows : int
        Rows stored.
    left_out : dict of str to int
        Rows without a target, by reason; not stored.
    quarantined : dict of str to int
        Rejected rows, by the first reason; not stored.
    columns : dict of str to ColumnStatistics
    parts : tuple of Part
    labels : dict of str to dict
        Display names by feature and category.
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
    """The rows of a problem in a folder.

    The files have the features in the order of the signature (category: string, integer: int64,
    number: float64, flag: bool), the target column as 0 or 1, the other columns of the query,
    and ``fold``, 0 to 9, which depends only on the key of the row.

    Attributes
    ----------
    folder : Path
    manifest : DatasetManifest
    """

    folder: Path
    manifest: DatasetManifest

    @property
    def files(self) -> list[Path]:
        """The Parquet files in the order of the rows."""
        return [self.folder / part.file for part in self.manifest.parts]

    def batches(
        self, columns: Sequence[str] | None = None, rows: int = BATCH_ROWS
    ) -> Iterator[pa.RecordBatch]:
        """Read all rows in order, in batches.

        Parameters
        ----------
        columns : sequence of str, optional
            All columns by default.
        rows : int
            The largest number of rows in a batch.

        Yields
        ------
        RecordBatch
        """
        for file in self.files:
            with pq.ParquetFile(file) as opened:
                yield from opened.iter_batches(
                    rows, columns=None if columns is None else [*columns]
                )


def open_dataset(folder: Path) -> Dataset:
    """Open a dataset after checking the hash of every file.

    Raises
    ------
    SlipwayError
        The folder has no dataset, or a file was changed.
    """
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=DatasetManifest)
    except OSError as error:
        fix = "run `slipway etl`"
        raise SlipwayError(f"no rows in {folder}: {error.strerror}; {fix}") from error
    except msgspec.DecodeError as error:
        raise SlipwayError(f"{folder / MANIFEST} is damaged: {error}; run `slipway etl`") from error
    dataset = Dataset(folder, manifest)
    for part, file in zip(manifest.parts, dataset.files, strict=True):
        if not file.is_file() or file_sha256(file) != part.sha256:
            raise SlipwayError(f"{file} is missing or was changed; run `slipway etl`")
    return dataset
