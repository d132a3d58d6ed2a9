"""Rows as a few small codes each, in a scratch file: what every pass over the rows reads.

The file has no name, so that nothing is left of it however the process ends.
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
from slipway.training.engines.chunked.value_counts import Counts, Ints, batches

Rows = npt.NDArray[Any]
# Small enough for what a pass makes of them to stay in the processor's cache.
CHUNK_ROWS = 16_384


@dataclass
class CodedRows:
    """Rows of codes in a file, and last in each row its class, 0 or 1."""

    design: Design
    file: IO[bytes] = field(repr=False)
    rows: int = 0

    @property
    def row_bytes(self) -> int:
        """How many bytes a row takes."""
        return (len(self.design.codes) + 1) * np.dtype(self.design.code_type).itemsize

    def close(self) -> None:
        """Close the file, which is the end of it."""
        self.file.close()

    def append(self, rows: Rows) -> None:
        """Write some rows behind the others."""
        content = np.ascontiguousarray(rows).data.cast("B")
        try:
            while content:
                content = content[self.file.write(content) :]
        except OSError as error:
            raise _no_room(error) from error
        self.rows += len(rows)

    def read(self, start: int, stop: int) -> Rows:
        """Read the rows of a range."""
        rows: Rows = np.empty(
            (min(stop, self.rows) - start, len(self.design.codes) + 1), self.design.code_type
        )
        content, at = rows.data.cast("B"), start * self.row_bytes
        while content:
            n = os.preadv(self.file.fileno(), [content], at)
            if not n:
                raise SlipwayError("the scratch file ends before its time")
            content, at = content[n:], at + n
        return rows

    def chunks(self) -> Iterator[Rows]:
        """Read all rows, some at a time."""
        for start in range(0, self.rows, CHUNK_ROWS):
            yield self.read(start, start + CHUNK_ROWS)


def open_scratch(design: Design, rows: int) -> CodedRows:
    """Open a scratch file without a name for so many rows, if the disk has the room."""
    try:
        coded = CodedRows(design, tempfile.TemporaryFile(buffering=0))  # noqa: SIM115
    except OSError as error:
        raise _no_room(error) from error
    need, free = rows * coded.row_bytes, shutil.disk_usage(tempfile.gettempdir()).free
    if need > free:
        coded.close()
        raise _no_room(f"{need / 2**20:,.0f} MiB are needed, {free / 2**20:,.0f} are free")
    return coded


def _no_room(why: OSError | str) -> SlipwayError:
    said = why.strerror if isinstance(why, OSError) else why
    return SlipwayError(
        f"cannot write the scratch file in {tempfile.gettempdir()}: {said}; make room there, or "
        "set TMPDIR to a folder on a disk that has some"
    )


class Coder:
    """Make codes of rows.

    Parameters
    ----------
    design : Design
    counts : mapping of str to Counts
        By which the design's values are numbered.
    target : str
        The target's column.
    """

    def __init__(self, design: Design, counts: Mapping[str, Counts], target: str) -> None:
        self.design = design
        self.columns = [*counts, target]
        self.target = target
        self.known = {
            name: pd.Index(counts[name].values) for code in design.codes for name in code.features
        }

    def encode(self, batch: pa.RecordBatch, used: pa.Array) -> Rows:
        """Give the codes and classes of those rows of a batch that are used."""
        n_rows = int(used.sum().as_py() or 0)
        rows = np.empty((n_rows, len(self.design.codes) + 1), self.design.code_type)
        for i, code in enumerate(self.design.codes):
            sums = np.zeros(n_rows, self.design.code_type)
            for name, adds in code.features.items():
                sums += self._looked_up(batch.column(name).filter(used), name, adds)
            rows[:, i] = sums
        rows[:, -1] = batch.column(self.target).filter(used).to_numpy(zero_copy_only=False)
        return rows

    def _looked_up(self, column: pa.Array, name: str, adds: Ints) -> Rows:
        """Find what each row's value adds to its code."""
        encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        values = encoded.dictionary.to_numpy(zero_copy_only=False)
        if values.dtype.kind == "f":
            gap = np.isnan(values)
            place = np.where(gap, len(adds) - 1, self.known[name].get_indexer(values + 0.0))
        else:
            place = self.known[name].get_indexer(pd.Index(values))
        indices = encoded.indices
        if indices.null_count:
            indices, place = indices.fill_null(len(values)), np.append(place, len(adds) - 1)
        table = adds[place].astype(self.design.code_type)
        # A dictionary may hold values of other rows; those are not known and never looked up.
        found = indices.to_numpy()
        if (place < 0).any() and (place[found] < 0).any():
            raise SlipwayError(f"{name} has other values than when the rows were counted")
        return np.asarray(table[found])


def write_codes(
    stored: Dataset,
    coder: Coder,
    folds: Container[int],
    *,
    rows: int,
    pace: ProgressLog,
    into: CodedRows,
    mixed: bool = False,
) -> Iterator[tuple[pa.RecordBatch, pa.Array, Rows]]:
    """Write the rows of some folds as codes.

    Parameters
    ----------
    stored : Dataset
    coder : Coder
    folds : container of int
    rows : int
        How many rows are read at a time.
    pace : ProgressLog
    into : CodedRows
    mixed : bool
        Whether the rows of each batch are put in a random order.

    Yields
    ------
    tuple of RecordBatch, Array and ndarray
        Each batch, which of its rows are used, and their codes.
    """
    rng = np.random.default_rng(0)
    for batch, used in batches(stored, coder.columns, folds, rows):
        coded = coder.encode(batch, used)
        into.append(rng.permutation(coded) if mixed else coded)
        pace.add(batch.num_rows)
        yield batch, used, coded


def typed_frame(batch: pa.RecordBatch, features: Sequence[Feature]) -> pd.DataFrame:
    """Give rows the types that the pipeline meets when it serves; absent features are gaps."""
    columns = {}
    for feature in features:
        column = batch.column(feature.name)
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        columns[feature.name] = column.to_pandas().astype(feature.column_type)
    return pd.DataFrame(columns)
