"""A sample of coded rows that holds those which alone tell something of a parameter."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from slipway.training.engines.chunked.coded_rows import CHUNK_ROWS
from slipway.training.engines.chunked.design_matrix import Design

Floats = npt.NDArray[np.float64]


@dataclass
class Sample:
    """Rows drawn by their leverage, each with the inverse of its chance as its weight.

    Sums over the sample are then unbiased for the sums over all rows.

    Attributes
    ----------
    design : Design
    size : int
        How many rows are wanted, about.
    rows : int
        How many there are; all are taken if they are no more than that.
    """

    design: Design
    size: int
    rows: int
    taken: list[npt.NDArray[Any]] = field(default_factory=list)
    weights: list[Floats] = field(default_factory=list)
    merged: bool = False
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the rows."""
        return self.rows <= self.size

    def add(self, coded: npt.NDArray[Any]) -> None:
        """Draw from some rows."""
        if self.is_whole:
            self.taken.append(coded)
            self.weights.append(np.ones(len(coded)))
            return
        # Half of the sample is drawn evenly, so that no weight is above twice the even one.
        scores = self.design.leverage[coded[:, :-1] + self.design.starts].sum(axis=1)
        total = max(self.design.matrix.shape[1], 1)
        chance = np.minimum(0.5 * self.size * (1.0 / self.rows + scores / total), 1.0)
        chosen = np.flatnonzero(self.rng.random(len(coded)) < chance)
        self.taken.append(coded[chosen])
        self.weights.append(1.0 / chance[chosen])

    def chunks(self) -> list[tuple[npt.NDArray[Any], Floats | None]]:
        """Give the rows, some at a time, with their weights."""
        if len(self.taken) > 1 and not self.merged:
            self.merged = True
            rows, weights = np.concatenate(self.taken), np.concatenate(self.weights)
            cuts = range(CHUNK_ROWS, len(rows), CHUNK_ROWS)
            self.taken, self.weights = np.split(rows, cuts), np.split(weights, cuts)
        return list(zip(self.taken, self.weights, strict=True))
