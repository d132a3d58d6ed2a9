"""The charts of a learning curve: two scores over the number of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log, log10

from slipway.models.manifest import LearningCurve, LearningPoint
from slipway.reports.svg_charts import LEFT, RIGHT, TOP, WIDTH, Axis, Dot, Note, Plot, band, line

HEIGHT = 180
ROOM = 0.06


class LogAxis(Axis):
    """An axis on which equal steps are equal ratios."""

    def place(self, value: float) -> float:
        """Give the pixel of a number."""
        share = log(value / self.low) / log(self.high / self.low)
        return round(self.start + share * (self.end - self.start), 2)

    @property
    def ticks(self) -> tuple[float, ...]:
        """Powers of ten and, where there is room for them, three times as much."""
        powers = range(floor(log10(self.low)), ceil(log10(self.high)) + 1)
        steps = (1, 3) if log10(self.high / self.low) < 4 else (1,)
        every = (float(step * 10**power) for power in powers for step in steps)
        return tuple(tick for tick in every if self.low <= tick <= self.high)

    def text(self, tick: float) -> str:
        """Write a tick: 300, 10k, 3M."""
        for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
            if tick >= unit:
                return f"{tick / unit:g}{name}"
        return f"{tick:g}"


@dataclass(frozen=True)
class Score:
    """A score of every size: the means, and the standard deviations where there are any."""

    points: Sequence[LearningPoint]
    means: Sequence[float]
    deviations: Sequence[float | None]

    @property
    def spreads(self) -> list[float]:
        """The standard deviations; none is no width."""
        return [deviation or 0.0 for deviation in self.deviations]

    @property
    def y(self) -> Axis:
        """An axis for all of it, with room above and below."""
        low = min(mean - sd for mean, sd in zip(self.means, self.spreads, strict=True))
        high = max(mean + sd for mean, sd in zip(self.means, self.spreads, strict=True))
        room = ROOM * (high - low) or 0.01
        return Axis(low - room, high + room, TOP + HEIGHT, TOP)

    def dots(self, x: Axis, y: Axis) -> tuple[Dot, ...]:
        """Mark the means."""
        rows = zip(self.points, self.means, self.deviations, strict=True)
        return tuple(
            Dot(x.place(point.rows), y.place(mean), 3.0, _said(point, mean, deviation))
            for point, mean, deviation in rows
        )


def log_loss_plot(curve: LearningCurve) -> Plot:
    """Plot the log loss over the number of rows, and what is good enough."""
    points = curve.points
    score = Score(points, [p.log_loss for p in points], [p.log_loss_sd for p in points])
    return _plot(curve, score, enough=min(score.means) + curve.tolerance)


def roc_auc_plot(curve: LearningCurve) -> Plot:
    """Plot the area under the ROC curve over the number of rows."""
    points = curve.points
    score = Score(points, [p.roc_auc for p in points], [p.roc_auc_sd for p in points])
    return _plot(curve, score)


def _plot(curve: LearningCurve, score: Score, enough: float | None = None) -> Plot:
    """Plot a score with its spread, and mark the size that is recommended.

    Its note stands where the curve does not go: above a loss, which falls, below a share,
    which rises.
    """
    x, y = _rows_axis(curve.points), score.y
    means = [(point.rows, mean) for point, mean in zip(curve.points, score.means, strict=True)]
    lines = {"band": band(x, y, means, score.spreads)}
    if enough is not None and enough < y.high:
        lines["guide"] = line(x, y, [(x.low, enough), (x.high, enough)])
    lines["chosen"] = line(x, y, [(curve.recommended, y.low), (curve.recommended, y.high)])
    lines["curve"] = line(x, y, means)
    level = y.start - 6 if enough is None else y.end + 9
    return Plot(x, y, lines, score.dots(x, y), (_chosen(curve.recommended, x, level),))


def _rows_axis(points: Sequence[LearningPoint]) -> LogAxis:
    """Make the axis of rows; a single size stands in the middle."""
    low, high = float(points[0].rows), float(points[-1].rows)
    if low == high:
        low, high = low / 2, high * 2
    return LogAxis(low, high, LEFT, WIDTH - RIGHT)


def _chosen(rows: int, x: Axis, level: float) -> Note:
    """Write the recommended size beside its line, on the side that has more room."""
    place = x.place(rows)
    left = place > (x.start + x.end) / 2
    return Note(place - 5 if left else place + 5, level, "end" if left else "start", f"{rows:,}")


def _said(point: LearningPoint, mean: float, deviation: float | None) -> str:
    """Say what a dot stands for."""
    if deviation is None:
        return f"{point.rows:,} rows: {mean:.4f}, one fit"
    return f"{point.rows:,} rows: {mean:.4f} ± {deviation:.4f}, {point.fits} fits"
