"""Rows as a few small codes each, in a scratch file that every pass reads.

The file has no name, so the system removes it however the process ends.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from slipway.core.errors import SlipwayError
from slipway.data.dataset import Dataset
from slipway.models.features import Feature
from slipway.training.engines.chunked.design_matrix import Design
from slipway.training.engines.chunked.progress import ProgressLog
from slipway.training.engines.chunked.value_counts import Counts, Ints, read_batches

CodeArray = npt.NDArray[Any]
# Small enough for the intermediate results of a pass to stay in the processor's cache.
CHUNK_ROWS = 16_384


@dataclass
class CodedRows:
    """Rows of codes in a file, each with its class, 0 or 1, at the end."""

    design: Design
    file: IO[bytes] = field(repr=False)
    rows: int = 0

    @property
    def row_bytes(self) -> int:
        """The number of bytes of a row."""
        return (len(self.design.codes) + 1) * np.dtype(self.design.code_type).itemsize

    def close(self) -> None:
        """Close and thereby delete the file."""
        self.file.close()

    def write_rows(self, rows: CodeArray) -> None:
        """Append rows to the file."""
        content = np.ascontiguousarray(rows).data.cast("B")
        try:
            while content:
                content = content[self.file.write(content) :]
        except OSError as error:
            raise _disk_full_error(error) from error
        self.rows += len(rows)

    def read(self, start: int, stop: int) -> CodeArray:
        """Read the rows of a range."""
        rows: CodeArray = np.empty(
            (min(stop, self.rows) - start, len(self.design.codes) + 1), self.design.code_type
        )
        content, offset = rows.data.cast("B"), start * self.row_bytes
        while content:
            n = os.preadv(self.file.fileno(), [content], offset)
            if not n:
                raise SlipwayError("the scratch file is truncated; another process has changed it")
            content, offset = content[n:], offset + n
        return rows

    def chunks(self) -> Iterator[CodeArray]:
        """Read all rows in chunks."""
        for start in range(0, self.rows, CHUNK_ROWS):
            yield self.read(start, start + CHUNK_ROWS)


def open_scratch(design: Design, rows: int) -> CodedRows:
    """Open a scratch file without a name, if the disk has space for the rows."""
    try:
        coded = CodedRows(design, tempfile.TemporaryFile(buffering=0))  # noqa: SIM115
    except OSError as error:
        raise _disk_full_error(error) from error
    needed, free = rows * coded.row_bytes, shutil.disk_usage(tempfile.gettempdir()).free
    if needed > free:
        coded.close()
        raise _disk_full_error(
            f"{needed / 2**20:,.0f} MiB are needed, {free / 2**20:,.0f} are free"
        )
    return coded


def _disk_full_error(cause: OSError | str) -> SlipwayError:
    reason = cause.strerror if isinstance(cause, OSError) else cause
    return SlipwayError(
        f"cannot write the scratch file in {tempfile.gettempdir()}: {reason}; free some space, or "
        "set TMPDIR to a folder on another disk"
    )


class RowEncoder:
    """Encode rows as codes.

    Parameters
    ----------
    design : Design
    counts : mapping of str to Counts
        The distinct values, which define the numbering in the design.
    target : str
        The column of the target.
    """

    def __init__(self, design: Design, counts: Mapping[str, Counts], target: str) -> None:
        self.design = design
        self.columns = [*counts, target]
        self.target = target
        self.indexes = {
            name: pd.Index(counts[name].values) for code in design.codes for name in code.features
        }

    def encode(self, batch: pa.RecordBatch, used: pa.Array) -> CodeArray:
        """Return the codes and classes of the used rows of a batch."""
        n_rows = int(used.sum().as_py() or 0)
        rows = np.empty((n_rows, len(self.design.codes) + 1), self.design.code_type)
        for i, code in enumerate(self.design.codes):
            sums = np.zeros(n_rows, self.design.code_type)
            for name, increments in code.features.items():
                sums += self._look_up(batch.column(name).filter(used), name, increments)
            rows[:, i] = sums
        rows[:, -1] = batch.column(self.target).filter(used).to_numpy(zero_copy_only=False)
        return rows

    def _look_up(self, column: pa.Array, name: str, increments: Ints) -> CodeArray:
        """Look up the increment of the code for the value of each row."""
        encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        values = encoded.dictionary.to_numpy(zero_copy_only=False)
        if values.dtype.kind == "f":
            missing = np.isnan(values)
            position = np.where(
                missing, len(increments) - 1, self.indexes[name].get_indexer(values + 0.0)
            )
        else:
            position = self.indexes[name].get_indexer(pd.Index(values))
        indices = encoded.indices
        if indices.null_count:
            indices = indices.fill_null(len(values))
            position = np.append(position, len(increments) - 1)
        table = increments[position].astype(self.design.code_type)
        # A dictionary can contain unknown values of other rows, which are never looked up.
        rows = indices.to_numpy()
        if (position < 0).any() and (position[rows] < 0).any():
            raise SlipwayError(
                f"{name} has new values since the first pass; do not change the rows while training"
            )
        return np.asarray(table[rows])


def encode_rows(
    dataset: Dataset,
    coder: RowEncoder,
    folds: Container[int],
    *,
    rows: int,
    progress_log: ProgressLog,
    coded_rows: CodedRows,
    shuffle: bool = False,
) -> Iterator[tuple[pa.RecordBatch, pa.Array, CodeArray]]:
    """Encode the rows of some folds and write the codes.

    Parameters
    ----------
    dataset : Dataset
    coder : Coder
    folds : container of int
    rows : int
        The number of rows to read at a time.
    progress_log : ProgressLog
    coded_rows : CodedRows
    shuffle : bool
        Write the rows of each batch in random order.

    Yields
    ------
    tuple of RecordBatch, Array and ndarray
        Each batch, a mask of its used rows, and their codes.
    """
    rng = np.random.default_rng(0)
    for batch, used in read_batches(dataset, coder.columns, folds, rows):
        coded = coder.encode(batch, used)
        coded_rows.write_rows(rng.permutation(coded) if shuffle else coded)
        progress_log.add(batch.num_rows)
        yield batch, used, coded


def to_typed_frame(batch: pa.RecordBatch, features: Sequence[Feature]) -> pd.DataFrame:
    """Convert rows to a frame with the types that the pipeline gets in serving."""
    columns = {}
    for feature in features:
        column = batch.column(feature.name)
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        columns[feature.name] = column.to_pandas().astype(feature.column_type)
    return pd.DataFrame(columns)
