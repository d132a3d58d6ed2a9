"""What the model's page draws of its terms."""

from __future__ import annotations

from dataclasses import dataclass

from slipway.manifest import Manifest
from slipway.scorecard import Sum, Table, Term
from slipway.signature import Feature
from slipway.web import charts
from slipway.web.words import decimals, value_name

MOST_BARS = 12
MOST_ORDERED_BARS = 24
MOST_CLASSES = 6
MOST_TERMS = 6


@dataclass(frozen=True)
class TermCard:
    """What one feature can do to answers: bars by level, or a plot over its values."""

    feature: Feature
    term: Term
    bars: list[tuple[str, charts.Bar]]
    plot: charts.Plot | None

    @property
    def left_out(self) -> int:
        """How many levels have no bar."""
        return len(self.term.points) - len(self.bars) if isinstance(self.term, Table) else 0


@dataclass(frozen=True)
class SumCards:
    """The cards of one sum.

    Attributes
    ----------
    name : str
        The class that the sum is of; empty where there is only one sum.
    intercept : float
    cards : list of TermCard
        Those first that can move an answer the furthest.
    left_out : int
        How many terms have no card.
    digits : int
        Behind the point, in which the numbers are to be written.
    """

    name: str
    intercept: float
    cards: list[TermCard]
    left_out: int
    digits: int


def sum_cards(manifest: Manifest) -> list[SumCards]:
    """Draw the terms: all of a single sum, the largest of each where there are several.

    Parameters
    ----------
    manifest : Manifest

    Returns
    -------
    list of SumCards
        None where there is no scorecard; of many classes the first.
    """
    if manifest.scorecard is None:
        return []
    sums = manifest.scorecard.sums
    if len(sums) == 1:
        return [_cards("", sums[0], manifest, len(sums[0].terms))]
    classes = manifest.signature.target.classes[:MOST_CLASSES]
    return [
        _cards(name, each, manifest, MOST_TERMS) for name, each in zip(classes, sums, strict=False)
    ]


def _cards(name: str, total: Sum, manifest: Manifest, most: int) -> SumCards:
    """Draw the terms of a sum on one scale."""
    drawn = []
    for feature, term in zip(manifest.signature.features, total.terms, strict=True):
        x = charts.span(term, feature, _seen(manifest, feature))
        drawn.append((charts.reach(term, x), x, feature, term))
    drawn.sort(key=lambda each: each[0][0] - each[0][1])
    low = min((reach[0] for reach, *_ in drawn), default=-1.0)
    high = max((reach[1] for reach, *_ in drawn), default=1.0)
    cards = [_card(feature, term, x, low, high) for _, x, feature, term in drawn[:most]]
    digits = decimals(max(-low, high, abs(total.intercept)))
    return SumCards(name, total.intercept, cards, len(drawn) - len(cards), digits)


def _card(feature: Feature, term: Term, x: charts.Axis, low: float, high: float) -> TermCard:
    """Draw a term."""
    if isinstance(term, Table):
        return TermCard(feature, term, _level_bars(feature, term, low, high), None)
    return TermCard(feature, term, [], charts.term_plot(term, x, low, high))


def _seen(manifest: Manifest, feature: Feature) -> list[float]:
    """Give the range of training where it is known, else what the golden rows have."""
    if feature.seen is not None:
        return list(feature.seen)
    values = (row.record.get(feature.name) for row in manifest.golden)
    return [float(value) for value in values if isinstance(value, int | float)]


def _level_bars(
    feature: Feature, term: Table, low: float, high: float
) -> list[tuple[str, charts.Bar]]:
    """Draw a table's levels: numbers in their order, names by size, the largest of many."""
    levels = list(zip(term.levels, term.points, strict=True))
    if feature.kind == "category" or len(levels) > MOST_ORDERED_BARS:
        levels = sorted(levels, key=lambda level: -abs(level[1]))[:MOST_BARS]
        levels.sort(key=lambda level: -level[1])
    made = charts.bars((points for _, points in levels), max(-low, high))
    names = (value_name(feature, level) for level, _ in levels)
    return list(zip(names, made, strict=True))
