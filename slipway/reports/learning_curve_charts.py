"""Charts of a learning curve: two scores over the number of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log, log10

from slipway.models.manifest import LearningCurve, LearningPoint
from slipway.reports.svg_charts import (
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Axis,
    Dot,
    Note,
    Plot,
    band_outline,
    polyline,
)

HEIGHT = 180
MARGIN = 0.06


class LogAxis(Axis):
    """A logarithmic axis."""

    def to_pixel(self, value: float) -> float:
        """Return the pixel of a number."""
        share = log(value / self.low) / log(self.high / self.low)
        return round(self.start + share * (self.end - self.start), 2)

    @property
    def ticks(self) -> tuple[float, ...]:
        """Powers of ten and, on a short axis, three times each."""
        powers = range(floor(log10(self.low)), ceil(log10(self.high)) + 1)
        steps = (1, 3) if log10(self.high / self.low) < 4 else (1,)
        candidates = (float(step * 10**power) for power in powers for step in steps)
        return tuple(tick for tick in candidates if self.low <= tick <= self.high)

    def text(self, tick: float) -> str:
        """Return the label of a tick: 300, 10k, 3M."""
        for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
            if tick >= unit:
                return f"{tick / unit:g}{name}"
        return f"{tick:g}"


@dataclass(frozen=True)
class Score:
    """One score at every size: means, and standard deviations of sizes with several fits."""

    points: Sequence[LearningPoint]
    means: Sequence[float]
    deviations: Sequence[float | None]

    @property
    def spreads(self) -> list[float]:
        """The standard deviations; zero for a single fit."""
        return [deviation or 0.0 for deviation in self.deviations]

    @property
    def y(self) -> Axis:
        """An axis for all means and deviations, with a margin above and below."""
        low = min(mean - sd for mean, sd in zip(self.means, self.spreads, strict=True))
        high = max(mean + sd for mean, sd in zip(self.means, self.spreads, strict=True))
        margin = MARGIN * (high - low) or 0.01
        return Axis(low - margin, high + margin, TOP + HEIGHT, TOP)

    def dots(self, x: Axis, y: Axis) -> tuple[Dot, ...]:
        """Return a dot for each mean."""
        rows = zip(self.points, self.means, self.deviations, strict=True)
        return tuple(
            Dot(
                x.to_pixel(point.rows),
                y.to_pixel(mean),
                3.0,
                _format_tooltip(point, mean, deviation),
            )
            for point, mean, deviation in rows
        )


def log_loss_plot(curve: LearningCurve) -> Plot:
    """Plot the log loss over the number of rows, with the tolerance as a guide."""
    points = curve.points
    score = Score(points, [p.log_loss for p in points], [p.log_loss_sd for p in points])
    return _build_plot(curve, score, threshold=min(score.means) + curve.tolerance)


def roc_auc_plot(curve: LearningCurve) -> Plot:
    """Plot the area under the ROC curve over the number of rows."""
    points = curve.points
    score = Score(points, [p.roc_auc for p in points], [p.roc_auc_sd for p in points])
    return _build_plot(curve, score)


def _build_plot(curve: LearningCurve, score: Score, threshold: float | None = None) -> Plot:
    """Plot a score with its standard deviation, and mark the recommended size.

    The label of the size avoids the curve: above a log loss, which falls, and below an area, which
    rises.
    """
    x, y = _rows_axis(curve.points), score.y
    means = [(point.rows, mean) for point, mean in zip(curve.points, score.means, strict=True)]
    lines = {"band": band_outline(x, y, means, score.spreads)}
    if threshold is not None and threshold < y.high:
        lines["guide"] = polyline(x, y, [(x.low, threshold), (x.high, threshold)])
    lines["chosen"] = polyline(x, y, [(curve.recommended, y.low), (curve.recommended, y.high)])
    lines["curve"] = polyline(x, y, means)
    level = y.start - 6 if threshold is None else y.end + 9
    return Plot(x, y, lines, score.dots(x, y), (_label_size(curve.recommended, x, level),))


def _rows_axis(points: Sequence[LearningPoint]) -> LogAxis:
    """Return the axis of rows. A single size is centred."""
    low, high = float(points[0].rows), float(points[-1].rows)
    if low == high:
        low, high = low / 2, high * 2
    return LogAxis(low, high, LEFT, WIDTH - RIGHT)


def _label_size(rows: int, x: Axis, level: float) -> Note:
    """Return the label of the recommended size, on the side of its line with more space."""
    pixel = x.to_pixel(rows)
    is_left = pixel > (x.start + x.end) / 2
    return Note(
        pixel - 5 if is_left else pixel + 5, level, "end" if is_left else "start", f"{rows:,}"
    )


def _format_tooltip(point: LearningPoint, mean: float, deviation: float | None) -> str:
    """Return the tooltip of a dot."""
    if deviation is None:
        return f"{point.rows:,} rows: {mean:.4f}, one fit"
    return f"{point.rows:,} rows: {mean:.4f} ± {deviation:.4f}, {point.fits} fits"
