"""What the page and the report of a model draw of its terms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from slipway.models.features import Feature, Value
from slipway.models.manifest import Manifest
from slipway.models.scorecard import LinearPredictor, TableTerm, Term
from slipway.reports import svg_charts as charts
from slipway.reports.formatting import decimals, value_name

if TYPE_CHECKING:
    from slipway.models.intervals import Uncertainty
    from slipway.reports.term_intervals import TermIntervals

MOST_BARS = 12
MOST_ORDERED_BARS = 24
MOST_CLASSES = 6
MOST_TERMS = 6


class LevelBar(NamedTuple):
    """A level of a table: its name, its points, and how far an interval reaches from them.

    The interval is that of the difference from the feature's example; None where it is not
    known, and where the level is the example.
    """

    name: str
    bar: charts.Bar
    reach: float | None


@dataclass(frozen=True)
class TermCard:
    """What one feature can do to answers: bars by level, or a plot over its values.

    Attributes
    ----------
    feature : Feature
    term : Term
    bars : list of LevelBar
    plot : Plot, optional
    against : str
        The example, which the intervals compare with; empty without intervals.
    """

    feature: Feature
    term: Term
    bars: list[LevelBar]
    plot: charts.Plot | None
    against: str

    @property
    def left_out(self) -> int:
        """How many levels have no bar."""
        return len(self.term.points) - len(self.bars) if isinstance(self.term, TableTerm) else 0


@dataclass(frozen=True)
class _Drawn:
    """A term measured: how far it moves answers, and how much room its drawing takes.

    Attributes
    ----------
    feature : Feature
    term : Term
    x : Axis
    moves : float
        How far apart the least and the most are that it adds.
    low, high : float
        The ends of its drawing, with the intervals.
    reaches : list of float, optional
        How far an interval reaches to either side of each point of its curve.
    """

    feature: Feature
    term: Term
    x: charts.Axis
    moves: float
    low: float
    high: float
    reaches: list[float] | None = None


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


def sum_cards(manifest: Manifest, uncertainty: Uncertainty | None = None) -> list[SumCards]:
    """Draw the terms: all of a single sum, the largest of each where there are several.

    Parameters
    ----------
    manifest : Manifest
    uncertainty : Uncertainty, optional
        With it, intervals are drawn as well.

    Returns
    -------
    list of SumCards
        None where there is no scorecard; of many classes the first.
    """
    if manifest.scorecard is None:
        return []
    sums = manifest.scorecard.sums
    if len(sums) == 1:
        contrasts = _contrasts(manifest, uncertainty)
        return [_cards("", sums[0], manifest, len(sums[0].terms), contrasts)]
    classes = manifest.signature.target.classes[:MOST_CLASSES]
    return [
        _cards(name, each, manifest, MOST_TERMS) for name, each in zip(classes, sums, strict=False)
    ]


def score_unit(manifest: Manifest) -> str:
    """Say what the sums of a model are measured in; empty where there are none."""
    card, target = manifest.scorecard, manifest.signature.target
    if card is None:
        return ""
    if card.is_log_odds:
        return "log-odds"
    is_value = target.task == "regression" and not card.sums[0].link
    return (target.unit or target.name) if is_value else "score"


def _contrasts(manifest: Manifest, uncertainty: Uncertainty | None) -> TermIntervals | None:
    """Make ready the intervals; a service that shows none does not load what they need."""
    if uncertainty is None:
        return None
    from slipway.reports.term_intervals import TermIntervals

    return TermIntervals(uncertainty, manifest.signature)


def _cards(
    name: str,
    total: LinearPredictor,
    manifest: Manifest,
    most: int,
    contrasts: TermIntervals | None = None,
) -> SumCards:
    """Draw the terms of a sum on one scale."""
    features = zip(manifest.signature.features, total.terms, strict=True)
    drawn = [_drawn(manifest, feature, term, contrasts) for feature, term in features]
    drawn.sort(key=lambda each: -each.moves)
    low = min((each.low for each in drawn), default=-1.0)
    high = max((each.high for each in drawn), default=1.0)
    cards = [_card(each, low, high, contrasts) for each in drawn[:most]]
    digits = decimals(max(-low, high, abs(total.intercept)))
    return SumCards(name, total.intercept, cards, len(drawn) - len(cards), digits)


def _drawn(
    manifest: Manifest, feature: Feature, term: Term, contrasts: TermIntervals | None
) -> _Drawn:
    """Measure a term, with its intervals where there are some and it is drawn as a curve."""
    x = charts.span(term, feature, _seen(manifest, feature))
    low, high = charts.reach(term, x)
    if contrasts is None or isinstance(term, TableTerm):
        return _Drawn(feature, term, x, high - low, low, high)
    reaches = contrasts.reaches(feature.name, term, x)
    points = [y for _, y in charts.curve(term, x)]
    lowest = min([low, *(y - far for y, far in zip(points, reaches, strict=True))])
    highest = max([high, *(y + far for y, far in zip(points, reaches, strict=True))])
    return _Drawn(feature, term, x, high - low, lowest, highest, reaches)


def _card(drawn: _Drawn, low: float, high: float, contrasts: TermIntervals | None) -> TermCard:
    """Draw a term."""
    feature, term = drawn.feature, drawn.term
    against = "" if contrasts is None else value_name(feature, feature.example)
    if isinstance(term, TableTerm):
        return TermCard(feature, term, _bars(feature, term, (low, high), contrasts), None, against)
    plot = charts.term_plot(term, drawn.x, low, high, drawn.reaches)
    return TermCard(feature, term, [], plot, against)


def _seen(manifest: Manifest, feature: Feature) -> list[float]:
    """Give the range of training where it is known, else what the golden rows have."""
    if feature.seen is not None:
        return list(feature.seen)
    values = (row.record.get(feature.name) for row in manifest.golden)
    return [float(value) for value in values if isinstance(value, int | float)]


def _bars(
    feature: Feature, term: TableTerm, ends: tuple[float, float], contrasts: TermIntervals | None
) -> list[LevelBar]:
    """Draw a table's levels: numbers in their order, names by size, the largest of many."""
    levels = list(zip(term.levels, term.points, strict=True))
    if feature.kind == "category" or len(levels) > MOST_ORDERED_BARS:
        levels = sorted(levels, key=lambda level: -abs(level[1]))[:MOST_BARS]
        levels.sort(key=lambda level: -level[1])
    made = charts.bars((points for _, points in levels), max(-ends[0], ends[1]))
    return [
        LevelBar(value_name(feature, level), bar, _reach(feature, level, contrasts))
        for (level, _), bar in zip(levels, made, strict=True)
    ]


def _reach(feature: Feature, level: Value, contrasts: TermIntervals | None) -> float | None:
    """Give how far the interval of a level's difference from the example reaches."""
    is_example = level == feature.example
    return None if contrasts is None or is_example else contrasts.reach(feature.name, level)
