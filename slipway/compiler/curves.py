"""The curves of ``QuantileTransformer`` and ``SplineTransformer``, as polynomials by interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.interpolate import BSpline, PPoly
from scipy.stats import norm
from sklearn.preprocessing import QuantileTransformer, SplineTransformer

from slipway.compiler.columns import NotAScorecard
from slipway.compiler.floats import LARGEST, first_true
from slipway.models.stages import Clip, Named, Pieces, Stage

# scikit-learn's BOUNDS_THRESHOLD: how near to an end counts as the end.
_BOUND = 1e-7
_Piece = tuple[float, float, tuple[float, ...]]


def of_ranks(step: QuantileTransformer) -> list[tuple[Stage, ...]]:
    """Give the stages of each column of a ``QuantileTransformer``."""
    normal = step.output_distribution == "normal"
    ends = norm.ppf([_BOUND - np.spacing(1), 1 - (_BOUND - np.spacing(1))]).tolist()
    after = (Named("normal-quantile"), Clip(*ends)) if normal else ()
    ranks = [_ranks(each, step.references_, normal) for each in step.quantiles_.T]
    return [(each, *after) for each in ranks]


def _ranks(quantiles: Any, references: Any, normal: bool) -> Pieces:
    """Interpolate a number's rank; where quantiles coincide, the rank jumps."""
    at = np.unique(quantiles).tolist()
    first = references[np.searchsorted(quantiles, at, "left")].tolist()
    last = references[np.searchsorted(quantiles, at, "right") - 1].tolist()
    pieces: list[_Piece] = [(at[0], at[0], ((first[0] + last[0]) / 2,))]
    for a, b, low, high, jump in zip(at, at[1:], last, first[1:], last[1:], strict=False):
        slope = (high - low) / (b - a)
        pieces.append((math.nextafter(a, math.inf), a, (low, slope)))
        if jump > high:
            pieces.append((b, b, ((high + jump) / 2,)))
    start, end = _bounds(at[0], at[-1], normal)
    inside = [(max(edge, start), origin, each) for edge, origin, each in pieces if edge < end]
    # A piece that another one covers, because both begin at the start, falls away.
    following = [*(edge for edge, _, _ in inside[1:]), end]
    kept = [one for one, after in zip(inside, following, strict=False) if one[0] < after]
    return _pieces((0.0, (0.0,)), [*kept, (end, 0.0, (1.0,))])


def _bounds(low: float, high: float, normal: bool) -> tuple[float, float]:
    """Return where the lowest rank ends and the highest begins; the lowest goes first."""
    if not normal:
        start = math.nextafter(low, math.inf)
        return start, max(start, high)
    # What lies as near to an end as this counts as the end.
    start = float(first_true(lambda x: x - _BOUND >= low, -LARGEST, LARGEST)[0])
    end = float(first_true(lambda x: x + _BOUND > high, -LARGEST, LARGEST)[0])
    return start, max(start, end)


def of_splines(step: SplineTransformer, i: int) -> list[tuple[Stage, ...]]:
    """Give the stages of the basis functions of column ``i`` of a ``SplineTransformer``."""
    spline = step.bsplines_[i]
    low, high = float(spline.t[spline.k]), float(spline.t[-spline.k - 1])
    before: tuple[Stage, ...] = ()
    if step.extrapolation == "periodic":
        before = (Named("wrap", (low, high - low)),)
    if step.extrapolation == "error":
        before = (Named("within", (low, high)),)
    beyond = _beyond(step, i) if step.extrapolation in ("constant", "linear") else None
    width = spline.c.shape[1] - (not step.include_bias)
    return [(*before, _basis(spline, j, beyond)) for j in range(width)]


def _basis(spline: BSpline, j: int, beyond: Any) -> Pieces:
    """Write one basis function as polynomials, each around the knot where it begins."""
    knots, degree = spline.t, spline.k
    polynomials = PPoly.from_spline((knots, spline.c[:, j], degree))
    inside = [
        (float(knots[m]), float(knots[m]), tuple(polynomials.c[::-1, m].tolist()))
        for m in range(degree, len(knots) - degree - 1)
        if knots[m] < knots[m + 1]
    ]
    if not inside:
        raise NotAScorecard("a SplineTransformer has no interval between its knots")
    if beyond is None:
        # The outer polynomials go on for ever.
        return _pieces(inside[0][1:], inside[1:])
    low, high = float(knots[degree]), float(knots[-degree - 1])
    below, above = (low, tuple(beyond[0][:, j].tolist())), (high, tuple(beyond[1][:, j].tolist()))
    return _pieces(below, [*inside, (math.nextafter(high, math.inf), *above)])


def _beyond(step: SplineTransformer, i: int) -> list[Any]:
    """Give the values and slopes of the bases beyond both ends, of shape (2, n_splines) each."""
    spline = step.bsplines_[i]
    n_splines, linear = spline.c.shape[1], step.extrapolation == "linear"
    # Without a bend, the slope at an end is that of two bases.
    reach = spline.k + 1 if linear and spline.k <= 1 else spline.k
    made = []
    for at, first in ((spline.t[spline.k], 0), (spline.t[-spline.k - 1], n_splines - reach)):
        reached = slice(first, first + reach)
        values = np.zeros((2, n_splines))
        values[0, reached] = spline(at)[reached]
        if linear:
            values[1, reached] = spline(at, nu=1)[reached]
        made.append(values)
    return made


def _pieces(below: tuple[Any, ...], pieces: Sequence[_Piece]) -> Pieces:
    """Put polynomials together: the one below the first edge, then the others by their edges."""
    edges = tuple(edge for edge, _, _ in pieces)
    origins = (float(below[0]), *(origin for _, origin, _ in pieces))
    return Pieces(edges, origins, (below[1], *(each for _, _, each in pieces)))
