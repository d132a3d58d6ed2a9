"""The curves of ``QuantileTransformer`` and ``SplineTransformer``, as piecewise polynomials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.interpolate import BSpline, PPoly
from scipy.stats import norm
from sklearn.preprocessing import QuantileTransformer, SplineTransformer

from slipway.compiler.columns import NotAScorecard
from slipway.compiler.floats import LARGEST, find_first_true
from slipway.models.stages import Clip, Named, Pieces, Stage

# scikit-learn's BOUNDS_THRESHOLD: a number this close to an end counts as the end.
_BOUND = 1e-7
_Piece = tuple[float, float, tuple[float, ...]]


def build_quantile_stages(step: QuantileTransformer) -> list[tuple[Stage, ...]]:
    """Return the stages of each column of a ``QuantileTransformer``."""
    normal = step.output_distribution == "normal"
    ends = norm.ppf([_BOUND - np.spacing(1), 1 - (_BOUND - np.spacing(1))]).tolist()
    after = (Named("normal-quantile"), Clip(*ends)) if normal else ()
    ranks = [
        _interpolate_ranks(quantiles, step.references_, normal) for quantiles in step.quantiles_.T
    ]
    return [(pieces, *after) for pieces in ranks]


def _interpolate_ranks(quantiles: Any, references: Any, normal: bool) -> Pieces:
    """Interpolate the rank of a number. Where quantiles coincide, the rank jumps."""
    knots = np.unique(quantiles).tolist()
    first = references[np.searchsorted(quantiles, knots, "left")].tolist()
    last = references[np.searchsorted(quantiles, knots, "right") - 1].tolist()
    pieces: list[_Piece] = [(knots[0], knots[0], ((first[0] + last[0]) / 2,))]
    for a, b, low, high, jump in zip(knots, knots[1:], last, first[1:], last[1:], strict=False):
        slope = (high - low) / (b - a)
        pieces.append((math.nextafter(a, math.inf), a, (low, slope)))
        if jump > high:
            pieces.append((b, b, ((high + jump) / 2,)))
    start, end = _find_bounds(knots[0], knots[-1], normal)
    inside = [(max(edge, start), origin, values) for edge, origin, values in pieces if edge < end]
    # Drop a piece that starts at the same edge as the next one.
    following = [*(edge for edge, _, _ in inside[1:]), end]
    kept = [piece for piece, after in zip(inside, following, strict=False) if piece[0] < after]
    return _join_pieces((0.0, (0.0,)), [*kept, (end, 0.0, (1.0,))])


def _find_bounds(low: float, high: float, normal: bool) -> tuple[float, float]:
    """Return the end of the lowest rank and the start of the highest; the lowest wins."""
    if not normal:
        start = math.nextafter(low, math.inf)
        return start, max(start, high)
    start = float(find_first_true(lambda x: x - _BOUND >= low, -LARGEST, LARGEST)[0])
    end = float(find_first_true(lambda x: x + _BOUND > high, -LARGEST, LARGEST)[0])
    return start, max(start, end)


def build_spline_stages(step: SplineTransformer, i: int) -> list[tuple[Stage, ...]]:
    """Return the stages of the basis functions of column ``i`` of a ``SplineTransformer``."""
    spline = step.bsplines_[i]
    low, high = float(spline.t[spline.k]), float(spline.t[-spline.k - 1])
    before: tuple[Stage, ...] = ()
    if step.extrapolation == "periodic":
        before = (Named("wrap", (low, high - low)),)
    if step.extrapolation == "error":
        before = (Named("within", (low, high)),)
    beyond = _extrapolate(step, i) if step.extrapolation in ("constant", "linear") else None
    width = spline.c.shape[1] - (not step.include_bias)
    return [(*before, _convert_basis(spline, j, beyond)) for j in range(width)]


def _convert_basis(spline: BSpline, j: int, beyond: Any) -> Pieces:
    """Convert one basis function to polynomials, each around the knot where it begins."""
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
        # The outer polynomials extend to infinity.
        return _join_pieces(inside[0][1:], inside[1:])
    low, high = float(knots[degree]), float(knots[-degree - 1])
    below, above = (low, tuple(beyond[0][:, j].tolist())), (high, tuple(beyond[1][:, j].tolist()))
    return _join_pieces(below, [*inside, (math.nextafter(high, math.inf), *above)])


def _extrapolate(step: SplineTransformer, i: int) -> list[Any]:
    """Return the values and slopes of the bases beyond each end, of shape (2, n_splines)."""
    spline = step.bsplines_[i]
    n_splines, linear = spline.c.shape[1], step.extrapolation == "linear"
    # Below degree 2, two bases determine the slope at an end.
    reach = spline.k + 1 if linear and spline.k <= 1 else spline.k
    ends = []
    for knot, first in ((spline.t[spline.k], 0), (spline.t[-spline.k - 1], n_splines - reach)):
        bases = slice(first, first + reach)
        values = np.zeros((2, n_splines))
        values[0, bases] = spline(knot)[bases]
        if linear:
            values[1, bases] = spline(knot, nu=1)[bases]
        ends.append(values)
    return ends


def _join_pieces(below: tuple[Any, ...], pieces: Sequence[_Piece]) -> Pieces:
    """Join polynomials: the one below the first edge, then the others by edge."""
    edges = tuple(edge for edge, _, _ in pieces)
    origins = (float(below[0]), *(origin for _, origin, _ in pieces))
    return Pieces(edges, origins, (below[1], *(coefficients for _, _, coefficients in pieces)))
