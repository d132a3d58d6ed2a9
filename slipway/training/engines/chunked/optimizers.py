"""The two ways to one logistic regression from chunks of rows: passes over all, or an average."""

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
from slipway.training.engines.chunked.newton import DECREMENT, State, descend
from slipway.training.engines.chunked.penalty import Penalty
from slipway.training.engines.chunked.progress import SECONDS, ProgressLog, time_text
from slipway.training.engines.chunked.sample import Sample

Floats = npt.NDArray[np.float64]
Progress = Callable[[str], None]
# A part of the rows takes pieces from all over them, lest it be a season.
PIECE_ROWS = 256
LEAST_PART_ROWS = 2_000
# Of more rows, the Hessian is computed once instead of at every step.
TENTH_ROWS = 50_000


@dataclass(frozen=True)
class Fit:
    """The two ways of fitting a logistic regression on coded rows."""

    coded: CodedRows
    sample: Sample
    penalty: Penalty
    room: MemoryBudget
    progress: Progress

    def by_passes(self) -> tuple[Floats, int]:
        """Find the optimum for all rows; give it, and the number of passes."""
        some = self._loss(self.sample.chunks)
        n_rows = sum(map(len, self.sample.taken))
        self.progress(f"fitting on {n_rows:,} rows, from which the passes over all begin")
        if self.sample.is_whole:
            return _climb(some, n_rows, self._curve(some))
        try:
            beta, _ = _climb(some, n_rows, self._curve(some))
        except SlipwayError:
            # A column may tell the classes of a sample apart, and not those of all rows.
            beta = np.zeros(some.width)
        passes = Passes(self.progress, self.coded.rows)
        every = self._loss(self._chunks, passes.pace)
        curve = self._curve(some)
        return descend(
            every.gradient,
            beta,
            self.coded.rows,
            curve,
            instead=replace(every, told=lambda rows: None).hessian if _is_whole(curve) else None,
            told=passes.told,
        )

    def _loss(self, chunks: Chunks, told: Callable[[int], None] = lambda rows: None) -> Loss:
        return Loss(self.sample.design, self.penalty, chunks, told)

    def _chunks(self) -> Iterator[tuple[npt.NDArray[Any], None]]:
        return ((rows, None) for rows in self.coded.chunks())

    def _curve(self, loss: Loss) -> Callable[[Floats], Floats]:
        """Choose the Hessian, or its diagonal where that does not fit with what it is made of."""
        fits = 5 * 8 * loss.width**2 <= self.room.free // 2
        return loss.hessian if fits else loss.diagonal

    def by_average(self, part_rows: int | None = None) -> tuple[Floats, int]:
        """Average the optima for each part of the rows.

        A part's penalty is the share of the whole one that its rows are of all: otherwise each
        part would be shrunk as if the penalty counted for it alone.
        """
        n_rows = self.coded.rows
        part_rows = part_rows or max(self.room.free // SAMPLE_ROW_BYTES, LEAST_PART_ROWS)
        n_parts = math.ceil(n_rows / part_rows)
        pace = ProgressLog(self.progress, f"fitting {n_parts} parts", n_rows)
        total, most = np.zeros(self.sample.design.matrix.shape[1] + 1), 0
        for part in range(n_parts):
            beta, looks, rows = self._part(part, n_parts)
            total += beta * (rows / n_rows)
            most = max(most, looks)
            pace.add(rows)
        return total, most

    def _part(self, part: int, n_parts: int) -> tuple[Floats, int, int]:
        """Fit one part: every so many pieces of the rows."""
        starts = range(part * PIECE_ROWS, self.coded.rows, n_parts * PIECE_ROWS)
        rows = [self.coded.read(start, start + PIECE_ROWS) for start in starts]
        stacked = [(np.concatenate(rows[i : i + 16]), None) for i in range(0, len(rows), 16)]
        n_rows = sum(map(len, rows))
        penalty = self.penalty.for_share(n_rows / self.coded.rows)
        loss = Loss(self.sample.design, penalty, lambda: stacked)
        return *_climb(loss, n_rows, self._curve(loss)), n_rows


def _climb(loss: Loss, rows: int, curve: Callable[[Floats], Floats]) -> tuple[Floats, int]:
    """Find the optimum for rows in memory, beginning with a tenth of them if they are many."""
    beta, newton = np.zeros(loss.width), _is_whole(curve)
    if rows > TENTH_ROWS:
        tenth = replace(loss, chunks=lambda: map(_tenth, loss.chunks()))
        rough = tenth.hessian if newton else tenth.diagonal
        beta, _ = descend(tenth.gradient, beta, rows, rough, always=newton)
    return descend(
        loss.gradient,
        beta,
        rows,
        curve,
        always=newton and rows <= TENTH_ROWS,
        instead=curve if newton else None,
    )


def _is_whole(curve: Callable[[Floats], Floats]) -> bool:
    """Whether a method of a loss gives the whole Hessian."""
    return curve.__name__ == Loss.hessian.__name__


def _tenth(chunk: Chunk) -> Chunk:
    """Take every tenth row, for ten."""
    rows, weights = chunk[0][::10], chunk[1]
    return rows, np.full(len(rows), 10.0) if weights is None else 10.0 * weights[::10]


class Passes:
    """Tell of the passes over all rows: how near the optimum is, and how long it will take.

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

    def pace(self, rows: int) -> None:
        """Take note of some rows more, in the middle of a pass."""
        if not self.done:
            self.started = self.last = time.monotonic()
        self.done += rows
        now = time.monotonic()
        if now - self.last >= SECONDS:
            self.last = now
            rate = self.done / (now - self.started)
            self.progress(f"{self.line}; {self.done:,} rows read, {rate:,.0f} rows/s")

    def told(self, state: State) -> None:
        """Take note of a state."""
        self.first = self.first or state
        loss = f"log loss {state.loss / self.rows:.6f}, gradient {state.slope:.0e}"
        self.line = f"pass {state.step + 1}: {loss}, {self._left(state)}"

    def _left(self, state: State) -> str:
        """Estimate how many passes it still takes, by how fast the decrement has become less."""
        done = state.step - (self.first.step if self.first else state.step)
        if self.first is None or not done or not 0 < state.decrement < self.first.decrement:
            return "about 10 passes left"
        rate = math.log(state.decrement / self.first.decrement) / done
        left = max(0.0, math.log(DECREMENT / state.decrement) / rate)
        seconds = (time.monotonic() - self.started) / state.step
        return f"about {math.ceil(left)} passes left, {time_text(seconds * left)}"
