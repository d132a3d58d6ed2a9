"""Compile a fitted scikit-learn pipeline into a scorecard, or say why it is not one.

Every column that a transformer makes is kept as a function of one raw feature: points by
level for a category, points by interval for a number. A transformer is one small rule that
turns such columns into others; the estimator's coefficients then weigh them, and the sum
over the columns of one feature is that feature's term. A step without a rule is refused.
"""

from __future__ import annotations

import warnings
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder, StandardScaler

from slipway.scorecard import Scorecard, Slope, Steps, Table, Term
from slipway.signature import Feature, Signature

_UNSEEN_TEXT = "\x00 no category is called this"


class NotAScorecard(Exception):
    """The pipeline is not a sum of one-feature terms, or has a step without a rule."""


@dataclass(frozen=True)
class Column:
    """One column on its way through the pipeline, as a function of one raw feature.

    Attributes
    ----------
    feature : str
    raw : bool
        Whether the column is still the feature itself.
    levels : dict, optional
        Values by category; None when the feature is a number.
    unseen : float
        The value for a category that is not in ``levels``.
    edges : tuple of float
        Where the intervals of a number begin, each edge belonging to the interval above it.
    offsets, slopes : tuple of float
        ``offset + slope * x`` in each interval; one longer than ``edges``.
    missing : float
        The value for a missing input; NaN while nothing has replaced it.
    """

    feature: str
    raw: bool = True
    levels: dict[Any, float] | None = None
    unseen: float = 0.0
    edges: tuple[float, ...] = ()
    offsets: tuple[float, ...] = (0.0,)
    slopes: tuple[float, ...] = (1.0,)
    missing: float = float("nan")


Columns = list[Column]


def compile_pipeline(pipeline: Pipeline, signature: Signature, X: pd.DataFrame) -> Scorecard:
    """Compile a fitted pipeline.

    Parameters
    ----------
    pipeline : Pipeline
        Transformers, then a binary ``LogisticRegression``.
    signature : Signature
        Its features are the columns of ``X``, in that order.
    X : DataFrame of shape (n_samples, n_features)
        The training rows; the terms are centred on them.

    Returns
    -------
    Scorecard

    Raises
    ------
    NotAScorecard
        With the step that has no rule.
    """
    estimator = pipeline[-1]
    if not isinstance(estimator, LogisticRegression) or len(estimator.classes_) != 2:
        raise NotAScorecard(f"no rule for {type(estimator).__name__} as the estimator")
    columns = apply_steps(pipeline[:-1], [Column(name) for name in X.columns])
    weights = estimator.coef_[0]
    parts: dict[str, Columns] = {name: [] for name in signature.names}
    for column, weight in zip(columns, weights, strict=True):
        parts[column.feature].append(_weighed(column, float(weight)))
    terms = [_term(feature, parts[feature.name]) for feature in signature.features]
    return _centred(float(estimator.intercept_[0]), terms, X)


@singledispatch
def apply_steps(step: Any, columns: Columns) -> Columns:
    """Give the columns that a fitted step makes of the columns it is given."""
    raise NotAScorecard(f"no rule for {type(step).__name__}")


@apply_steps.register
def _(step: Pipeline, columns: Columns) -> Columns:
    for _, part in step.steps:
        columns = apply_steps(part, columns)
    return columns


@apply_steps.register
def _(step: FeatureUnion, columns: Columns) -> Columns:
    made = [(apply_steps(part, columns), weight) for _, part, weight in step._iter()]
    if any(weight is not None for _, weight in made):
        raise NotAScorecard("no rule for the weights of a FeatureUnion")
    return [column for part, _ in made for column in part]


@apply_steps.register
def _(step: ColumnTransformer, columns: Columns) -> Columns:
    by_name = {column.feature: column for column in columns}
    made: Columns = []
    for name, part, chosen in step.transformers_:
        if name == "remainder" and part == "drop":
            continue
        if not all(isinstance(one, str) for one in chosen):
            raise NotAScorecard("no rule for columns that are not chosen by name")
        made += apply_steps(part, [by_name[one] for one in chosen])
    return made


@apply_steps.register
def _(step: OneHotEncoder, columns: Columns) -> Columns:
    if step.handle_unknown == "error":
        raise NotAScorecard("no rule for OneHotEncoder(handle_unknown='error')")
    made: Columns = []
    start = 0
    for position, (column, width) in enumerate(zip(columns, _widths(step), strict=True)):
        if not column.raw:
            raise NotAScorecard("no rule for a OneHotEncoder after another step")
        levels, answers = _probe(step, position)
        for values in answers[:, start : start + width].T:
            *known, missing, unseen = map(float, values)
            table = dict(zip(levels, known, strict=True))
            made.append(Column(column.feature, False, table, unseen, missing=missing))
        start += width
    return made


def _widths(step: OneHotEncoder) -> list[int]:
    """Count the columns that a one-hot encoder makes of each feature."""
    dropped = [0] * len(step.categories_)
    if step.drop_idx_ is not None:
        dropped = [int(index is not None) for index in step.drop_idx_]
    merged = getattr(step, "infrequent_categories_", [None] * len(step.categories_))
    sizes = zip(step.categories_, dropped, merged, strict=True)
    return [len(c) - d - (len(m) - 1 if m is not None else 0) for c, d, m in sizes]


