"""Evaluate stages on arrays with scikit-learn's own functions, and search among floats."""

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
    """Apply stages to numbers, one after the other.

    Parameters
    ----------
    stages : sequence of Stage
    x : ndarray

    Returns
    -------
    ndarray
        Equal to ``slipway.models.stages.through`` to the last bit of numpy's own functions.
    """
    with np.errstate(all="ignore"):
        for stage in stages:
            x = _evaluate_stage(stage, x)
    return x


def _evaluate_stage(stage: Stage, x: Floats) -> Floats:
    if isinstance(stage, Affine):
        return (x - stage.subtract) / stage.divide * stage.times + stage.plus
    if isinstance(stage, Clip):
        return np.clip(x, stage.low, stage.high)
    if isinstance(stage, Fill):
        return np.where(np.isnan(x), stage.value, np.where(np.isinf(x), np.nan, x))
    if isinstance(stage, Named):
        result: Floats = _FUNCTIONS[stage.name](x, *stage.parameters)
        return result
    return _evaluate_pieces(stage, x)


def _evaluate_pieces(stage: Pieces, x: Floats) -> Floats:
    interval = np.searchsorted(np.array(stage.edges), x, side="right")
    distance = x - np.array(stage.origins)[interval]
    total = np.zeros_like(x)
    width = stage.degree + 1
    padded = np.array(
        [(*polynomial, *(0.0,) * (width - len(polynomial))) for polynomial in stage.coefficients]
    )
    for power in reversed(range(width)):
        total = total * distance + padded[interval, power]
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


def find_first_true(
    condition: Callable[[Floats], NDArray[np.bool_]], low: Floats | float, high: Floats | float
) -> Floats:
    """Find the first float for which a condition holds, by bisection.

    Parameters
    ----------
    condition : callable
        Maps an array of numbers to booleans: False up to some number, True from there on.
    low, high : ndarray or float
        The ends of the search. The condition must hold at ``high``.

    Returns
    -------
    ndarray
    """
    lower, upper = (_to_ordinal(np.atleast_1d(np.asarray(end, float))) for end in (low, high))
    lower, upper = (bound.copy() for bound in np.broadcast_arrays(lower, upper))
    for _ in range(65):
        # The sum of two ordinals does not fit 64 bits.
        middle = (lower >> 1) + (upper >> 1) + (lower & upper & 1)
        holds = condition(_from_ordinal(middle))
        upper = np.where(holds, middle, upper)
        lower = np.where(holds, lower, np.minimum(middle + 1, upper))
    return _from_ordinal(upper)


def _to_ordinal(x: Floats) -> NDArray[np.int64]:
    """Map floats to integers in the same order. Neighbouring floats differ by 1."""
    bits = x.view(np.int64)
    return np.where(bits < 0, np.iinfo(np.int64).min - bits, bits)


def _from_ordinal(ordinal: NDArray[np.int64]) -> Floats:
    """Map the integers of ``_to_ordinal`` back to floats."""
    bits = np.where(ordinal < 0, np.iinfo(np.int64).min - ordinal, ordinal)
    return np.ascontiguousarray(bits).view(np.float64)


def shift_floats(x: Floats, count: int) -> Floats:
    """Return the floats a number of neighbours away."""
    return _from_ordinal(_to_ordinal(np.asarray(x, float)) + count)
