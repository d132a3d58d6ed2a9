"""Answer many rows at once with polars, from texts to the cells that they get.

Every row there is any doubt about is left out, as ``slipway.serving.batch.typed_columns`` says.
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
from slipway.serving.batch.typed_columns import may_be_empty, plain_number, text_columns

SIMPLE = (TableTerm, SlopeTerm, StepTerm)
# Python and polars part ways below this in how they write a number.
PLAINLY_WRITTEN = 1e-4


class ColumnScorer:
    """Answer the rows of a block by a sum of simple terms that gives the log-odds.

    Parameters
    ----------
    log_odds : LinearPredictor
    signature : Signature
    header : Header
        Where each feature stands.
    labels : tuple of str
        The cells before the probability, below the threshold and from it on.
    threshold : float
    by_score : bool
        Whether the sign of the log-odds chooses the label, in place of the threshold.
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
            _points(feature, term, pl.col(feature.name)).alias(feature.name)
            if feature.name in header.positions
            else pl.lit(term.missing).alias(feature.name)
            for feature, term in zip(signature.features, log_odds.terms, strict=True)
        ]
        first = signature.target.positive == signature.target.classes[0]
        score = pl.col("log_odds")
        above = score >= 0.0 if first else score > 0.0
        positive = above if by_score else pl.col("probability") >= threshold
        self._label = pl.when(positive).then(pl.lit(labels[1])).otherwise(pl.lit(labels[0]))

    def __call__(self, block: Block) -> list[str | None]:
        """Give the cells that each row gets, or None where there is any doubt."""
        try:
            cells = text_columns(block, self._header)
        except UnicodeEncodeError:
            # Some text is not UTF-8; the careful way says which.
            return [None] * len(block.texts)
        # One step after the other: a column that two expressions use is then computed once.
        points = cells.select(self._points)
        log_odds = reduce(add, points.get_columns(), self._intercept)
        scores = pl.DataFrame({"log_odds": log_odds}).with_columns(probability(pl.col("log_odds")))
        # What is not a number is no answer; the careful way says so.
        scores = scores.with_columns(pl.col("probability").fill_nan(None))
        written = _written(scores["probability"])
        return (
            scores.select(pl.concat_str([self._label, written, pl.lit(",,")])).to_series().to_list()
        )


def probability(log_odds: pl.Expr) -> pl.Expr:
    """Turn log-odds into probabilities, by the same steps as ``slipway.models.stages.sigmoid``."""
    odds = log_odds.exp()
    small = odds / (1.0 + odds)
    large = 1.0 / (1.0 + (-log_odds).exp())
    return pl.when(log_odds >= 0).then(large).otherwise(small).alias("probability")


def _written(scores: pl.Series) -> pl.Series:
    """Write probabilities as Python does."""
    texts = scores.cast(pl.String)
    least = scores.min()
    if least is None or least >= PLAINLY_WRITTEN:  # type: ignore[operator]
        return texts
    # polars writes 0.00001 and 2e-7 where Python has 1e-05 and 2e-07.
    for found, put in (
        (r"^0\.0000(\d)$", "${1}e-05"),
        (r"^0\.0000(\d)(\d+)$", "${1}.${2}e-05"),
        (r"e-(\d)$", "e-0${1}"),
    ):
        texts = texts.str.replace(found, put)
    return texts


def _points(feature: Feature, term: Term, text: pl.Expr) -> pl.Expr:
    """Give a feature's points from its cells; null where there is any doubt."""
    points = _lookup(term, feature, text)
    if not may_be_empty(feature):
        return points
    return pl.when(text == "").then(pl.lit(term.missing)).otherwise(points)


@singledispatch
def _lookup(term: object, feature: Feature, text: pl.Expr) -> pl.Expr:
    """Give a term's points for cells that are not empty; null where there is any doubt."""
    raise NotImplementedError(type(term).__name__)


@_lookup.register
def _(term: TableTerm, feature: Feature, text: pl.Expr) -> pl.Expr:
    # Looked up by its text, in the two ways in which a program writes a whole number.
    points: dict[str, float] = {}
    for level, adds in zip(term.levels, term.points, strict=True):
        if isinstance(level, bool):
            points[str(level).lower()] = adds
        elif feature.categories and level not in feature.categories:
            continue
        elif isinstance(level, str):
            points[level] = adds
        elif _ordinary(feature, level):
            points |= {str(level): adds, f"{level}.0": adds}
    if not feature.has_text(""):
        points.pop("", None)
    return text.replace_strict(points, default=None, return_dtype=pl.Float64)


@_lookup.register
def _(term: SlopeTerm, feature: Feature, text: pl.Expr) -> pl.Expr:
    return term.offset + term.slope * (plain_number(feature, text) - term.origin)


@_lookup.register
def _(term: StepTerm, feature: Feature, text: pl.Expr) -> pl.Expr:
    # Below the range and above it lies an interval of null points, so that one search finds
    # both the points and what is out of range.
    whole = feature.is_integer_column or feature.whole
    largest = LARGEST_INTEGER if whole else sys.float_info.max
    least, most = feature.ordinary_range
    low = -largest if least is None else max(least, -largest)
    high = largest if most is None else min(most, largest)
    inside = [edge for edge in term.edges if low < edge <= high]
    first = bisect_right(term.edges, low)
    edges = pl.Series([low, *inside, nextafter(high, inf)], dtype=pl.Float64)
    known = term.points[first : first + len(inside) + 1]
    points = pl.Series([None, *known, None], dtype=pl.Float64)
    value = (
        plain_number(feature, text) if feature.categories else text.cast(pl.Float64, strict=False)
    )
    found = pl.lit(points).gather(pl.lit(edges).search_sorted(value, side="right"))
    if whole:
        return pl.when(value == value.floor()).then(found)
    return pl.when(value.is_not_nan()).then(found)


def _ordinary(feature: Feature, number: float) -> bool:
    """Whether there is nothing to say about a number."""
    low, high = feature.ordinary_range
    return (low is None or number >= low) and (high is None or number <= high)
