"""Add up the weighted columns of each feature: one term per feature."""

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
    is_invalid,
)
from slipway.compiler.inversion import drop_marks, move_edges_to_raw
from slipway.compiler.polynomials import add_pieces, compose_lines, is_line, scale_pieces
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

WeightedColumn = tuple[Column, float]
# Each unit of shift costs half of the last bit of a score, 1.1e-16: at most 3e-14 in total.
MAX_SHIFT = 300.0
_IDENTITY = Pieces((), (0.0,), ((0.0, 1.0),))


def build_term(feature: Feature, weighted: Sequence[WeightedColumn]) -> Term:
    """Build the term of a feature from its weighted columns.

    Parameters
    ----------
    feature : Feature
    weighted : sequence of (Column, float)
        The columns of the feature with their weights.

    Returns
    -------
    Term

    Raises
    ------
    NotAScorecard
        The signature accepts an input for which a step raises.
    """
    if not weighted:
        return _build_unused_term(feature)
    _reject_invalid_inputs(feature, [column for column, _ in weighted])
    missing = _add_points((column.missing, weight) for column, weight in weighted)
    by_level = [isinstance(c, DiscreteColumn) and isinstance(c.domain, Levels) for c, _ in weighted]
    if feature.kind == "flag":
        return _build_flag_term(feature, weighted, missing)
    if all(by_level):
        return _build_table_term(feature, weighted, missing)
    if feature.kind == "category":
        raise NotAScorecard(f"a step reads the text {feature.name} as a number")
    inside = _choose_valid_number(feature)
    parts: dict[tuple[Stage, ...], Pieces] = {}
    for column, weight in weighted:
        path, pieces = _to_pieces(column, weight, inside)
        parts[path] = add_pieces(parts[path], pieces) if path in parts else pieces
    if len(parts) == 1:
        return _build_number_term(feature, *parts.popitem(), missing)
    curves = tuple(CurveTerm(feature.name, path, pieces, 0.0) for path, pieces in parts.items())
    return CurveSumTerm(feature.name, curves, missing)


def _build_unused_term(feature: Feature) -> Term:
    """Build the term of a feature that the pipeline drops."""
    if feature.kind in ("number", "integer"):
        return StepTerm(feature.name, (), (0.0,), 0.0)
    levels = (False, True) if feature.kind == "flag" else ()
    return TableTerm(feature.name, levels, (0.0,) * len(levels), 0.0, 0.0)


def _choose_valid_number(feature: Feature) -> float:
    """Return a number for which the pipeline returns a prediction."""
    example = feature.example
    return float(example) if isinstance(example, int | float) else 1.0


def _reject_invalid_inputs(feature: Feature, columns: Sequence[Column]) -> None:
    """Raise if the signature accepts a value for which a step raises."""
    if feature.kind in ("text", "datetime"):
        kind = "free text" if feature.kind == "text" else "a date"
        raise NotAScorecard(f"no rule for {feature.name}, which is {kind}")
    if feature.nullable and any(is_invalid(c.missing) for c in columns):
        raise NotAScorecard(f"a step rejects missing values of {feature.name}")
    by_level = [
        c for c in columns if isinstance(c, DiscreteColumn) and isinstance(c.domain, Levels)
    ]
    for column in by_level:
        _reject_invalid_levels(feature, column)
    if any(is_invalid(v) for c in columns if isinstance(c, DiscreteColumn) for v in c.values):
        raise NotAScorecard(f"a step rejects some values of {feature.name}")
    is_open = feature.kind != "flag" and not feature.closed
    if is_open and any(is_invalid(column.unseen) for column in by_level):
        raise NotAScorecard(f"a step rejects unknown values of {feature.name}")


def _reject_invalid_levels(feature: Feature, column: DiscreteColumn) -> None:
    """Raise if a step raises for one of the categories in the signature."""
    if not is_invalid(column.unseen):
        return
    known = set(column.domain.levels) if isinstance(column.domain, Levels) else set()
    categories: tuple[Any, ...] = feature.categories if feature.closed else ()
    if feature.kind == "flag" and not categories:
        categories = (False, True)
    for value in categories:
        if value not in known:
            raise NotAScorecard(f"a step rejects {value!r} for {feature.name}")


def centre_terms(predictor: LinearPredictor, X: pd.DataFrame, *, in_units: bool) -> LinearPredictor:
    """Subtract the average of each term over the training rows, and add it to the intercept.

    An average much larger than the score would cost precision in every prediction, so it stays in
    its term. The moved averages add up to at most ``MAX_SHIFT``.

    Parameters
    ----------
    predictor : LinearPredictor
    X : DataFrame
    in_units : bool
        Whether the score is a value with a unit, whose precision is relative to its size.
    """
    averages = [_average_term(term, X) for term in predictor.terms]
    size = max(1.0, abs(predictor.intercept + sum(averages))) if in_units else 1.0
    budget = MAX_SHIFT * size
    intercept, terms = predictor.intercept, list(predictor.terms)
    for i in sorted(range(len(terms)), key=lambda position: abs(averages[position])):
        budget -= abs(averages[i])
        if budget < 0.0:
            break
        intercept += averages[i]
        terms[i] = _subtract(terms[i], averages[i])
    return LinearPredictor(intercept, tuple(terms), predictor.link)


def _average_term(term: Term, X: pd.DataFrame) -> float:
    """Return the average of a term over rows; 0 if a row is outside the domain of its curve."""
    lookup = term.compile_points()
    counts = X[term.feature].value_counts(dropna=False)
    points = [lookup(None if pd.isna(value) else value) for value in counts.index]
    average = float(np.average(points, weights=counts.to_numpy()))
    return average if math.isfinite(average) else 0.0


