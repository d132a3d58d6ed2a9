"""Add up the weighed columns of each feature: one term a feature."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from slipway.compiler.columns import (
    Column,
    DiscreteColumn,
    Intervals,
    Levels,
    NotAScorecard,
    NumericColumn,
    is_unanswered,
)
from slipway.compiler.inversion import in_raw_numbers, without_marks
from slipway.compiler.polynomials import added, is_straight, scaled, straight
from slipway.models.features import Feature, Value
from slipway.models.scorecard import (
    CurveSumTerm,
    CurveTerm,
    LinearPredictor,
    SlopeTerm,
    StepTerm,
    TableTerm,
    Term,
)
from slipway.models.stages import Affine, Pieces, Stage

Weighed = tuple[Column, float]
# A score loses half of its last bit, 1.1e-16, for each unit that is moved: here 3e-14 in all.
MOST_MOVED = 300.0
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
    if not weighed:
        return _unused(feature)
    _refuse_unanswered(feature, [column for column, _ in weighed])
    missing = _total((column.missing, weight) for column, weight in weighed)
    by_level = [isinstance(c, DiscreteColumn) and isinstance(c.domain, Levels) for c, _ in weighed]
    if feature.kind == "flag":
        return _of_flag(feature, weighed, missing)
    if all(by_level):
        return _of_levels(feature, weighed, missing)
    if feature.kind == "category":
        raise NotAScorecard(f"{feature.name} is a text that is read as a number")
    inside = _inside(feature)
    parts: dict[tuple[Stage, ...], Pieces] = {}
    for column, weight in weighed:
        path, pieces = _in_pieces(column, weight, inside)
        parts[path] = added(parts[path], pieces) if path in parts else pieces
    if len(parts) == 1:
        return _of_pieces(feature, *parts.popitem(), missing)
    bent = tuple(CurveTerm(feature.name, path, pieces, 0.0) for path, pieces in parts.items())
    return CurveSumTerm(feature.name, bent, missing)


def _unused(feature: Feature) -> Term:
    """Build the term of a feature that the pipeline drops."""
    if feature.kind in ("number", "integer"):
        return StepTerm(feature.name, (), (0.0,), 0.0)
    levels = (False, True) if feature.kind == "flag" else ()
    return TableTerm(feature.name, levels, (0.0,) * len(levels), 0.0, 0.0)


def _inside(feature: Feature) -> float:
    """Return a number that the pipeline answers."""
    given = feature.example
    return float(given) if isinstance(given, int | float) else 1.0


def _refuse_unanswered(feature: Feature, columns: Sequence[Column]) -> None:
    """Raise where the signature lets a value pass for which a step raises."""
    if feature.kind in ("text", "datetime"):
        kind = "free text" if feature.kind == "text" else "a date"
        raise NotAScorecard(f"no rule for {feature.name}, which is {kind}")
    if feature.nullable and any(is_unanswered(c.missing) for c in columns):
        raise NotAScorecard(f"a step refuses a missing {feature.name}")
    told = [c for c in columns if isinstance(c, DiscreteColumn) and isinstance(c.domain, Levels)]
    for column in told:
        _refuse_levels(feature, column)
    if any(is_unanswered(v) for c in columns if isinstance(c, DiscreteColumn) for v in c.values):
        raise NotAScorecard(f"a step refuses some values of {feature.name}")
    if feature.kind != "flag" and not feature.closed and any(is_unanswered(c.unseen) for c in told):
        raise NotAScorecard(f"a step refuses unknown values of {feature.name}")


def _refuse_levels(feature: Feature, column: DiscreteColumn) -> None:
    """Raise where a step raises for one of the values that the signature names."""
    if not is_unanswered(column.unseen):
        return
    known = set(column.domain.levels) if isinstance(column.domain, Levels) else set()
    named: tuple[Any, ...] = feature.categories if feature.closed else ()
    if feature.kind == "flag" and not named:
        named = (False, True)
    for value in named:
        if value not in known:
            raise NotAScorecard(f"a step refuses {value!r} for {feature.name}")


def centre_term(total: LinearPredictor, X: pd.DataFrame, *, in_units: bool) -> LinearPredictor:
    """Move the terms' averages over the training rows into the intercept.

    An average that is far larger than the score would take digits from every answer, so that
    it stays where it is: the averages that are moved add up to at most ``MOST_MOVED``.

    Parameters
    ----------
    total : LinearPredictor
    X : DataFrame
    in_units : bool
        Whether the score is a value with a unit, whose digits count from its own size on.
    """
    averages = [_average(term, X) for term in total.terms]
    size = max(1.0, abs(total.intercept + sum(averages))) if in_units else 1.0
    budget = MOST_MOVED * size
    intercept, terms = total.intercept, list(total.terms)
    for i in sorted(range(len(terms)), key=lambda place: abs(averages[place])):
        budget -= abs(averages[i])
        if budget < 0.0:
            break
        intercept += averages[i]
        terms[i] = _lowered(terms[i], averages[i])
    return LinearPredictor(intercept, tuple(terms), total.link)


def _average(term: Term, X: pd.DataFrame) -> float:
    """Average a term over rows; where a row is outside a curve's domain there is none."""
    lookup = term.compile_points()
    counts = X[term.feature].value_counts(dropna=False)
    points = [lookup(None if pd.isna(value) else value) for value in counts.index]
    average = float(np.average(points, weights=counts.to_numpy()))
    return average if math.isfinite(average) else 0.0


