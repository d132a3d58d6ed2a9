"""Arithmetic of piecewise polynomials: scale, compose and add."""

from __future__ import annotations

import math
from bisect import bisect_right

from slipway.models.stages import Affine, Pieces


def is_line(pieces: Pieces) -> bool:
    """Return whether a function is a single straight line."""
    return not pieces.edges and pieces.degree == 1


def compose_lines(first: Affine, then: Pieces) -> Pieces:
    """Compose two linear functions into one."""
    (constant, slope), origin = then.coefficients[0], then.origins[0]
    constant += slope * (first.plus - origin)
    return Pieces((), (first.subtract,), ((constant, slope * first.times / first.divide),))


def scale_pieces(pieces: Pieces, weight: float) -> Pieces:
    """Multiply polynomials by a number."""
    coefficients = tuple(
        tuple(weight * c for c in polynomial) for polynomial in pieces.coefficients
    )
    return Pieces(pieces.edges, pieces.origins, coefficients)


def add_pieces(one: Pieces, other: Pieces) -> Pieces:
    """Add two functions of the same number, interval by interval."""
    edges = tuple(sorted({*one.edges, *other.edges}))
    origins, coefficients = [], []
    for start in (-math.inf, *edges):
        (a, p), (b, q) = (_find_piece(pieces, start) for pieces in (one, other))
        if len(p) < len(q):
            (a, p), (b, q) = (b, q), (a, p)
        shifted = _shift_origin(q, a - b) + (0.0,) * (len(p) - len(q))
        origins.append(a)
        coefficients.append(tuple(x + y for x, y in zip(p, shifted, strict=True)))
    return Pieces(edges, tuple(origins), tuple(coefficients))


def _find_piece(pieces: Pieces, start: float) -> tuple[float, tuple[float, ...]]:
    """Return the origin and the coefficients of the interval that contains a number."""
    i = bisect_right(pieces.edges, start)
    return pieces.origins[i], pieces.coefficients[i]


def _shift_origin(coefficients: tuple[float, ...], distance: float) -> tuple[float, ...]:
    """Shift the origin of a polynomial by a distance (Taylor shift)."""
    if distance == 0.0 or len(coefficients) == 1:
        return coefficients
    shifted = list(coefficients)
    for first in range(len(shifted) - 1):
        for k in range(len(shifted) - 2, first - 1, -1):
            shifted[k] += distance * shifted[k + 1]
    return tuple(shifted)
