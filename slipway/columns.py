"""Answer many rows at once with polars, and leave out every row there is any doubt about.

What is left out gets no answer here: a cell that is not plainly a number in its range or a
known category, a row of the wrong width. The careful way then answers it or says what is
wrong, so that nothing is decided twice.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from functools import reduce, singledispatch
from math import inf, nextafter
from operator import add

import polars as pl

from slipway.csvfile import Block, Header
from slipway.scorecard import Scorecard, Slope, Steps, Table, Term
from slipway.signature import LARGEST_INTEGER, Feature, Signature


class ColumnScorer:
    """Answer the rows of a block.

    Parameters
    ----------
    scorecard : Scorecard
    signature : Signature
    header : Header
        Where each feature stands.
    labels : tuple of str
        The cells before the probability, below the threshold and from it on.
    threshold : float
    """

    def __init__(
        self,
        scorecard: Scorecard,
        signature: Signature,
        header: Header,
        labels: tuple[str, str],
        threshold: float,
    ) -> None:
        self._n_columns = len(header.names)
        self._positions = header.positions
        self._intercept = scorecard.intercept
        self._points = [
            _points(feature, term, pl.col(feature.name)).alias(feature.name)
            if feature.name in header.positions
            else pl.lit(term.missing).alias(feature.name)
            for feature, term in zip(signature.features, scorecard.terms, strict=True)
        ]
        score = pl.col("probability")
        label = pl.when(score >= threshold).then(pl.lit(labels[1])).otherwise(pl.lit(labels[0]))
        self._added = pl.concat_str([label, score.cast(pl.String), pl.lit(",,")])

    def __call__(self, block: Block) -> list[str | None]:
        """Give the cells that each row gets, or None where there is any doubt."""
        try:
            cells = self._cells(block)
        except UnicodeEncodeError:
            # Some text is not UTF-8; the careful way says which.
            return [None] * len(block.texts)
        # One step after the other: a column that two expressions use is then computed once.
        points = cells.select(self._points)
        log_odds = reduce(add, points.get_columns(), self._intercept)
        scores = pl.DataFrame({"log_odds": log_odds}).select(probability(pl.col("log_odds")))
        return scores.select(self._added).to_series().to_list()

    def _cells(self, block: Block) -> pl.DataFrame:
        """Give the features' cells, null in a row of the wrong width."""
        if block.cells is None:
            rows = pl.DataFrame({"row": block.texts}, schema={"row": pl.String})
            fields = rows.select(pl.col("row").str.splitn(",", self._n_columns)).unnest("row")
            # The last field takes all that is left: another comma in it, or none of it, misfits.
            fits = ~fields.to_series(-1).str.contains(",", literal=True)
            cells = fields.select(
                pl.col(f"field_{position}").alias(name)
                for name, position in self._positions.items()
            )
            whole = fits.all(ignore_nulls=False)
            return cells if whole else cells.select(pl.when(fits).then(pl.all()))
        width = self._n_columns
        return pl.DataFrame(
            {
                name: [row[position] if len(row) == width else None for row in block.cells]
                for name, position in self._positions.items()
            },
            schema=dict.fromkeys(self._positions, pl.String),
        )


def probability(log_odds: pl.Expr) -> pl.Expr:
    """Turn log-odds into probabilities, by the same steps as ``scorecard.probability``."""
    odds = log_odds.exp()
    small = odds / (1.0 + odds)
    large = 1.0 / (1.0 + (-log_odds).exp())
    return pl.when(log_odds >= 0).then(large).otherwise(small).alias("probability")


def _points(feature: Feature, term: Term, text: pl.Expr) -> pl.Expr:
    """Give a feature's points from its cells; null where there is any doubt."""
    points = _lookup(term, feature, text)
    if not feature.nullable:
        return points
    return pl.when(text == "").then(pl.lit(term.missing)).otherwise(points)


@singledispatch
def _lookup(term: object, feature: Feature, text: pl.Expr) -> pl.Expr:
    """Give a term's points for cells that are not empty; null where there is any doubt."""
    raise NotImplementedError(type(term).__name__)


@_lookup.register
def _(term: Table, feature: Feature, text: pl.Expr) -> pl.Expr:
    # Looked up by its text, in the two ways in which a program writes a whole number.
    points: dict[str, float] = {}
    for level, adds in zip(term.levels, term.points, strict=True):
        if isinstance(level, bool):
            points[str(level).lower()] = adds
        elif isinstance(level, str):
            points[level] = adds
        elif feature.holds(level):
            points |= {str(level): adds, f"{level}.0": adds}
    points.pop("", None)
    return text.replace_strict(points, default=None, return_dtype=pl.Float64)


@_lookup.register
def _(term: Slope, feature: Feature, text: pl.Expr) -> pl.Expr:
    value = text.cast(pl.Float64, strict=False)
    plain = value.is_finite()
    if feature.minimum is not None:
        plain = plain & (value >= feature.minimum)
    if feature.maximum is not None:
        plain = plain & (value <= feature.maximum)
    if feature.kind == "integer":
        plain = plain & (value == value.floor()) & (value.abs() <= LARGEST_INTEGER)
    return pl.when(plain).then(term.offset + term.slope * value)


@_lookup.register
def _(term: Steps, feature: Feature, text: pl.Expr) -> pl.Expr:
    # Below the range and above it lies an interval of null points, so that one search finds
    # both the points and what is out of range.
    largest = LARGEST_INTEGER if feature.kind == "integer" else sys.float_info.max
    low = -largest if feature.minimum is None else feature.minimum
    high = largest if feature.maximum is None else feature.maximum
    inside = [edge for edge in term.edges if low < edge <= high]
    first = bisect_right(term.edges, low)
    edges = pl.Series([low, *inside, nextafter(high, inf)], dtype=pl.Float64)
    known = term.points[first : first + len(inside) + 1]
    points = pl.Series([None, *known, None], dtype=pl.Float64)
    value = text.cast(pl.Float64, strict=False)
    found = pl.lit(points).gather(pl.lit(edges).search_sorted(value, side="right"))
    if feature.kind == "integer":
        return pl.when(value == value.floor()).then(found)
    return pl.when(value.is_not_nan()).then(found)
