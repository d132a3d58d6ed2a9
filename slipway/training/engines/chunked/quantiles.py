"""Quantiles of rows that are known by their distinct values and counts, as numpy computes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
# Hyndman and Fan's continuous methods by their alpha and beta (The American Statistician 50,
# 1996); "linear" is written down by numpy in another form.
_CONTINUOUS = {
    "interpolated_inverted_cdf": (0.0, 1.0),
    "hazen": (0.5, 0.5),
    "weibull": (0.0, 0.0),
    "median_unbiased": (1 / 3, 1 / 3),
    "normal_unbiased": (3 / 8, 3 / 8),
}
METHODS = ("linear", "inverted_cdf", "averaged_inverted_cdf", *_CONTINUOUS)


def quantiles(
    values: npt.NDArray[Any], times: npt.NDArray[np.int64], levels: Floats, method: str = "linear"
) -> Floats:
    """Compute quantiles as ``numpy.quantile`` does of each value so often.

    The arithmetic is numpy's own, in its order, so that not even the last digit differs.

    Parameters
    ----------
    values : ndarray of shape (n_distinct,)
        Without missing ones, in any order.
    times : ndarray of shape (n_distinct,)
    levels : ndarray of shape (n_levels,)
        Between 0 and 1.
    method : str
        One of ``METHODS``.

    Returns
    -------
    ndarray of shape (n_levels,)
    """
    order = np.argsort(values, kind="stable")
    ends = np.cumsum(times[order])
    n = int(ends[-1])
    virtual = _virtual(n, levels, method)
    before = np.floor(virtual)
    share = virtual - before
    if method == "averaged_inverted_cdf":
        share = np.where(share == 0, 0.5, 1.0)
    elif method == "inverted_cdf":
        share = np.where(share == 0, 0.0, 1.0)
    places = np.clip(np.stack([before, before + 1]), 0, n - 1).astype(np.int64)
    low, high = values[order][np.searchsorted(ends, places, side="right")].astype(np.float64)
    width = high - low
    found: Floats = np.where(share >= 0.5, high - width * (1 - share), low + width * share)
    return found


def _virtual(n: int, levels: Floats, method: str) -> Floats:
    """Find where among n sorted rows a quantile lies."""
    if method == "linear":
        return (n - 1) * levels
    if method in ("inverted_cdf", "averaged_inverted_cdf"):
        return n * levels - 1
    alpha, beta = _CONTINUOUS[method]
    return n * levels + (alpha + levels * (1 - alpha - beta)) - 1


def median(values: npt.NDArray[Any], times: npt.NDArray[np.int64]) -> float:
    """Compute the median: the middle row, or the mean of the two."""
    order = np.argsort(values, kind="stable")
    ends = np.cumsum(times[order])
    n = int(ends[-1])
    middle = values[order][np.searchsorted(ends, [(n - 1) // 2, n // 2], side="right")]
    return float(np.mean(middle.astype(np.float64)))


def rows_with_quantiles(levels: Sequence[float] | Floats, found: Floats, n_rows: int) -> Floats:
    """Make up a few sorted rows that have the given quantiles by every method.

    About each quantile's place stand several rows with its value, so that it does not matter
    which of them a method looks at, or how it rounds.

    Parameters
    ----------
    levels : sequence of float, of shape (n_levels,)
        Sorted.
    found : ndarray of shape (n_levels,)
        The quantiles, sorted.
    n_rows : int
        From ``rows_for``.
    """
    borders = (np.asarray(levels)[1:] + np.asarray(levels)[:-1]) / 2
    return found[np.searchsorted(borders, (np.arange(n_rows) + 0.5) / n_rows)]


def rows_for(levels: Sequence[float] | Floats) -> int:
    """Say how many rows it takes to tell such quantiles apart."""
    gaps = np.diff(np.asarray(levels))
    return math.ceil(12 / gaps.min()) if len(gaps) else 12
