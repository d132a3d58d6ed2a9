"""Charts of the terms of a model, for its page and its report."""

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

MAX_BARS = 12
MAX_ORDERED_BARS = 24
MAX_CLASSES = 6
MAX_TERMS = 6


class LevelBar(NamedTuple):
    """A level of a table: its name, its bar, and half the width of its interval.

    The interval is that of the difference from the example of the feature. It is None if unknown,
    and for the example itself.
    """

    name: str
    bar: charts.Bar
    half_width: float | None


@dataclass(frozen=True)
class TermCard:
    """The contributions of one feature: bars by level, or a plot over its values.

    Attributes
    ----------
    feature : Feature
    term : Term
    bars : list of LevelBar
    plot : Plot, optional
    reference : str
        The example, which is the reference of the intervals; empty without intervals.
    """

    feature: Feature
    term: Term
    bars: list[LevelBar]
    plot: charts.Plot | None
    reference: str

    @property
    def left_out(self) -> int:
        """The number of levels without a bar."""
        return len(self.term.points) - len(self.bars) if isinstance(self.term, TableTerm) else 0


@dataclass(frozen=True)
class _MeasuredTerm:
    """A term with the ranges of its axes.

    Attributes
    ----------
    feature : Feature
    term : Term
    x : Axis
    width : float
        The largest contribution minus the smallest.
    low, high : float
        The ends of the y-axis, including the intervals.
    half_widths : list of float, optional
        Half the width of the interval at each point of the curve.
    """

    feature: Feature
    term: Term
    x: charts.Axis
    width: float
    low: float
    high: float
    half_widths: list[float] | None = None


@dataclass(frozen=True)
class SumCards:
    """The cards of one sum.

    Attributes
    ----------
    name : str
        The class of the sum; empty for a single sum.
    intercept : float
    cards : list of TermCard
        Sorted by the width of the contributions, the widest first.
    left_out : int
        The number of terms without a card.
    digits : int
        The number of decimal places of the numbers.
    """

    name: str
    intercept: float
    cards: list[TermCard]
    left_out: int
    digits: int


def sum_cards(manifest: Manifest, uncertainty: Uncertainty | None = None) -> list[SumCards]:
    """Build the cards of the terms: all terms of a single sum, the largest of several sums.

    Parameters
    ----------
    manifest : Manifest
    uncertainty : Uncertainty, optional
        Needed to draw intervals.

    Returns
    -------
    list of SumCards
        Empty without a scorecard; only the first classes if there are many.
    """
    if manifest.scorecard is None:
        return []
    sums = manifest.scorecard.sums
    if len(sums) == 1:
        intervals = _build_intervals(manifest, uncertainty)
        return [_build_sum_cards("", sums[0], manifest, len(sums[0].terms), intervals)]
    classes = manifest.signature.target.classes[:MAX_CLASSES]
    return [
        _build_sum_cards(name, predictor, manifest, MAX_TERMS)
        for name, predictor in zip(classes, sums, strict=False)
    ]


def score_unit(manifest: Manifest) -> str:
    """Return the unit of the scores; empty without a scorecard."""
    card, target = manifest.scorecard, manifest.signature.target
    if card is None:
        return ""
    if card.is_log_odds:
        return "log-odds"
    is_value = target.task == "regression" and not card.sums[0].link
    return (target.unit or target.name) if is_value else "score"


def _build_intervals(manifest: Manifest, uncertainty: Uncertainty | None) -> TermIntervals | None:
    """Create the intervals. The import is local, because a service does not need it."""
    if uncertainty is None:
        return None
    from slipway.reports.term_intervals import TermIntervals

    return TermIntervals(uncertainty, manifest.signature)


def _build_sum_cards(
    name: str,
    predictor: LinearPredictor,
    manifest: Manifest,
    max_cards: int,
    intervals: TermIntervals | None = None,
) -> SumCards:
    """Build the cards of a sum on one scale."""
    features = zip(manifest.signature.features, predictor.terms, strict=True)
    measured = [_measure_term(manifest, feature, term, intervals) for feature, term in features]
    measured.sort(key=lambda term: -term.width)
    low = min((term.low for term in measured), default=-1.0)
    high = max((term.high for term in measured), default=1.0)
    cards = [_build_term_card(term, low, high, intervals) for term in measured[:max_cards]]
    digits = decimals(max(-low, high, abs(predictor.intercept)))
    return SumCards(name, predictor.intercept, cards, len(measured) - len(cards), digits)


def _measure_term(
    manifest: Manifest, feature: Feature, term: Term, intervals: TermIntervals | None
) -> _MeasuredTerm:
    """Measure a term and, if it is a curve, its intervals."""
    x = charts.choose_x_axis(term, feature, _find_training_values(manifest, feature))
    low, high = charts.find_range(term, x)
    if intervals is None or isinstance(term, TableTerm):
        return _MeasuredTerm(feature, term, x, high - low, low, high)
    half_widths = intervals.half_widths(feature.name, term, x)
    points = [y for _, y in charts.sample_curve(term, x)]
    lowest = min([low, *(y - half for y, half in zip(points, half_widths, strict=True))])
    highest = max([high, *(y + half for y, half in zip(points, half_widths, strict=True))])
    return _MeasuredTerm(feature, term, x, high - low, lowest, highest, half_widths)


def _build_term_card(
    measured: _MeasuredTerm, low: float, high: float, intervals: TermIntervals | None
) -> TermCard:
    """Build the card of a term."""
    feature, term = measured.feature, measured.term
    reference = "" if intervals is None else value_name(feature, feature.example)
    if isinstance(term, TableTerm):
        return TermCard(
            feature, term, _build_bars(feature, term, (low, high), intervals), None, reference
        )
    plot = charts.term_plot(term, measured.x, low, high, measured.half_widths)
    return TermCard(feature, term, [], plot, reference)


def _find_training_values(manifest: Manifest, feature: Feature) -> list[float]:
    """Return the training range of a feature, or the values of the golden rows."""
    if feature.seen is not None:
        return list(feature.seen)
    values = (row.record.get(feature.name) for row in manifest.golden)
    return [float(value) for value in values if isinstance(value, int | float)]


def _build_bars(
    feature: Feature, term: TableTerm, limits: tuple[float, float], intervals: TermIntervals | None
) -> list[LevelBar]:
    """Build the bars of a table: numbers in order, categories by size, the largest of many."""
    levels = list(zip(term.levels, term.points, strict=True))
    if feature.kind == "category" or len(levels) > MAX_ORDERED_BARS:
        levels = sorted(levels, key=lambda level: -abs(level[1]))[:MAX_BARS]
        levels.sort(key=lambda level: -level[1])
    layout = charts.layout_bars((points for _, points in levels), max(-limits[0], limits[1]))
    return [
        LevelBar(value_name(feature, level), bar, _find_half_width(feature, level, intervals))
        for (level, _), bar in zip(levels, layout, strict=True)
    ]


def _find_half_width(
    feature: Feature, level: Value, intervals: TermIntervals | None
) -> float | None:
    """Return half the width of the interval of a level; None for the example."""
    is_example = level == feature.example
    return None if intervals is None or is_example else intervals.half_width(feature.name, level)
