"""Add up the weighed columns of each feature: one term a feature."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from slipway.compiler.column import (
    REFUSED,
    Column,
    Intervals,
    Levels,
    Line,
    NotAScorecard,
    Values,
    is_gap,
)
from slipway.curve import Affine, Pieces, Stage
from slipway.scorecard import Bent, Mixed, Slope, Steps, Sum, Table, Term
from slipway.signature import Feature, Value

Weighed = tuple[Column, float]
_IDENTITY = Pieces((), (0.0,), ((0.0, 1.0),))


def add_up(feature: Feature, weighed: Sequence[Weighed]) -> Term:
    """Add up the columns of one feature.

    Parameters
    ----------
    feature : Feature
    weighed : sequence of (Column, float)
        Its columns with their weights.

    Returns
    -------
    Term

    Raises
    ------
    NotAScorecard
        The signature lets an input pass for which a step raises.
    """
    _refuse_unanswered(feature, [column for column, _ in weighed])
    missing = _total((column.missing, weight) for column, weight in weighed)
    by_level = [isinstance(c, Values) and isinstance(c.domain, Levels) for c, _ in weighed]
    if feature.kind == "flag":
        return _of_flag(feature, weighed, missing)
    if by_level and all(by_level):
        return _of_levels(feature, weighed, missing)
    parts: dict[tuple[Stage, ...], Pieces] = {}
    for column, weight in weighed:
        path, pieces = _in_pieces(column, weight)
        parts[path] = _added(parts[path], pieces) if path in parts else pieces
    if not parts:
        return Steps(feature.name, (), (0.0,), missing)
    if len(parts) == 1:
        return _of_pieces(feature, *parts.popitem(), missing)
    bent = tuple(Bent(feature.name, path, pieces, 0.0) for path, pieces in parts.items())
    return Mixed(feature.name, bent, missing)


def _refuse_unanswered(feature: Feature, columns: Sequence[Column]) -> None:
    """Refuse a feature for whose gaps or unseen values the pipeline has no answer."""
    if feature.nullable and any(c.missing is REFUSED or is_gap(c.missing) for c in columns):
        raise NotAScorecard(f"a step refuses a missing {feature.name}")
    if feature.closed or feature.kind == "flag":
        return
    told = (c for c in columns if isinstance(c, Values) and isinstance(c.domain, Levels))
    if any(c.unseen is REFUSED for c in told):
        raise NotAScorecard(f"a step refuses unknown values of {feature.name}")


def centred(total: Sum, X: pd.DataFrame) -> Sum:
    """Move each term's average over the training rows into the intercept."""
    intercept = total.intercept
    terms = []
    for term in total.terms:
        lookup = term.lookup()
        counts = X[term.feature].value_counts(dropna=False)
        values = [None if pd.isna(value) else value for value in counts.index]
        points = [lookup(value) for value in values]
        average = float(np.average(points, weights=counts.to_numpy()))
        # Where a row is outside a curve's domain there is no average.
        average = average if math.isfinite(average) else 0.0
        intercept += average
        terms.append(_lowered(term, average))
    return Sum(intercept, tuple(terms), total.link)


def _total(parts: Any) -> float:
    """Add up the weighed points of one case; what is refused is never asked for."""
    points = [
        weight * value if isinstance(value, int | float) else math.nan for value, weight in parts
    ]
    total = float(sum(points))
    return total if math.isfinite(total) else 0.0


def _of_flag(feature: Feature, weighed: Sequence[Weighed], missing: float) -> Table:
    """Put down what a flag adds when it is false and when it is true."""
    points = tuple(_total((at(c, flag), w) for c, w in weighed) for flag in (False, True))
    return Table(feature.name, (False, True), points, missing, 0.0)


def _of_levels(feature: Feature, weighed: Sequence[Weighed], missing: float) -> Table:
    """Add up columns that tell levels apart, some of them maybe more than others."""
    domains = [c.domain for c, _ in weighed if isinstance(c, Values)]
    told = [domain.levels for domain in domains if isinstance(domain, Levels)]
    levels = dict.fromkeys(level for one in told for level in one)
    points = tuple(_total((at(c, level), w) for c, w in weighed) for level in levels)
    unseen = _total((c.unseen, w) for c, w in weighed if isinstance(c, Values))
    return Table(feature.name, tuple(levels), points, missing, unseen)


