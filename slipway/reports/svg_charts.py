"""Geometry of the charts of pages and reports: convert numbers to SVG coordinates.

The templates draw the charts.
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
# More samples for curves, so that a step does not look like a slope.
CURVE_SAMPLES = 600


class Bar(NamedTuple):
    """A bar on an axis 100 wide with zero in the middle."""

    points: float
    x: float
    width: float


class Note(NamedTuple):
    """A text in a chart, with its anchor: start, middle or end."""

    x: float
    y: float
    anchor: str
    text: str


class Dot(NamedTuple):
    """A circle and its tooltip."""

    x: float
    y: float
    radius: float
    title: str


@dataclass(frozen=True)
class Axis:
    """An axis for numbers from ``low`` to ``high``, from pixel ``start`` to pixel ``end``."""

    low: float
    high: float
    start: float
    end: float

    def to_pixel(self, value: float) -> float:
        """Return the pixel of a number."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 2)

    @property
    def ticks(self) -> tuple[float, ...]:
        """About five round numbers along the axis."""
        step = _round_step((self.high - self.low) / 5)
        # The tolerance keeps a tick at the very end, despite the rounding of the division.
        first, last = ceil(self.low / step - 1e-9), floor(self.high / step + 1e-9)
        return tuple(round(i * step, 12) for i in range(first, last + 1))

    def text(self, tick: float) -> str:
        """Return the label of a tick."""
        return f"{tick:g}"


@dataclass(frozen=True)
class Plot:
    """Two axes and the content between them.

    Attributes
    ----------
    x, y : Axis
    lines : dict of str to str
        The ``points`` of SVG polylines, by CSS class.
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
        """The width of the chart with its margins, in pixels."""
        return WIDTH

    @property
    def height(self) -> float:
        """The height of the chart with its margins, in pixels."""
        return self.y.start + BOTTOM


def layout_bars(points: Iterable[float], largest: float) -> list[Bar]:
    """Return horizontal bars to the right or left of a zero in the middle.

    Parameters
    ----------
    points : iterable of float
    largest : float
        The absolute value that fills one half.

    Returns
    -------
    list of Bar
    """
    layout = []
    for value in points:
        width = round(50 * min(abs(value) / largest, 1.0), 2) if largest else 0.0
        layout.append(Bar(value, 50.0 if value >= 0 else 50.0 - width, width))
    return layout


def calibration_plot(bins: Sequence[CalibrationBin]) -> Plot:
    """Plot the observed over the predicted rate. Larger dots have more rows."""
    x, y = _unit_axes()
    largest = max((b.rows for b in bins), default=1)
    dots = tuple(
        Dot(
            x.to_pixel(b.predicted),
            y.to_pixel(b.observed),
            round(2 + 7 * sqrt(b.rows / largest), 2),
            f"{b.rows:,} rows: {b.predicted:.1%} predicted, {b.observed:.1%} observed",
        )
        for b in bins
    )
    points = [(b.predicted, b.observed) for b in bins]
    return Plot(
        x,
        y,
        {"guide": polyline(x, y, [(0, 0), (1, 1)]), "curve": polyline(x, y, points)},
        dots,
    )


def roc_plot(points: Sequence[Point]) -> Plot:
    """Plot the true over the false positive rate. Guessing lies on the diagonal."""
    x, y = _unit_axes()
    return Plot(x, y, {"guide": polyline(x, y, [(0, 0), (1, 1)]), "curve": polyline(x, y, points)})


def precision_recall_plot(points: Sequence[Point], base_rate: float) -> Plot:
    """Plot precision over recall. Guessing lies on the base rate."""
    x, y = _unit_axes()
    guide = [(0, base_rate), (1, base_rate)]
    return Plot(x, y, {"guide": polyline(x, y, guide), "curve": polyline(x, y, points)})


def choose_x_axis(term: Term, feature: Feature, seen: Sequence[float]) -> Axis:
    """Choose the x-axis of the plot of a term.

    Parameters
    ----------
    term : Term
    feature : Feature
        The axis stays within its range.
    seen : sequence of float
        Values of the feature, which define the axis of a term without edges.

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
    term: Term, x: Axis, low: float, high: float, half_widths: Sequence[float] | None = None
) -> Plot:
    """Plot the contribution of a feature to the score over its value.

    Parameters
    ----------
    term : Term
        Any term except a table.
    x : Axis
    low, high : float
        The ends of the y-axis, the same for all plots of a model.
    half_widths : sequence of float, optional
        Half the width of the interval at each point of the curve. The intervals are drawn as a
        band, which replaces the area under the curve.

    Returns
    -------
    Plot
    """
    y = Axis(1.05 * low, 1.05 * high, TOP + 120, TOP)
    points = sample_curve(term, x)
    zero = [(x.low, 0.0), (x.high, 0.0)]
    if half_widths is None:
        # A curve may be undefined at the ends.
        ends = (points[0][0], points[-1][0]) if points else (x.low, x.high)
        shape = {"area": polyline(x, y, [(ends[0], 0.0), *points, (ends[1], 0.0)])}
    else:
        shape = {"band": band_outline(x, y, points, half_widths)}
    return Plot(x, y, shape | {"guide": polyline(x, y, zero), "curve": polyline(x, y, points)})


def band_outline(x: Axis, y: Axis, points: Sequence[Point], half_widths: Sequence[float]) -> str:
    """Return the outline of a band around a curve: along the top, then back along the bottom."""
    above = [(a, b + half) for (a, b), half in zip(points, half_widths, strict=True)]
    below = [(a, b - half) for (a, b), half in zip(points, half_widths, strict=True)]
    return polyline(x, y, [*above, *reversed(below)])


def find_range(term: Term, x: Axis) -> tuple[float, float]:
    """Return the smallest and largest contribution of a feature, including zero."""
    values = term.points if isinstance(term, TableTerm) else [y for _, y in sample_curve(term, x)]
    # The margin avoids an axis of length zero.
    return min([-0.05, *values]), max([0.05, *values])


def polyline(x: Axis, y: Axis, points: Iterable[Point]) -> str:
    """Return the points of a polyline as text."""
    return " ".join(f"{x.to_pixel(a):g},{y.to_pixel(b):g}" for a, b in points)


def sample_curve(term: Term, x: Axis) -> list[Point]:
    """Sample a term that is drawn over numbers; skip numbers where it is undefined."""
    if isinstance(term, StepTerm):
        sides = (x.low, *term.edges, x.high)
        spans = zip(pairwise(sides), term.points, strict=True)
        return [(side, value) for interval, value in spans for side in interval]
    points = term.compile_points()
    samples = SAMPLES if isinstance(term, SlopeTerm) else CURVE_SAMPLES
    values = (x.low + (x.high - x.low) * i / samples for i in range(samples + 1))
    return [(value, point) for value in values if isfinite(point := points(value))]


def _unit_axes() -> tuple[Axis, Axis]:
    """Return two axes from 0 to 1."""
    return Axis(0, 1, LEFT, WIDTH - RIGHT), Axis(0, 1, TOP + 220, TOP)


def _round_step(smallest: float) -> float:
    """Round up to 1, 2 or 5 times a power of ten."""
    power: float = 10.0 ** floor(log10(smallest))
    return next(power * m for m in (1, 2, 5, 10) if smallest <= power * m * (1 + 1e-9))
