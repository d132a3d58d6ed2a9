"""Stages over whole arrays, by scikit-learn's own functions, and a search over floats."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from slipway.models.stages import Affine, Clip, Fill, Named, Pieces, Stage

Floats = NDArray[np.float64]
LARGEST = sys.float_info.max


def evaluate(stages: Sequence[Stage], x: Floats) -> Floats:
    """Lead numbers through stages.

    Parameters
    ----------
    stages : sequence of Stage
    x : ndarray

    Returns
    -------
    ndarray
        As ``slipway.models.stages.through`` gives them, to the last bit of numpy's own functions.
    """
    with np.errstate(all="ignore"):
        for stage in stages:
            x = _evaluated(stage, x)
    return x


def _evaluated(stage: Stage, x: Floats) -> Floats:
    if isinstance(stage, Affine):
        return (x - stage.subtract) / stage.divide * stage.times + stage.plus
    if isinstance(stage, Clip):
        return np.clip(x, stage.low, stage.high)
    if isinstance(stage, Fill):
        return np.where(np.isnan(x), stage.value, np.where(np.isinf(x), np.nan, x))
    if isinstance(stage, Named):
        found: Floats = _FUNCTIONS[stage.name](x, *stage.parameters)
        return found
    return _polynomials(stage, x)


def _polynomials(stage: Pieces, x: Floats) -> Floats:
    at = np.searchsorted(np.array(stage.edges), x, side="right")
    along = x - np.array(stage.origins)[at]
    total = np.zeros_like(x)
    width = stage.degree + 1
    padded = np.array([(*each, *(0.0,) * (width - len(each))) for each in stage.coefficients])
    for place in reversed(range(width)):
        total = total * along + padded[at, place]
    return np.where(np.isfinite(x), total, np.nan)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sigmoid": special.expit,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "log2": np.log2,
    "log10": np.log10,
    "sqrt": np.sqrt,
    "square": np.square,
    "absolute": np.abs,
    "negative": np.negative,
    "reciprocal": np.reciprocal,
    "box-cox": lambda x, power: special.boxcox(np.where(x > 0, x, np.nan), power),
    "yeo-johnson": stats.yeojohnson,
    "normal-quantile": special.ndtri,
    "within": lambda x, low, high: np.where((x >= low) & (x <= high), x, np.nan),
    "wrap": lambda x, start, length: start + (x - start) % length,
    "finite": lambda x: np.where(np.isfinite(x), x, np.nan),
    "known": lambda x: np.where(np.isfinite(x), x, np.nan),
}


def first_true(
    holds: Callable[[Floats], NDArray[np.bool_]], low: Floats | float, high: Floats | float
) -> Floats:
    """Find the first float, by halves, for which a condition holds.

    Parameters
    ----------
    holds : callable
        From an array of numbers to flags; false up to some number, and true from there on.
    low, high : ndarray or float
        Where the search begins and ends. The condition holds at ``high``.

    Returns
    -------
    ndarray
    """
    least, most = (_place(np.atleast_1d(np.asarray(end, float))) for end in (low, high))
    least, most = (each.copy() for each in np.broadcast_arrays(least, most))
    for _ in range(65):
        # The sum of two places does not fit 64 bits.
        middle = (least >> 1) + (most >> 1) + (least & most & 1)
        found = holds(_number(middle))
        most = np.where(found, middle, most)
        least = np.where(found, least, np.minimum(middle + 1, most))
    return _number(most)


def _place(x: Floats) -> NDArray[np.int64]:
    """Return the place of floats in their order; neighbours differ by 1."""
    bits = x.view(np.int64)
    return np.where(bits < 0, np.iinfo(np.int64).min - bits, bits)


def _number(place: NDArray[np.int64]) -> Floats:
    """Return the floats of places."""
    bits = np.where(place < 0, np.iinfo(np.int64).min - place, place)
    return np.ascontiguousarray(bits).view(np.float64)


def moved(x: Floats, by: int) -> Floats:
    """Return the floats some places further on."""
    return _number(_place(np.asarray(x, float)) + by)
