"""Geometry of the charts of pages and reports: numbers in, places in an SVG out.

The templates draw them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, isfinite, log10, sqrt
from typing import NamedTuple

from slipway.models.features import Feature
from slipway.models.manifest import CalibrationBin
from slipway.models.scorecard import SlopeTerm, StepTerm, TableTerm, Term

Point = tuple[float, float]

WIDTH = 320
LEFT, RIGHT, TOP, BOTTOM = 38, 12, 26, 38
SAMPLES = 60
# A curve can have steps that must not look like slopes.
BENT_SAMPLES = 600


class Bar(NamedTuple):
    """A bar on a line 100 wide with its zero in the middle."""

    points: float
    x: float
    width: float


class Note(NamedTuple):
    """A text in a drawing, which begins, is centred or ends at a place."""

    x: float
    y: float
    anchor: str
    text: str


class Dot(NamedTuple):
    """A circle, and what it says when it is pointed at."""

    x: float
    y: float
    radius: float
    title: str


@dataclass(frozen=True)
class Axis:
    """Numbers from ``low`` to ``high``, drawn from pixel ``start`` to pixel ``end``."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """Give the pixel of a number."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 2)

    @property
    def ticks(self) -> tuple[float, ...]:
        """Round numbers along the axis, about five of them."""
        step = _round_step((self.high - self.low) / 5)
        # A tick at the very end must not be lost to the last bit of a division.
        first, last = ceil(self.low / step - 1e-9), floor(self.high / step + 1e-9)
        return tuple(round(i * step, 12) for i in range(first, last + 1))

    def text(self, tick: float) -> str:
        """Write a tick."""
        return f"{tick:g}"


@dataclass(frozen=True)
class Plot:
    """Axes and what lies between them.

    Attributes
    ----------
    x, y : Axis
    lines : dict of str to str
        By CSS class: the ``points`` of an SVG polyline.
    dots : tuple of Dot
    notes : tuple of Note
    """

    x: Axis
    y: Axis
    lines: dict[str, str]
    dots: tuple[Dot, ...] = ()
    notes: tuple[Note, ...] = ()

    @property
    def width(self) -> int:
        """The drawing's width with its margins."""
        return WIDTH

    @property
    def height(self) -> float:
        """The drawing's height with its margins."""
        return self.y.start + BOTTOM


def bars(points: Iterable[float], largest: float) -> list[Bar]:
    """Lay out bars to the right of a zero in the middle, or to the left of it.

    Parameters
    ----------
    points : iterable of float
    largest : float
        The absolute value that fills one half.

    Returns
    -------
    list of Bar
    """
    made = []
    for value in points:
        width = round(50 * min(abs(value) / largest, 1.0), 2) if largest else 0.0
        made.append(Bar(value, 50.0 if value >= 0 else 50.0 - width, width))
    return made


def calibration_plot(bins: Sequence[CalibrationBin]) -> Plot:
    """Plot the observed rate over the predicted one; a dot's area grows with its rows."""
    x, y = _unit_axes()
    most = max((each.rows for each in bins), default=1)
    dots = tuple(
        Dot(
            x.place(each.predicted),
            y.place(each.observed),
            round(2 + 7 * sqrt(each.rows / most), 2),
            f"{each.rows:,} rows: {each.predicted:.1%} predicted, {each.observed:.1%} observed",
        )
        for each in bins
    )
    curve = [(each.predicted, each.observed) for each in bins]
    return Plot(x, y, {"guide": line(x, y, [(0, 0), (1, 1)]), "curve": line(x, y, curve)}, dots)


def roc_plot(points: Sequence[Point]) -> Plot:
    """Plot the true over the false positive rate; guessing lies on the diagonal."""
    x, y = _unit_axes()
    return Plot(x, y, {"guide": line(x, y, [(0, 0), (1, 1)]), "curve": line(x, y, points)})


def precision_recall_plot(points: Sequence[Point], base_rate: float) -> Plot:
    """Plot precision over recall; guessing lies on the base rate."""
    x, y = _unit_axes()
    guide = [(0, base_rate), (1, base_rate)]
    return Plot(x, y, {"guide": line(x, y, guide), "curve": line(x, y, points)})


