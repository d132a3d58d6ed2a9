"""Compute quantiles from distinct values and counts exactly as numpy does from rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
# Hyndman and Fan's continuous methods by their alpha and beta (The American Statistician 50,
# 1996). numpy computes "linear" with another formula.
_CONTINUOUS = {
    "interpolated_inverted_cdf": (0.0, 1.0),
    "hazen": (0.5, 0.5),
    "weibull": (0.0, 0.0),
    "median_unbiased": (1 / 3, 1 / 3),
    "normal_unbiased": (3 / 8, 3 / 8),
}
METHODS = ("linear", "inverted_cdf", "averaged_inverted_cdf", *_CONTINUOUS)


def quantiles(
    values: npt.NDArray[Any],
    frequencies: npt.NDArray[np.int64],
    levels: Floats,
    method: str = "linear",
) -> Floats:
    """Compute quantiles as ``numpy.quantile`` does for repeated values.

    The operations and their order are those of numpy, so that results are identical.

    Parameters
    ----------
    values : ndarray of shape (n_distinct,)
        The distinct values in any order, without missing ones.
    frequencies : ndarray of shape (n_distinct,)
    levels : ndarray of shape (n_levels,)
        Between 0 and 1.
    method : str
        One of ``METHODS``.

    Returns
    -------
    ndarray of shape (n_levels,)
    """
    order = np.argsort(values, kind="stable")
    ends = np.cumsum(frequencies[order])
    n = int(ends[-1])
    virtual = _virtual_indexes(n, levels, method)
    before = np.floor(virtual)
    share = virtual - before
    if method == "averaged_inverted_cdf":
        share = np.where(share == 0, 0.5, 1.0)
    elif method == "inverted_cdf":
        share = np.where(share == 0, 0.0, 1.0)
    indexes = np.clip(np.stack([before, before + 1]), 0, n - 1).astype(np.int64)
    low, high = values[order][np.searchsorted(ends, indexes, side="right")].astype(np.float64)
    width = high - low
    result: Floats = np.where(share >= 0.5, high - width * (1 - share), low + width * share)
    return result


def _virtual_indexes(n: int, levels: Floats, method: str) -> Floats:
    """Return the fractional indexes of quantiles among n sorted rows."""
    if method == "linear":
        return (n - 1) * levels
    if method in ("inverted_cdf", "averaged_inverted_cdf"):
        return n * levels - 1
    alpha, beta = _CONTINUOUS[method]
    return n * levels + (alpha + levels * (1 - alpha - beta)) - 1


def median(values: npt.NDArray[Any], frequencies: npt.NDArray[np.int64]) -> float:
    """Compute the median: the middle row, or the mean of the two."""
    order = np.argsort(values, kind="stable")
    ends = np.cumsum(frequencies[order])
    n = int(ends[-1])
    middle = values[order][np.searchsorted(ends, [(n - 1) // 2, n // 2], side="right")]
    return float(np.mean(middle.astype(np.float64)))


def make_rows_with_quantiles(
    levels: Sequence[float] | Floats, values: Floats, n_rows: int
) -> Floats:
    """Build a few sorted rows that have the given quantiles by every method.

    Several rows around the index of a quantile have its value. The method and its rounding
    therefore do not matter.

    Parameters
    ----------
    levels : sequence of float, of shape (n_levels,)
        Sorted.
    values : ndarray of shape (n_levels,)
        The quantiles, sorted.
    n_rows : int
        The result of ``count_rows_for``.
    """
    borders = (np.asarray(levels)[1:] + np.asarray(levels)[:-1]) / 2
    return values[np.searchsorted(borders, (np.arange(n_rows) + 0.5) / n_rows)]


def count_rows_for(levels: Sequence[float] | Floats) -> int:
    """Return the number of rows that such quantiles require."""
    distances = np.diff(np.asarray(levels))
    return math.ceil(12 / distances.min()) if len(distances) else 12
