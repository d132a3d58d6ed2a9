"""Divide the memory of a process between the stages of a training."""

from __future__ import annotations

import math
import resource
import sys
from dataclasses import dataclass
from pathlib import Path

from slipway.core.errors import SlipwayError

# The minimum for a batch of rows, the counts of ordinary features and the chunks of two threads.
MIN_BYTES = 96 * 2**20
BATCH_ROWS = 65_536
# While a batch is read: values, dictionaries, decompressed Parquet data and codes.
BATCH_VALUE_BYTES = 64
# More rows would not reduce the number of passes.
SAMPLE_ROWS = 300_000
SAMPLE_ROW_BYTES = 120


@dataclass(frozen=True)
class MemoryBudget:
    """The use of the available memory.

    Attributes
    ----------
    counts : int
        Bytes for the distinct values.
    batch_rows : int
        The number of rows to read at a time.
    free : int
        Bytes for the sample and the Hessian.
    """

    counts: int
    batch_rows: int
    free: int

    @property
    def sample_rows(self) -> int:
        """The maximum number of rows of a sample."""
        return min(SAMPLE_ROWS, self.free // 2 // SAMPLE_ROW_BYTES)


def find_memory_budget(memory: int, n_columns: int, used: int | None = None) -> MemoryBudget:
    """Divide the memory of a process, or reject too little memory.

    Parameters
    ----------
    memory : int
        Memory limit of the whole process in bytes.
    n_columns : int
        The number of columns to read.
    used : int, optional
        The bytes that the process uses already.

    Raises
    ------
    SlipwayError
        The memory is not enough for a batch of rows.
    """
    used = resident_bytes() if used is None else used
    available = memory - used
    if available < MIN_BYTES:
        minimum = math.ceil((used + MIN_BYTES) / 2**20)
        raise SlipwayError(
            f"{memory / 2**20:,.0f} MiB of memory are too little: the process uses "
            f"{used / 2**20:,.0f} MiB before it reads a row; set --memory {minimum}MiB or more"
        )
    rows = available // 4 // (n_columns * BATCH_VALUE_BYTES)
    return MemoryBudget(available // 4, int(min(max(rows, 2_048), BATCH_ROWS)), available // 2)


def resident_bytes() -> int:
    """Return the current memory of this process, or its peak if unknown, in bytes."""
    status = Path("/proc/self/statm")
    if status.is_file():
        return int(status.read_text().split()[1]) * resource.getpagesize()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
