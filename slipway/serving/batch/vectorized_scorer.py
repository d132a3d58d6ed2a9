"""Score many rows at once with polars, from text to the added cells.

Rows that are not valid with certainty are left out, as in ``slipway.serving.batch.typed_columns``.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from functools import reduce, singledispatch
from math import inf, nextafter
from operator import add

import polars as pl

from slipway.models.features import Feature
from slipway.models.scorecard import LinearPredictor, SlopeTerm, StepTerm, TableTerm, Term
from slipway.models.signature import Signature
from slipway.models.validation import LARGEST_INTEGER
from slipway.serving.batch.csv_header import Header
from slipway.serving.batch.csv_reader import Block
from slipway.serving.batch.typed_columns import accepts_empty, read_number, read_text_columns

SIMPLE_TERMS = (TableTerm, SlopeTerm, StepTerm)
# Python and polars format smaller numbers differently.
MIN_SAME_FORMAT = 1e-4


class ColumnScorer:
    """Scores the rows of a block with a sum of simple terms that returns log-odds.

    Parameters
    ----------
    log_odds : LinearPredictor
    signature : Signature
    header : Header
    labels : tuple of str
        The cells of the negative and the positive label.
    threshold : float
        The lowest probability of the positive label.
    by_score : bool
        Whether the sign of the log-odds chooses the label instead of the threshold.
    """

    def __init__(
        self,
        log_odds: LinearPredictor,
        signature: Signature,
        header: Header,
        labels: tuple[str, str],
        threshold: float,
        *,
        by_score: bool = False,
    ) -> None:
        self._header = header
        self._intercept = log_odds.intercept
        self._points = [
            _points_expression(feature, term, pl.col(feature.name)).alias(feature.name)
            if feature.name in header.positions
            else pl.lit(term.missing).alias(feature.name)
            for feature, term in zip(signature.features, log_odds.terms, strict=True)
        ]
        positive_first = signature.target.positive == signature.target.classes[0]
        score = pl.col("log_odds")
        above = score >= 0.0 if positive_first else score > 0.0
        positive = above if by_score else pl.col("probability") >= threshold
        self._label = pl.when(positive).then(pl.lit(labels[1])).otherwise(pl.lit(labels[0]))

    def __call__(self, block: Block) -> list[str | None]:
        """Return the added cells of each row; None for rows that are not valid with certainty."""
        try:
            cells = read_text_columns(block, self._header)
        except UnicodeEncodeError:
            # Some text is not UTF-8; the check of each row reports it.
            return [None] * len(block.texts)
        # Separate steps compute a column once that two expressions use.
        points = cells.select(self._points)
        log_odds = reduce(add, points.get_columns(), self._intercept)
        scores = pl.DataFrame({"log_odds": log_odds}).with_columns(
            to_probability(pl.col("log_odds"))
        )
        # NaN is not a prediction; the check of each row reports it.
        scores = scores.with_columns(pl.col("probability").fill_nan(None))
        texts = _format_probabilities(scores["probability"])
        return (
            scores.select(pl.concat_str([self._label, texts, pl.lit(",,")])).to_series().to_list()
        )


def to_probability(log_odds: pl.Expr) -> pl.Expr:
    """Return the probabilities of log-odds, by the steps of ``slipway.models.stages.sigmoid``."""
    odds = log_odds.exp()
    small = odds / (1.0 + odds)
    large = 1.0 / (1.0 + (-log_odds).exp())
    return pl.when(log_odds >= 0).then(large).otherwise(small).alias("probability")


def _format_probabilities(scores: pl.Series) -> pl.Series:
    """Format probabilities as Python does."""
    texts = scores.cast(pl.String)
    lowest = scores.min()
    if lowest is None or lowest >= MIN_SAME_FORMAT:  # type: ignore[operator]
        return texts
    # polars writes 0.00001 and 2e-7 where Python has 1e-05 and 2e-07.
    for pattern, replacement in (
        (r"^0\.0000(\d)$", "${1}e-05"),
        (r"^0\.0000(\d)(\d+)$", "${1}.${2}e-05"),
        (r"e-(\d)$", "e-0${1}"),
    ):
        texts = texts.str.replace(pattern, replacement)
    return texts


def _points_expression(feature: Feature, term: Term, text: pl.Expr) -> pl.Expr:
    """Return the points of a feature; null for uncertain values."""
    points = _lookup(term, feature, text)
    if not accepts_empty(feature):
        return points
    return pl.when(text == "").then(pl.lit(term.missing)).otherwise(points)


@singledispatch
def _lookup(term: object, feature: Feature, text: pl.Expr) -> pl.Expr:
    """Return the points of a term for cells that are not empty; null for uncertain values."""
    raise NotImplementedError(type(term).__name__)


@_lookup.register
def _(term: TableTerm, feature: Feature, text: pl.Expr) -> pl.Expr:
    # The keys are texts; a program writes a whole number in two ways.
    points: dict[str, float] = {}
    for level, level_points in zip(term.levels, term.points, strict=True):
        if isinstance(level, bool):
            points[str(level).lower()] = level_points
        elif feature.categories and level not in feature.categories:
            continue
        elif isinstance(level, str):
            points[level] = level_points
        elif _is_ordinary(feature, level):
            points |= {str(level): level_points, f"{level}.0": level_points}
    if not feature.has_text(""):
        points.pop("", None)
    return text.replace_strict(points, default=None, return_dtype=pl.Float64)


@_lookup.register
def _(term: SlopeTerm, feature: Feature, text: pl.Expr) -> pl.Expr:
    return term.offset + term.slope * (read_number(feature, text) - term.origin)


@_lookup.register
def _(term: StepTerm, feature: Feature, text: pl.Expr) -> pl.Expr:
    # An interval of null points on each side of the range makes one search find both the points
    # and the values out of range.
    whole = feature.is_integer_column or feature.whole
    largest = LARGEST_INTEGER if whole else sys.float_info.max
    minimum, maximum = feature.ordinary_range
    low = -largest if minimum is None else max(minimum, -largest)
    high = largest if maximum is None else min(maximum, largest)
    inside = [edge for edge in term.edges if low < edge <= high]
    first = bisect_right(term.edges, low)
    edges = pl.Series([low, *inside, nextafter(high, inf)], dtype=pl.Float64)
    known = term.points[first : first + len(inside) + 1]
    points = pl.Series([None, *known, None], dtype=pl.Float64)
    value = (
        read_number(feature, text) if feature.categories else text.cast(pl.Float64, strict=False)
    )
    result = pl.lit(points).gather(pl.lit(edges).search_sorted(value, side="right"))
    if whole:
        return pl.when(value == value.floor()).then(result)
    return pl.when(value.is_not_nan()).then(result)


def _is_ordinary(feature: Feature, number: float) -> bool:
    """Return whether a number causes no error or warning."""
    low, high = feature.ordinary_range
    return (low is None or number >= low) and (high is None or number <= high)
