"""Report the progress, speed and remaining time of a long stage."""

from __future__ import annotations

import time
from collections.abc import Callable

# The minimum number of seconds between two lines.
SECONDS = 3.0


class ProgressLog:
    """Report the progress of a stage at intervals.

    Parameters
    ----------
    report : callable
        Called with each line.
    stage : str
    total : int
        The number of rows of the stage.
    """

    def __init__(self, report: Callable[[str], None], stage: str, total: int) -> None:
        self.report = report
        self.stage = stage
        self.total = total
        self.rows = 0
        self.started = self.last = time.monotonic()
        report(f"{stage}: {total:,} rows")

    def add(self, rows: int) -> None:
        """Count processed rows, and report them if it is time."""
        self.rows += rows
        now = time.monotonic()
        if now - self.last >= SECONDS:
            self.last = now
            self.report(f"{self.stage}: {self._format_line(now)}")

    def _format_line(self, now: float) -> str:
        rate = self.rows / (now - self.started)
        left = (self.total - self.rows) / rate if rate else 0.0
        speed = f"{rate:,.0f} rows/s, {format_duration(left)} left"
        return f"{self.rows:,} of {self.total:,} rows, {speed}"


def format_duration(seconds: float) -> str:
    """Format a duration in seconds."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
