"""The loss of a logistic regression over coded rows, its gradient and its Hessian."""

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
    """The sum that is minimised, as ``Penalty`` has it, over some rows.

    Attributes
    ----------
    design : Design
    penalty : Penalty
    chunks : callable
        Gives the coded rows, some at a time, each time anew, with the weight of each row or
        None.
    told : callable
        Told how many rows have been looked at.
    """

    design: Design
    penalty: Penalty
    chunks: Chunks
    told: Callable[[int], None] = lambda rows: None

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
        for one, pulls, sums, n_rows in self._ahead(lambda *c: self._pull(table, beta[0], *c)):
            loss += one
            total += pulls
            cells += sums
            self.told(n_rows)
        ridge = self.penalty.by_parameter(self.width - 1)
        slope = np.concatenate([[total], self.design.matrix.T @ cells]) + ridge * beta
        if not self.penalty.has_intercept:
            slope[0] = 0.0
        return loss + 0.5 * float(ridge @ beta**2), slope

    def _ahead(self, function: Callable[..., Any]) -> Iterator[Any]:
        """Apply a function to the chunks in two threads, and give its results in order."""
        with ThreadPoolExecutor(THREADS) as threads:
            running: list[Future[Any]] = []
            for chunk in self.chunks():
                running.append(threads.submit(function, *chunk))
                if len(running) > THREADS:
                    yield running.pop(0).result()
            yield from (each.result() for each in running)

    def _pull(
        self, table: Floats, intercept: float, rows: npt.NDArray[Any], weights: Floats | None
    ) -> tuple[float, float, Floats, int]:
        """Compute the loss of some rows, and how they pull at each cell."""
        X = self._cells(rows)
        sign = 2.0 * rows[:, -1] - 1.0
        margin = (X @ table + intercept) * sign
        small = np.exp(-np.abs(margin))
        loss = np.maximum(-margin, 0.0) + np.log1p(small)
        # The derivative of log(1 + exp(-m)) is -1 / (1 + exp(m)).
        pull = np.where(margin > 0, small, 1.0) / (1.0 + small) * -sign
        by_row = self._row_weights(rows, weights)
        if by_row is not None:
            loss, pull = loss * by_row, pull * by_row
        return float(loss.sum()), float(pull.sum()), X.T @ pull, len(rows)

    def _row_weights(self, rows: npt.NDArray[Any], weights: Floats | None) -> Floats | None:
        """Give each row's weight, if they are not all the same one."""
        by_class = self.penalty.weights
        if (by_class == 1.0).all():
            return weights
        found: Floats = by_class[rows[:, -1]]
        return found if weights is None else found * weights

    def _cells(self, rows: npt.NDArray[Any]) -> sparse.csr_matrix:
        """Make a matrix of some rows that is 1 at the cell of each of their codes."""
        n_codes = rows.shape[1] - 1
        indices = np.add(rows[:, :-1], self.design.starts, dtype=np.int32, casting="unsafe")
        ends = np.arange(0, indices.size + 1, n_codes, dtype=np.int32)
        shape = (len(rows), self.design.matrix.shape[0])
        return sparse.csr_matrix((np.ones(indices.size), indices.ravel(), ends), shape, copy=False)

    def diagonal(self, beta: Floats) -> Floats:
        """Compute the diagonal of the Hessian alone."""
        squared = self.design.matrix.multiply(self.design.matrix)
        table, found = self.design.matrix @ beta[1:], np.zeros(self.width)
        for rows, weights in self.chunks():
            X, curve = self._curved(table, beta[0], rows, weights)
            found += np.concatenate([[curve.sum()], squared.T @ (X.T @ curve)])
        return found + self.penalty.by_parameter(self.width - 1)

    def hessian(self, beta: Floats) -> Floats:
        """Compute the Hessian, ``Z' W Z`` and the ridge, with a 1 for the intercept in Z."""
        table = self.design.matrix @ beta[1:]
        found = np.zeros((self.width, self.width))
        for rows, weights in self.chunks():
            for start in range(0, len(rows), HESSIAN_ROWS):
                part = slice(start, start + HESSIAN_ROWS)
                some = None if weights is None else weights[part]
                X, curve = self._curved(table, beta[0], rows[part], some)
                Z = X @ self.design.matrix
                found[1:, 1:] += (Z.T @ sparse.diags(curve) @ Z).toarray()
                found[0, 0] += curve.sum()
                found[1:, 0] += Z.T @ curve
            self.told(len(rows))
        found[0, 1:] = found[1:, 0]
        found.flat[:: self.width + 1] += self.penalty.by_parameter(self.width - 1)
        if not self.penalty.has_intercept:
            found[0], found[:, 0], found[0, 0] = 0.0, 0.0, 1.0
        return found

    def _curved(
        self, table: Floats, intercept: float, rows: npt.NDArray[Any], weights: Floats | None
    ) -> tuple[sparse.csr_matrix, Floats]:
        """Give the cells of some rows, and how much the loss of each row curves."""
        X = self._cells(rows)
        small = np.exp(-np.abs(X @ table + intercept))
        curve: Floats = small / (1.0 + small) ** 2
        by_row = self._row_weights(rows, weights)
        return X, curve if by_row is None else curve * by_row