def _probe(step: OneHotEncoder, position: int) -> tuple[list[Any], np.ndarray]:
    """Read the encoder's own answers for each category, a missing and an unseen value."""
    known = [c for c in step.categories_[position].tolist() if not pd.isna(c)]
    is_text = isinstance(known[0], str)
    probes = [*known, None if is_text else np.nan, _UNSEEN_TEXT if is_text else max(known) + 1]
    names = getattr(step, "feature_names_in_", range(len(step.categories_)))
    first = {n: [c[0]] * len(probes) for n, c in zip(names, step.categories_, strict=True)}
    frame = pd.DataFrame({**first, names[position]: probes})
    with warnings.catch_warnings():
        # The encoder warns of the unseen probe, which is unseen on purpose.
        warnings.filterwarnings("ignore", "Found unknown categories", UserWarning)
        encoded = step.transform(frame)
    return known, encoded.toarray() if step.sparse_output else np.asarray(encoded)


@apply_steps.register
def _(step: SimpleImputer, columns: Columns) -> Columns:
    if step.add_indicator or not all(column.raw for column in columns):
        raise NotAScorecard("no rule for this SimpleImputer")
    statistics = map(float, step.statistics_)
    return [replace(c, missing=s) for c, s in zip(columns, statistics, strict=True)]


@apply_steps.register
def _(step: MissingIndicator, columns: Columns) -> Columns:
    if not all(column.raw for column in columns):
        raise NotAScorecard("no rule for a MissingIndicator after another step")
    chosen = [columns[i] for i in step.features_]
    return [Column(c.feature, False, slopes=(0.0,), missing=1.0) for c in chosen]


@apply_steps.register
def _(step: StandardScaler, columns: Columns) -> Columns:
    means = step.mean_ if step.with_mean else np.zeros(len(columns))
    scales = step.scale_ if step.with_std else np.ones(len(columns))
    moved = zip(columns, means.tolist(), scales.tolist(), strict=True)
    return [_weighed(_shifted(column, -mean), 1.0 / scale) for column, mean, scale in moved]


@apply_steps.register
def _(step: KBinsDiscretizer, columns: Columns) -> Columns:
    if step.encode == "ordinal" or not all(column.raw for column in columns):
        raise NotAScorecard("no rule for this KBinsDiscretizer")
    made: Columns = []
    for column, all_edges in zip(columns, step.bin_edges_, strict=True):
        edges = tuple(map(float, all_edges[1:-1]))
        inside = bisect_right(edges, column.missing)
        for interval in range(len(edges) + 1):
            offsets = tuple(float(i == interval) for i in range(len(edges) + 1))
            slopes = (0.0,) * len(offsets)
            missing = float(inside == interval)
            made.append(Column(column.feature, False, None, 0.0, edges, offsets, slopes, missing))
    return made


def _shifted(column: Column, by: float) -> Column:
    """Add a constant to a column."""
    levels = column.levels
    return replace(
        column,
        raw=False,
        levels=None if levels is None else {k: v + by for k, v in levels.items()},
        unseen=column.unseen + by,
        offsets=tuple(offset + by for offset in column.offsets),
        missing=column.missing + by,
    )


def _weighed(column: Column, by: float) -> Column:
    """Multiply a column by a constant."""
    levels = column.levels
    return replace(
        column,
        raw=False,
        levels=None if levels is None else {k: v * by for k, v in levels.items()},
        unseen=column.unseen * by,
        offsets=tuple(offset * by for offset in column.offsets),
        slopes=tuple(slope * by for slope in column.slopes),
        missing=column.missing * by,
    )


def _term(feature: Feature, columns: Columns) -> Term:
    """Add up the weighed columns of one feature."""
    missing = sum(column.missing for column in columns)
    if any(column.levels is not None for column in columns):
        return _table(feature, columns, missing)
    edges = tuple(sorted({edge for column in columns for edge in column.edges}))
    starts = (float("-inf"), *edges)
    at = [[bisect_right(column.edges, start) for column in columns] for start in starts]
    slopes = [sum(c.slopes[i] for c, i in zip(columns, row, strict=True)) for row in at]
    offsets = [sum(c.offsets[i] for c, i in zip(columns, row, strict=True)) for row in at]
    if not any(slopes):
        return Steps(feature.name, edges, tuple(offsets), missing)
    if not edges:
        return Slope(feature.name, slopes[0], offsets[0], missing)
    raise NotAScorecard(f"no rule for {feature.name}: both binned and used as a number")


def _table(feature: Feature, columns: Columns, missing: float) -> Table:
    """Add up the columns of a category."""
    tables = [column.levels for column in columns if column.levels is not None]
    if len(tables) < len(columns):
        raise NotAScorecard(f"no rule for {feature.name}: both a category and a number")
    levels = list(tables[0])
    points = tuple(sum(table[level] for table in tables) for level in levels)
    unseen = sum(column.unseen for column in columns)
    return Table(feature.name, tuple(levels), points, missing, unseen)


def _centred(intercept: float, terms: Sequence[Term], X: pd.DataFrame) -> Scorecard:
    """Move each term's average over the training rows into the intercept."""
    centred = []
    for term in terms:
        lookup = term.lookup()
        counts = X[term.feature].value_counts(dropna=False)
        values = [None if pd.isna(value) else value for value in counts.index]
        points = [lookup(value) for value in values]
        average = float(np.average(points, weights=counts.to_numpy()))
        intercept += average
        centred.append(_lowered(term, average))
    return Scorecard(intercept, tuple(centred))


def _lowered(term: Term, by: float) -> Term:
    """Subtract a constant from a term."""
    missing = term.missing - by if term.missing == term.missing else 0.0
    if isinstance(term, Slope):
        return Slope(term.feature, term.slope, term.offset - by, missing)
    points = tuple(point - by for point in term.points)
    if isinstance(term, Table):
        return Table(term.feature, term.levels, points, missing, term.unseen - by)
    return Steps(term.feature, term.edges, points, missing)
