"""Loss, gradient and Hessian of a logistic regression over coded rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from slipway.training.engines.chunked.design_matrix import Design
from slipway.training.engines.chunked.penalty import Penalty

Floats = npt.NDArray[np.float64]
Chunk = tuple[npt.NDArray[Any], Floats | None]
Chunks = Callable[[], Iterable[Chunk]]
THREADS = 2
HESSIAN_ROWS = 8192


@dataclass(frozen=True)
class Loss:
    """The objective over some rows, as defined in ``Penalty``.

    Attributes
    ----------
    design : Design
    penalty : Penalty
    chunks : callable
        Returns a new iterator over chunks of coded rows, each with the weights of its rows or
        None.
    on_rows : callable
        Called with the number of rows of each processed chunk.
    """

    design: Design
    penalty: Penalty
    chunks: Chunks
    on_rows: Callable[[int], None] = lambda rows: None

    @property
    def width(self) -> int:
        """The number of parameters: the intercept, then the coefficients."""
        return int(self.design.matrix.shape[1]) + 1

    def gradient(self, beta: Floats) -> tuple[float, Floats]:
        """Compute the loss and its gradient.

        Parameters
        ----------
        beta : ndarray of shape (n_columns + 1,)
            The intercept, then the coefficients.

        Returns
        -------
        tuple of float and ndarray of shape (n_columns + 1,)
        """
        table = self.design.matrix @ beta[1:]
        loss, total, cells = 0.0, 0.0, np.zeros(len(table))
        for chunk_loss, chunk_total, chunk_cells, n_rows in self._map_chunks(
            lambda *c: self._compute_pulls(table, beta[0], *c)
        ):
            loss += chunk_loss
            total += chunk_total
            cells += chunk_cells
            self.on_rows(n_rows)
        ridge = self.penalty.by_parameter(self.width - 1)
        slope = np.concatenate([[total], self.design.matrix.T @ cells]) + ridge * beta
        if not self.penalty.has_intercept:
            slope[0] = 0.0
        return loss + 0.5 * float(ridge @ beta**2), slope

    def _map_chunks(self, function: Callable[..., Any]) -> Iterator[Any]:
        """Apply a function to the chunks in two threads and yield the results in order."""
        with ThreadPoolExecutor(THREADS) as threads:
            running: list[Future[Any]] = []
            for chunk in self.chunks():
                running.append(threads.submit(function, *chunk))
                if len(running) > THREADS:
                    yield running.pop(0).result()
            yield from (future.result() for future in running)

    def _compute_pulls(
        self, table: Floats, intercept: float, rows: npt.NDArray[Any], weights: Floats | None
    ) -> tuple[float, float, Floats, int]:
        """Compute the loss of some rows and its derivatives by intercept and cell."""
        X = self._to_cell_matrix(rows)
        sign = 2.0 * rows[:, -1] - 1.0
        margin = (X @ table + intercept) * sign
        exp_margin = np.exp(-np.abs(margin))
        loss = np.maximum(-margin, 0.0) + np.log1p(exp_margin)
        # The derivative of log(1 + exp(-m)) is -1 / (1 + exp(m)).
        slope = np.where(margin > 0, exp_margin, 1.0) / (1.0 + exp_margin) * -sign
        row_weights = self._find_row_weights(rows, weights)
        if row_weights is not None:
            loss, slope = loss * row_weights, slope * row_weights
        return float(loss.sum()), float(slope.sum()), X.T @ slope, len(rows)

    def _find_row_weights(self, rows: npt.NDArray[Any], weights: Floats | None) -> Floats | None:
        """Return the weight of each row, or None if all weights are 1."""
        by_class = self.penalty.weights
        if (by_class == 1.0).all():
            return weights
        row_weights: Floats = by_class[rows[:, -1]]
        return row_weights if weights is None else row_weights * weights

    def _to_cell_matrix(self, rows: npt.NDArray[Any]) -> sparse.csr_matrix:
        """Build a sparse matrix with a 1 at the cell of each code of each row."""
        n_codes = rows.shape[1] - 1
        indices = np.add(rows[:, :-1], self.design.starts, dtype=np.int32, casting="unsafe")
        ends = np.arange(0, indices.size + 1, n_codes, dtype=np.int32)
        shape = (len(rows), self.design.matrix.shape[0])
        return sparse.csr_matrix((np.ones(indices.size), indices.ravel(), ends), shape, copy=False)

    def diagonal(self, beta: Floats) -> Floats:
        """Compute only the diagonal of the Hessian."""
        squared = self.design.matrix.multiply(self.design.matrix)
        table, diagonal = self.design.matrix @ beta[1:], np.zeros(self.width)
        for rows, weights in self.chunks():
            X, curvature = self._compute_curvature(table, beta[0], rows, weights)
            diagonal += np.concatenate([[curvature.sum()], squared.T @ (X.T @ curvature)])
        return diagonal + self.penalty.by_parameter(self.width - 1)

    def hessian(self, beta: Floats) -> Floats:
        """Compute the Hessian: ``Z' W Z`` plus the ridge, with a column of ones in Z."""
        table = self.design.matrix @ beta[1:]
        hessian = np.zeros((self.width, self.width))
        for rows, weights in self.chunks():
            for start in range(0, len(rows), HESSIAN_ROWS):
                part = slice(start, start + HESSIAN_ROWS)
                part_weights = None if weights is None else weights[part]
                X, curvature = self._compute_curvature(table, beta[0], rows[part], part_weights)
                Z = X @ self.design.matrix
                hessian[1:, 1:] += (Z.T @ sparse.diags(curvature) @ Z).toarray()
                hessian[0, 0] += curvature.sum()
                hessian[1:, 0] += Z.T @ curvature
            self.on_rows(len(rows))
        hessian[0, 1:] = hessian[1:, 0]
        hessian.flat[:: self.width + 1] += self.penalty.by_parameter(self.width - 1)
        if not self.penalty.has_intercept:
            hessian[0], hessian[:, 0], hessian[0, 0] = 0.0, 0.0, 1.0
        return hessian

    def _compute_curvature(
        self, table: Floats, intercept: float, rows: npt.NDArray[Any], weights: Floats | None
    ) -> tuple[sparse.csr_matrix, Floats]:
        """Return the cell matrix of some rows and the second derivative of each row's loss."""
        X = self._to_cell_matrix(rows)
        exp_score = np.exp(-np.abs(X @ table + intercept))
        curvature: Floats = exp_score / (1.0 + exp_score) ** 2
        row_weights = self._find_row_weights(rows, weights)
        return X, curvature if row_weights is None else curvature * row_weights
