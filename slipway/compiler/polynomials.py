"""Arithmetic of piecewise polynomials: weighed, chained and added up."""

from __future__ import annotations

import math
from bisect import bisect_right

from slipway.models.stages import Affine, Pieces


def is_straight(pieces: Pieces) -> bool:
    """Return whether a function is one straight line."""
    return not pieces.edges and pieces.degree == 1


def straight(first: Affine, then: Pieces) -> Pieces:
    """Make one straight line of two."""
    (constant, slope), origin = then.coefficients[0], then.origins[0]
    constant += slope * (first.plus - origin)
    return Pieces((), (first.subtract,), ((constant, slope * first.times / first.divide),))


def scaled(pieces: Pieces, weight: float) -> Pieces:
    """Multiply polynomials by a number."""
    weighed = tuple(tuple(weight * c for c in each) for each in pieces.coefficients)
    return Pieces(pieces.edges, pieces.origins, weighed)


def added(one: Pieces, other: Pieces) -> Pieces:
    """Add up two functions of the same number, interval by interval."""
    edges = tuple(sorted({*one.edges, *other.edges}))
    origins, coefficients = [], []
    for start in (-math.inf, *edges):
        (a, p), (b, q) = (_piece(pieces, start) for pieces in (one, other))
        if len(p) < len(q):
            (a, p), (b, q) = (b, q), (a, p)
        moved = _moved(q, a - b) + (0.0,) * (len(p) - len(q))
        origins.append(a)
        coefficients.append(tuple(x + y for x, y in zip(p, moved, strict=True)))
    return Pieces(edges, tuple(origins), tuple(coefficients))


def _piece(pieces: Pieces, start: float) -> tuple[float, tuple[float, ...]]:
    """Give the origin and the polynomial of the interval that a number lies in."""
    i = bisect_right(pieces.edges, start)
    return pieces.origins[i], pieces.coefficients[i]


def _moved(coefficients: tuple[float, ...], by: float) -> tuple[float, ...]:
    """Write a polynomial around an origin that lies further on (Taylor's shift)."""
    if by == 0.0 or len(coefficients) == 1:
        return coefficients
    moved = list(coefficients)
    for first in range(len(moved) - 1):
        for k in range(len(moved) - 2, first - 1, -1):
            moved[k] += by * moved[k + 1]
    return tuple(moved)
