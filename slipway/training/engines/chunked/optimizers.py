"""Fit a logistic regression on coded rows, in passes over all rows or as an average of parts."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from slipway.core.errors import SlipwayError
from slipway.training.engines.chunked.coded_rows import CodedRows
from slipway.training.engines.chunked.loss import Chunk, Chunks, Loss
from slipway.training.engines.chunked.memory_budget import SAMPLE_ROW_BYTES, MemoryBudget
from slipway.training.engines.chunked.newton import DECREMENT, State, minimize
from slipway.training.engines.chunked.penalty import Penalty
from slipway.training.engines.chunked.progress import SECONDS, ProgressLog, format_duration
from slipway.training.engines.chunked.sample import Sample

Floats = npt.NDArray[np.float64]
Progress = Callable[[str], None]
# A part consists of pieces from all over the rows, so that it is not a single season.
PIECE_ROWS = 256
MIN_PART_ROWS = 2_000
# With more rows, the Hessian is computed once instead of at every step.
TENTH_ROWS = 50_000


@dataclass(frozen=True)
class LogisticFit:
    """A logistic regression to fit on coded rows."""

    coded: CodedRows
    sample: Sample
    penalty: Penalty
    budget: MemoryBudget
    progress: Progress

    def fit_in_passes(self) -> tuple[Floats, int]:
        """Find the optimum for all rows; return it and the number of passes."""
        sample_loss = self._loss(self.sample.chunks)
        n_rows = sum(map(len, self.sample.chunks_drawn))
        self.progress(f"fitting on {n_rows:,} rows, as the start of the passes over all rows")
        if self.sample.is_whole:
            return _fit_rows(sample_loss, n_rows, self._choose_hessian(sample_loss))
        try:
            beta, _ = _fit_rows(sample_loss, n_rows, self._choose_hessian(sample_loss))
        except SlipwayError:
            # A column can separate the classes of a sample but not those of all rows.
            beta = np.zeros(sample_loss.width)
        pass_log = PassLog(self.progress, self.coded.rows)
        full_loss = self._loss(self._chunks, pass_log.add_rows)
        quiet_loss = replace(full_loss, on_rows=lambda rows: None)
        hessian = self._choose_hessian(sample_loss)
        return minimize(
            full_loss.gradient,
            beta,
            self.coded.rows,
            hessian,
            exact_hessian=quiet_loss.hessian if _is_full_hessian(hessian) else None,
            callback=pass_log.record,
        )

    def _loss(self, chunks: Chunks, on_rows: Callable[[int], None] = lambda rows: None) -> Loss:
        return Loss(self.sample.design, self.penalty, chunks, on_rows)

    def _chunks(self) -> Iterator[tuple[npt.NDArray[Any], None]]:
        return ((rows, None) for rows in self.coded.chunks())

    def _choose_hessian(self, loss: Loss) -> Callable[[Floats], Floats]:
        """Return the Hessian's method, or that of its diagonal if memory is too small."""
        fits = 5 * 8 * loss.width**2 <= self.budget.free // 2
        return loss.hessian if fits else loss.diagonal

    def fit_by_average(self, part_rows: int | None = None) -> tuple[Floats, int]:
        """Average the optima for each part of the rows.

        The penalty of a part is proportional to its share of the rows. Otherwise each part would
        be shrunk by the whole penalty.
        """
        n_rows = self.coded.rows
        part_rows = part_rows or max(self.budget.free // SAMPLE_ROW_BYTES, MIN_PART_ROWS)
        n_parts = math.ceil(n_rows / part_rows)
        progress_log = ProgressLog(self.progress, f"fitting {n_parts} parts", n_rows)
        total, max_passes = np.zeros(self.sample.design.matrix.shape[1] + 1), 0
        for part in range(n_parts):
            beta, passes, rows = self._fit_part(part, n_parts)
            total += beta * (rows / n_rows)
            max_passes = max(max_passes, passes)
            progress_log.add(rows)
        return total, max_passes

    def _fit_part(self, part: int, n_parts: int) -> tuple[Floats, int, int]:
        """Fit one part, which consists of every ``n_parts``-th piece of the rows."""
        starts = range(part * PIECE_ROWS, self.coded.rows, n_parts * PIECE_ROWS)
        rows = [self.coded.read(start, start + PIECE_ROWS) for start in starts]
        stacked = [(np.concatenate(rows[i : i + 16]), None) for i in range(0, len(rows), 16)]
        n_rows = sum(map(len, rows))
        penalty = self.penalty.for_share(n_rows / self.coded.rows)
        loss = Loss(self.sample.design, penalty, lambda: stacked)
        return *_fit_rows(loss, n_rows, self._choose_hessian(loss)), n_rows


def _fit_rows(loss: Loss, rows: int, hessian: Callable[[Floats], Floats]) -> tuple[Floats, int]:
    """Find the optimum for rows in memory, starting from a tenth of them if they are many."""
    beta, is_newton = np.zeros(loss.width), _is_full_hessian(hessian)
    if rows > TENTH_ROWS:
        tenth = replace(loss, chunks=lambda: map(_tenth, loss.chunks()))
        tenth_hessian = tenth.hessian if is_newton else tenth.diagonal
        beta, _ = minimize(tenth.gradient, beta, rows, tenth_hessian, update_hessian=is_newton)
    return minimize(
        loss.gradient,
        beta,
        rows,
        hessian,
        update_hessian=is_newton and rows <= TENTH_ROWS,
        exact_hessian=hessian if is_newton else None,
    )


def _is_full_hessian(method: Callable[[Floats], Floats]) -> bool:
    """Return whether a method of a loss computes the full Hessian."""
    return method.__name__ == Loss.hessian.__name__


def _tenth(chunk: Chunk) -> Chunk:
    """Return every tenth row, with ten times the weight."""
    rows, weights = chunk[0][::10], chunk[1]
    return rows, np.full(len(rows), 10.0) if weights is None else 10.0 * weights[::10]


class PassLog:
    """Report the passes over all rows, with the distance to the optimum and the remaining time.

    Parameters
    ----------
    progress : callable
    rows : int
    """

    def __init__(self, progress: Progress, rows: int) -> None:
        self.progress = progress
        self.rows = rows
        self.first: State | None = None
        self.line = "pass 1"
        self.started = self.last = time.monotonic()
        self.done = 0

    def add_rows(self, rows: int) -> None:
        """Count the rows of a pass, and report them if it is time."""
        if not self.done:
            self.started = self.last = time.monotonic()
        self.done += rows
        now = time.monotonic()
        if now - self.last >= SECONDS:
            self.last = now
            rate = self.done / (now - self.started)
            self.progress(f"{self.line}; {self.done:,} rows read, {rate:,.0f} rows/s")

    def record(self, state: State) -> None:
        """Record a state of the minimization."""
        self.first = self.first or state
        loss = f"log loss {state.loss / self.rows:.6f}, gradient {state.slope:.0e}"
        self.line = f"pass {state.step + 1}: {loss}, {self._estimate_remaining(state)}"

    def _estimate_remaining(self, state: State) -> str:
        """Estimate the remaining passes from the rate at which the decrement shrinks."""
        done = state.step - (self.first.step if self.first else state.step)
        if self.first is None or not done or not 0 < state.decrement < self.first.decrement:
            return "about 10 passes left"
        rate = math.log(state.decrement / self.first.decrement) / done
        left = max(0.0, math.log(DECREMENT / state.decrement) / rate)
        seconds = (time.monotonic() - self.started) / state.step
        return f"about {math.ceil(left)} passes left, {format_duration(seconds * left)}"
