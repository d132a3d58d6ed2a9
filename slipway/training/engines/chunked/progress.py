"""How far a long stage is, how fast it goes and how long it will still take."""

from __future__ import annotations

import time
from collections.abc import Callable

# A line every so many seconds at most.
SECONDS = 3.0


class ProgressLog:
    """Tell of a stage now and then.

    Parameters
    ----------
    told : callable
        Given each line.
    stage : str
    total : int
        The rows that there are.
    """

    def __init__(self, told: Callable[[str], None], stage: str, total: int) -> None:
        self.told = told
        self.stage = stage
        self.total = total
        self.rows = 0
        self.started = self.last = time.monotonic()
        told(f"{stage}: {total:,} rows")

    def add(self, rows: int) -> None:
        """Take note of some rows more."""
        self.rows += rows
        now = time.monotonic()
        if now - self.last >= SECONDS:
            self.last = now
            self.told(f"{self.stage}: {self._line(now)}")

    def _line(self, now: float) -> str:
        rate = self.rows / (now - self.started)
        left = (self.total - self.rows) / rate if rate else 0.0
        return f"{self.rows:,} of {self.total:,} rows, {rate:,.0f} rows/s, {time_text(left)} left"


def time_text(seconds: float) -> str:
    """Write a time for people."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