def span(term: Term, feature: Feature, seen: Sequence[float]) -> Axis:
    """Choose the values over which a term is drawn.

    Parameters
    ----------
    term : Term
    feature : Feature
        Its range is not left.
    seen : sequence of float
        Values of the feature, which set the axis where the term has no edges.

    Returns
    -------
    Axis
    """
    marks = term.edges if isinstance(term, StepTerm) else seen
    start, end = min(marks, default=0.0), max(marks, default=1.0)
    margin = 0.08 * (end - start) or max(abs(start) * 0.1, 1.0)
    start, end = start - margin, end + margin
    if feature.minimum is not None:
        start = min(max(start, feature.minimum), end - margin)
    return Axis(start, end, LEFT, WIDTH - RIGHT)


def term_plot(
    term: Term, x: Axis, low: float, high: float, reaches: Sequence[float] | None = None
) -> Plot:
    """Plot what a feature adds to the score over its value.

    Parameters
    ----------
    term : Term
        Any but a table.
    x : Axis
    low, high : float
        The ends of the y-axis, the same for all the plots of a model.
    reaches : sequence of float, optional
        How far an interval reaches to either side of each point of ``curve``; it is drawn as
        a band, in the place of the area under the curve.

    Returns
    -------
    Plot
    """
    y = Axis(1.05 * low, 1.05 * high, TOP + 120, TOP)
    points = curve(term, x)
    zero = [(x.low, 0.0), (x.high, 0.0)]
    if reaches is None:
        # A curve may be undefined at the ends.
        ends = (points[0][0], points[-1][0]) if points else (x.low, x.high)
        filled = {"area": line(x, y, [(ends[0], 0.0), *points, (ends[1], 0.0)])}
    else:
        filled = {"band": band(x, y, points, reaches)}
    return Plot(x, y, filled | {"guide": line(x, y, zero), "curve": line(x, y, points)})


def band(x: Axis, y: Axis, points: Sequence[Point], reaches: Sequence[float]) -> str:
    """Write the points of what lies within a reach of a curve: there above it, back below."""
    above = [(a, b + far) for (a, b), far in zip(points, reaches, strict=True)]
    below = [(a, b - far) for (a, b), far in zip(points, reaches, strict=True)]
    return line(x, y, [*above, *reversed(below)])


def reach(term: Term, x: Axis) -> tuple[float, float]:
    """Give the least and the most that a feature adds, zero included."""
    every = term.points if isinstance(term, TableTerm) else [y for _, y in curve(term, x)]
    # Two ends that are the same would leave an axis without length.
    return min([-0.05, *every]), max([0.05, *every])


def line(x: Axis, y: Axis, points: Iterable[Point]) -> str:
    """Write the points of a polyline."""
    return " ".join(f"{x.place(a):g},{y.place(b):g}" for a, b in points)


def curve(term: Term, x: Axis) -> list[Point]:
    """Give points of a term that is drawn over numbers; there are none where it is undefined."""
    if isinstance(term, StepTerm):
        sides = (x.low, *term.edges, x.high)
        spans = zip(pairwise(sides), term.points, strict=True)
        return [(side, value) for span, value in spans for side in span]
    points = term.compile_points()
    samples = SAMPLES if isinstance(term, SlopeTerm) else BENT_SAMPLES
    values = (x.low + (x.high - x.low) * i / samples for i in range(samples + 1))
    return [(value, at) for value in values if isfinite(at := points(value))]


def _unit_axes() -> tuple[Axis, Axis]:
    """Make the axes of two shares."""
    return Axis(0, 1, LEFT, WIDTH - RIGHT), Axis(0, 1, TOP + 220, TOP)


def _round_step(least: float) -> float:
    """Give the next of 1, 2, 5, 10, 20, 50 and so on, at any power of ten."""
    power: float = 10.0 ** floor(log10(least))
    return next(power * m for m in (1, 2, 5, 10) if least <= power * m * (1 + 1e-9))
