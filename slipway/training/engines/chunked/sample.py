"""A sample of coded rows that includes those which alone determine a parameter."""

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
    """Rows drawn by leverage, weighted with the inverse of their probability.

    Sums over the sample are unbiased estimates of the sums over all rows.

    Attributes
    ----------
    design : Design
    size : int
        The approximate number of rows to draw.
    rows : int
        The number of all rows; with at most ``size`` rows, the sample contains all of them.
    """

    design: Design
    size: int
    rows: int
    chunks_drawn: list[npt.NDArray[Any]] = field(default_factory=list)
    weights: list[Floats] = field(default_factory=list)
    merged: bool = False
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    @property
    def is_whole(self) -> bool:
        """Whether the sample contains all rows."""
        return self.rows <= self.size

    def add(self, coded: npt.NDArray[Any]) -> None:
        """Draw rows from a chunk."""
        if self.is_whole:
            self.chunks_drawn.append(coded)
            self.weights.append(np.ones(len(coded)))
            return
        # Half of the sample is drawn uniformly, so that no weight exceeds twice the uniform one.
        scores = self.design.leverage[coded[:, :-1] + self.design.starts].sum(axis=1)
        total = max(self.design.matrix.shape[1], 1)
        probability = np.minimum(0.5 * self.size * (1.0 / self.rows + scores / total), 1.0)
        chosen = np.flatnonzero(self.rng.random(len(coded)) < probability)
        self.chunks_drawn.append(coded[chosen])
        self.weights.append(1.0 / probability[chosen])

    def chunks(self) -> list[tuple[npt.NDArray[Any], Floats | None]]:
        """Return chunks of the rows with their weights."""
        if len(self.chunks_drawn) > 1 and not self.merged:
            self.merged = True
            rows, weights = np.concatenate(self.chunks_drawn), np.concatenate(self.weights)
            cuts = range(CHUNK_ROWS, len(rows), CHUNK_ROWS)
            self.chunks_drawn, self.weights = np.split(rows, cuts), np.split(weights, cuts)
        return list(zip(self.chunks_drawn, self.weights, strict=True))
