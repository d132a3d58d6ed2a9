"""A linear model as a sum of one-feature terms: score one record, many, or explain one.

    log-odds = intercept + sum of term_f(x_f);    probability = 1 / (1 + exp(-log-odds))

Nothing here needs scikit-learn: ``slipway.compiler`` makes a scorecard from a fitted
pipeline, JSON carries it, and the standard library scores with it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from itertools import repeat
from math import exp
from operator import add
from typing import Any

import msgspec

from slipway.signature import Record

Points = Callable[[Any], float]


class Table(msgspec.Struct, frozen=True, tag="table", tag_field="kind"):
    """Points by category, for a missing value, and for one that training has not seen."""

    feature: str
    levels: tuple[str | int | bool, ...]
    points: tuple[float, ...]
    missing: float
    unseen: float

    def lookup(self) -> Points:
        """Build the function from a value to its points."""
        table = _Levels(zip(self.levels, self.points, strict=True))
        table[None] = self.missing
        table.unseen = self.unseen
        return table.__getitem__


class Slope(msgspec.Struct, frozen=True, tag="slope", tag_field="kind"):
    """Points in proportion to a number: ``offset + slope * x``."""

    feature: str
    slope: float
    offset: float
    missing: float

    def lookup(self) -> Points:
        """Build the function from a number to its points."""
        slope, offset, missing = self.slope, self.offset, self.missing
        return lambda x: missing if x is None else offset + slope * x


class Steps(msgspec.Struct, frozen=True, tag="steps", tag_field="kind"):
    """Points by interval: ``points[i]`` from ``edges[i - 1]``, itself included, on."""

    feature: str
    edges: tuple[float, ...]
    points: tuple[float, ...]
    missing: float

    def lookup(self) -> Points:
        """Build the function from a number to its points."""
        edges, points, missing = self.edges, self.points, self.missing
        return lambda x: missing if x is None else points[bisect_right(edges, x)]


Term = Table | Slope | Steps


class Scorecard(msgspec.Struct, frozen=True):
    """The intercept and one term a feature, in the order of the signature's features.

    The terms are centred on the training rows, so that the intercept is the average row's
    log-odds and a contribution says how far a value moves the answer from there.
    """

    intercept: float
    terms: tuple[Term, ...]

    def scorer(self) -> Callable[[Iterable[Any]], float]:
        """Build the function from one record to its log-odds."""
        intercept = self.intercept
        lookups = [term.lookup() for term in self.terms]

        def log_odds(record: Iterable[Any]) -> float:
            total = intercept
            for points, value in zip(lookups, record, strict=True):
                total += points(value)
            return total

        return log_odds

    def column_scorer(self) -> Callable[[Iterable[Record]], list[float]]:
        """Build the function from many records to their log-odds.

        It adds the same numbers in the same order as ``scorer``, a feature at a time: the
        loops are C's then, and a value that comes again is looked up once.
        """
        intercept = self.intercept
        lookups = [term.lookup() for term in self.terms]

        def log_odds(records: Iterable[Record]) -> list[float]:
            totals: Iterable[float] = repeat(intercept)
            for points, column in zip(lookups, zip(*records, strict=True), strict=True):
                table = _Known(points)
                totals = map(add, totals, map(table.__getitem__, column))
            return list(totals)

        return log_odds

    def explain(self, record: Record) -> dict[str, float]:
        """Give each feature's contribution to the log-odds of a record.

        Parameters
        ----------
        record : tuple
            Checked values in the features' order.

        Returns
        -------
        dict of str to float
            With the intercept these sum to the log-odds.
        """
        pairs = zip(self.terms, record, strict=True)
        return {term.feature: term.lookup()(value) for term, value in pairs}


class _Known(dict[Any, float]):
    """A table that looks a value up when it first comes, and remembers its points."""

    def __init__(self, points: Points) -> None:
        super().__init__()
        self._points = points

    def __missing__(self, value: object) -> float:
        points = self[value] = self._points(value)
        return points


class _Levels(dict[Any, float]):
    """A table that answers for unseen values too, at a dictionary's own speed for the rest."""

    unseen: float

    def __missing__(self, value: object) -> float:
        return self.unseen


def probability(log_odds: float) -> float:
    """Turn log-odds into a probability, without overflow for any finite or infinite number.

    Parameters
    ----------
    log_odds : float

    Returns
    -------
    float
        ``1 / (1 + exp(-log_odds))``, the inverse of the logit.
    """
    if log_odds >= 0:
        return 1.0 / (1.0 + exp(-log_odds))
    odds = exp(log_odds)
    return odds / (1.0 + odds)