def at(column: Column, value: Value) -> Any:
    """Give what a column holds for a value of its feature."""
    return column_function(column)(value)


def column_function(column: Column) -> Callable[[Value], Any]:
    """Build the function from a value of the feature to what a column holds."""
    if isinstance(column, Values) and isinstance(column.domain, Levels):
        known = dict(zip(column.domain.levels, column.values, strict=True))
        known[None] = column.missing
        return lambda value: known.get(value, column.unseen)
    path, pieces = _in_pieces(column, 1.0)
    return Bent(column.feature, path, pieces, _number(column.missing)).lookup()


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _in_pieces(column: Column, weight: float) -> tuple[tuple[Stage, ...], Pieces]:
    """Give a column as a path, and weighed polynomials at its end."""
    if isinstance(column, Line):
        stages, last = list(column.path), _IDENTITY
        if stages and isinstance(end := stages[-1], Pieces):
            last = end
            stages.pop()
        while stages and isinstance(first := stages[-1], Affine) and _is_straight(last):
            last = _straight(first, last)
            stages.pop()
        return tuple(stages), _times(last, weight)
    path, edges, values = _intervals(column)
    points = [0.0 if value is REFUSED else float(value) for value in values]
    made = tuple((weight * point,) for point in points)
    return path, Pieces(edges, (0.0,) * len(made), made)


def _is_straight(pieces: Pieces) -> bool:
    return not pieces.edges and pieces.degree == 1


def _straight(first: Affine, then: Pieces) -> Pieces:
    """Make one straight line of two."""
    (constant, slope), origin = then.coefficients[0], then.origins[0]
    constant += slope * (first.plus - origin)
    return Pieces((), (first.subtract,), ((constant, slope * first.times / first.divide),))


def _intervals(column: Values) -> tuple[tuple[Stage, ...], tuple[float, ...], Sequence[Any]]:
    """Give a column of few values by interval; a level of a number is one that holds only it."""
    if isinstance(column.domain, Intervals):
        return column.domain.path, column.domain.edges, column.values
    edges: list[float] = []
    values: list[Any] = [column.unseen]
    for level, value in sorted(zip(column.domain.levels, column.values, strict=True)):
        start, end = float(level), math.nextafter(float(level), math.inf)
        if edges and edges[-1] == start:
            edges, values = edges[:-1], values[:-1]
        edges += [start, end]
        values += [value, column.unseen]
    return (), tuple(edges), values


def _times(pieces: Pieces, weight: float) -> Pieces:
    """Multiply polynomials by a number."""
    weighed = tuple(tuple(weight * c for c in each) for each in pieces.coefficients)
    return Pieces(pieces.edges, pieces.origins, weighed)


def _added(one: Pieces, other: Pieces) -> Pieces:
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


def _of_pieces(
    feature: Feature, path: tuple[Stage, ...], pieces: Pieces, missing: float
) -> Steps | Slope | Bent:
    """Give polynomials in the plainest form of term."""
    if path or (pieces.edges and pieces.degree) or pieces.degree > 1:
        return Bent(feature.name, path, pieces, missing)
    if pieces.degree == 0:
        points = tuple(each[0] for each in pieces.coefficients)
        return Steps(feature.name, pieces.edges, points, missing)
    offset, slope = pieces.coefficients[0]
    return Slope(feature.name, slope, pieces.origins[0], offset, missing)


def _lowered(term: Term, by: float) -> Term:
    """Subtract a constant from a term."""
    missing = term.missing - by
    if isinstance(term, Slope):
        return Slope(term.feature, term.slope, term.origin, term.offset - by, missing)
    if isinstance(term, Mixed):
        first, *others = term.parts
        pieces = _added(first.pieces, Pieces((), (0.0,), ((-by,),)))
        first = Bent(first.feature, first.path, pieces, 0.0)
        return Mixed(term.feature, (first, *others), missing)
    if isinstance(term, Bent):
        pieces = _added(term.pieces, Pieces((), (0.0,), ((-by,),)))
        return Bent(term.feature, term.path, pieces, missing)
    points = tuple(point - by for point in term.points)
    if isinstance(term, Table):
        return Table(term.feature, term.levels, points, missing, term.unseen - by)
    return Steps(term.feature, term.edges, points, missing)