def _total(parts: Any) -> float:
    """Add up the weighed points of one case; what is refused is never asked for."""
    points = [
        weight * value if isinstance(value, int | float) else math.nan for value, weight in parts
    ]
    total = float(sum(points))
    return total if math.isfinite(total) else 0.0


def _of_flag(feature: Feature, weighed: Sequence[Weighed], missing: float) -> TableTerm:
    """Put down what a flag adds when it is false and when it is true."""
    points = []
    for flag in (False, True):
        held = [at(column, flag) for column, _ in weighed]
        refused = feature.closed and feature.categories and flag not in feature.categories
        if any(map(is_unanswered, held)) and not refused:
            raise NotAScorecard(f"a step refuses {flag} for {feature.name}")
        points.append(_total((v, w) for v, (_, w) in zip(held, weighed, strict=True)))
    return TableTerm(feature.name, (False, True), tuple(points), missing, 0.0)


def _of_levels(feature: Feature, weighed: Sequence[Weighed], missing: float) -> TableTerm:
    """Add up columns that tell levels apart, some of them maybe more than others."""
    domains = [c.domain for c, _ in weighed if isinstance(c, DiscreteColumn)]
    told = [domain.levels for domain in domains if isinstance(domain, Levels)]
    levels = dict.fromkeys(level for one in told for level in one)
    points = tuple(_total((at(c, level), w) for c, w in weighed) for level in levels)
    unseen = _total((c.unseen, w) for c, w in weighed if isinstance(c, DiscreteColumn))
    return TableTerm(feature.name, tuple(levels), points, missing, unseen)


def at(column: Column, value: Value) -> Any:
    """Give what a column holds for a value of its feature."""
    return column_function(column)(value)


def column_function(column: Column) -> Callable[[Value], Any]:
    """Build the function from a value of the feature to what a column holds."""
    if isinstance(column, DiscreteColumn) and isinstance(column.domain, Levels):
        known = dict(zip(column.domain.levels, column.values, strict=True))
        known[None] = column.missing
        return lambda value: known.get(value, column.unseen)
    path, pieces = _in_pieces(column, 1.0)
    return CurveTerm(column.feature, path, pieces, _number(column.missing)).compile_points()


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _in_pieces(
    column: Column, weight: float, inside: float | None = None
) -> tuple[tuple[Stage, ...], Pieces]:
    """Return a column as a path, and weighed polynomials at its end.

    With a number ``inside`` its domain, the edges of intervals are those of raw numbers.
    """
    if isinstance(column, NumericColumn):
        stages, last = list(without_marks(column.path)), _IDENTITY
        if stages and isinstance(end := stages[-1], Pieces):
            last = end
            stages.pop()
        while stages and isinstance(first := stages[-1], Affine) and is_straight(last):
            last = straight(first, last)
            stages.pop()
        return tuple(stages), scaled(last, weight)
    path, edges, values = _intervals(column)
    path = without_marks(path)
    if inside is not None:
        path, edges, values = in_raw_numbers(path, edges, values, inside)
    points = [0.0 if is_unanswered(value) else float(value) for value in values]
    made = tuple((weight * point,) for point in points)
    return path, Pieces(edges, (0.0,) * len(made), made)


def _intervals(
    column: DiscreteColumn,
) -> tuple[tuple[Stage, ...], tuple[float, ...], Sequence[Any]]:
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


def _of_pieces(
    feature: Feature, path: tuple[Stage, ...], pieces: Pieces, missing: float
) -> StepTerm | SlopeTerm | CurveTerm:
    """Give polynomials in the plainest form of term."""
    if path or (pieces.edges and pieces.degree) or pieces.degree > 1:
        return CurveTerm(feature.name, path, pieces, missing)
    if pieces.degree == 0:
        points = tuple(each[0] for each in pieces.coefficients)
        return StepTerm(feature.name, pieces.edges, points, missing)
    offset, slope = pieces.coefficients[0]
    return SlopeTerm(feature.name, slope, pieces.origins[0], offset, missing)


def _lowered(term: Term, by: float) -> Term:
    """Subtract a constant from a term."""
    missing = term.missing - by
    if isinstance(term, SlopeTerm):
        return SlopeTerm(term.feature, term.slope, term.origin, term.offset - by, missing)
    if isinstance(term, CurveSumTerm):
        first, *others = term.parts
        pieces = added(first.pieces, Pieces((), (0.0,), ((-by,),)))
        first = CurveTerm(first.feature, first.path, pieces, 0.0)
        return CurveSumTerm(term.feature, (first, *others), missing)
    if isinstance(term, CurveTerm):
        pieces = added(term.pieces, Pieces((), (0.0,), ((-by,),)))
        return CurveTerm(term.feature, term.path, pieces, missing)
    points = tuple(point - by for point in term.points)
    if isinstance(term, TableTerm):
        return TableTerm(term.feature, term.levels, points, missing, term.unseen - by)
    return StepTerm(term.feature, term.edges, points, missing)
