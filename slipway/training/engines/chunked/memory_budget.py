"""How much of the memory that a process may take goes to what."""

from __future__ import annotations

import math
import resource
import sys
from dataclasses import dataclass
from pathlib import Path

from slipway.core.errors import SlipwayError

# What a batch of rows, the counts of ordinary features and two threads' chunks take at least.
LEAST_BYTES = 96 * 2**20
BATCH_ROWS = 65_536
# While a batch is read: its values, their dictionaries, what Parquet unpacks, the codes.
BATCH_VALUE_BYTES = 64
# More rows would not make the passes fewer.
SAMPLE_ROWS = 300_000
SAMPLE_ROW_BYTES = 120


@dataclass(frozen=True)
class MemoryBudget:
    """How the memory that is left is used.

    Attributes
    ----------
    counts : int
        Bytes for the distinct values.
    batch_rows : int
        Rows that are read at a time.
    free : int
        Bytes for the sample and the Hessian.
    """

    counts: int
    batch_rows: int
    free: int

    @property
    def sample_rows(self) -> int:
        """How many rows a sample may have."""
        return min(SAMPLE_ROWS, self.free // 2 // SAMPLE_ROW_BYTES)


def find_memory_budget(memory: int, n_columns: int, used: int | None = None) -> MemoryBudget:
    """Divide the memory that a process may take, or refuse too little of it.

    Parameters
    ----------
    memory : int
        Bytes of the whole process.
    n_columns : int
        Columns that are read.
    used : int, optional
        Bytes that it takes already.

    Raises
    ------
    SlipwayError
    """
    used = resident_bytes() if used is None else used
    left = memory - used
    if left < LEAST_BYTES:
        least = math.ceil((used + LEAST_BYTES) / 2**20)
        raise SlipwayError(
            f"{memory / 2**20:,.0f} MiB of memory are too little: the process takes "
            f"{used / 2**20:,.0f} MiB before it reads a row; give --memory {least}MiB or more"
        )
    rows = left // 4 // (n_columns * BATCH_VALUE_BYTES)
    return MemoryBudget(left // 4, int(min(max(rows, 2_048), BATCH_ROWS)), left // 2)


def resident_bytes() -> int:
    """Give the memory that this process takes now, or where that is not told, took at most."""
    status = Path("/proc/self/statm")
    if status.is_file():
        return int(status.read_text().split()[1]) * resource.getpagesize()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