def _add_points(parts: Any) -> float:
    """Add up the weighted points of one case; 0 for a case that the service rejects."""
    points = [
        weight * value if isinstance(value, int | float) else math.nan for value, weight in parts
    ]
    total = float(sum(points))
    return total if math.isfinite(total) else 0.0


def _build_flag_term(
    feature: Feature, weighted: Sequence[WeightedColumn], missing: float
) -> TableTerm:
    """Build the table of a flag: its points for False and for True."""
    points = []
    for flag in (False, True):
        values = [evaluate_column(column, flag) for column, _ in weighted]
        is_rejected = feature.closed and feature.categories and flag not in feature.categories
        if any(map(is_invalid, values)) and not is_rejected:
            raise NotAScorecard(f"a step rejects {flag} for {feature.name}")
        points.append(_add_points((v, w) for v, (_, w) in zip(values, weighted, strict=True)))
    return TableTerm(feature.name, (False, True), tuple(points), missing, 0.0)


def _build_table_term(
    feature: Feature, weighted: Sequence[WeightedColumn], missing: float
) -> TableTerm:
    """Build the table of a category from columns, each of which may merge some categories."""
    domains = [c.domain for c, _ in weighted if isinstance(c, DiscreteColumn)]
    known_levels = [domain.levels for domain in domains if isinstance(domain, Levels)]
    levels = dict.fromkeys(level for known in known_levels for level in known)
    points = tuple(
        _add_points((evaluate_column(c, level), w) for c, w in weighted) for level in levels
    )
    unseen = _add_points((c.unseen, w) for c, w in weighted if isinstance(c, DiscreteColumn))
    return TableTerm(feature.name, tuple(levels), points, missing, unseen)


def evaluate_column(column: Column, value: Value) -> Any:
    """Return the value of a column for a value of its feature."""
    return build_column_function(column)(value)


def build_column_function(column: Column) -> Callable[[Value], Any]:
    """Build the function from a value of the feature to the value of a column."""
    if isinstance(column, DiscreteColumn) and isinstance(column.domain, Levels):
        known = dict(zip(column.domain.levels, column.values, strict=True))
        known[None] = column.missing
        return lambda value: known.get(value, column.unseen)
    path, pieces = _to_pieces(column, 1.0)
    return CurveTerm(column.feature, path, pieces, _to_float(column.missing)).compile_points()


def _to_float(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _to_pieces(
    column: Column, weight: float, inside: float | None = None
) -> tuple[tuple[Stage, ...], Pieces]:
    """Return a column as a path and the weighted polynomials at its end.

    With ``inside``, a number of its domain, the edges of intervals refer to raw numbers.
    """
    if isinstance(column, NumericColumn):
        stages, last = list(drop_marks(column.path)), _IDENTITY
        if stages and isinstance(end := stages[-1], Pieces):
            last = end
            stages.pop()
        while stages and isinstance(first := stages[-1], Affine) and is_line(last):
            last = compose_lines(first, last)
            stages.pop()
        return tuple(stages), scale_pieces(last, weight)
    path, edges, values = _split_into_intervals(column)
    path = drop_marks(path)
    if inside is not None:
        path, edges, values = move_edges_to_raw(path, edges, values, inside)
    points = [0.0 if is_invalid(value) else float(value) for value in values]
    constants = tuple((weight * point,) for point in points)
    return path, Pieces(edges, (0.0,) * len(constants), constants)


def _split_into_intervals(
    column: DiscreteColumn,
) -> tuple[tuple[Stage, ...], tuple[float, ...], Sequence[Any]]:
    """Return a discrete column by interval. A level of a number is a one-float interval."""
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


def _build_number_term(
    feature: Feature, path: tuple[Stage, ...], pieces: Pieces, missing: float
) -> StepTerm | SlopeTerm | CurveTerm:
    """Build the simplest type of term for polynomials."""
    if path or (pieces.edges and pieces.degree) or pieces.degree > 1:
        return CurveTerm(feature.name, path, pieces, missing)
    if pieces.degree == 0:
        points = tuple(polynomial[0] for polynomial in pieces.coefficients)
        return StepTerm(feature.name, pieces.edges, points, missing)
    offset, slope = pieces.coefficients[0]
    return SlopeTerm(feature.name, slope, pieces.origins[0], offset, missing)


def _subtract(term: Term, constant: float) -> Term:
    """Subtract a constant from a term."""
    missing = term.missing - constant
    if isinstance(term, SlopeTerm):
        return SlopeTerm(term.feature, term.slope, term.origin, term.offset - constant, missing)
    if isinstance(term, CurveSumTerm):
        first, *others = term.parts
        pieces = add_pieces(first.pieces, Pieces((), (0.0,), ((-constant,),)))
        first = CurveTerm(first.feature, first.path, pieces, 0.0)
        return CurveSumTerm(term.feature, (first, *others), missing)
    if isinstance(term, CurveTerm):
        pieces = add_pieces(term.pieces, Pieces((), (0.0,), ((-constant,),)))
        return CurveTerm(term.feature, term.path, pieces, missing)
    points = tuple(point - constant for point in term.points)
    if isinstance(term, TableTerm):
        return TableTerm(term.feature, term.levels, points, missing, term.unseen - constant)
    return StepTerm(term.feature, term.edges, points, missing)
