"""The charts of a learning curve."""

import msgspec
import pytest
from reports import CURVE, POINTS

from slipway.models.manifest import LearningPoint
from slipway.reports.learning_curve_charts import LogAxis, log_loss_plot, roc_auc_plot


def pairs(points):
    return [tuple(map(float, pair.split(","))) for pair in points.split()]


def inside(plot):
    """Whether everything drawn lies between the axes."""
    drawn = [pair for points in plot.lines.values() for pair in pairs(points)]
    drawn += [(dot.x, dot.y) for dot in plot.dots] + [(note.x, note.y) for note in plot.notes]
    return all(
        plot.x.start <= x <= plot.x.end and plot.y.end <= y <= plot.y.start for x, y in drawn
    )


def test_log_axis_equal_ratios_are_equally_far():
    axis = LogAxis(100, 10_000, 0, 200)
    assert [axis.place(value) for value in (100, 1_000, 10_000)] == [0, 100, 200]


@pytest.mark.parametrize(
    ("low", "high", "due"),
    [
        (300, 260_000, ["300", "1k", "3k", "10k", "30k", "100k"]),
        (300, 50_000_000, ["1k", "10k", "100k", "1M", "10M"]),
        (150, 450, ["300"]),
        (3e8, 4e9, ["300M", "1G", "3G"]),
    ],
)
def test_log_axis_ticks_are_few_and_short(low, high, due):
    axis = LogAxis(low, high, 0, 100)
    assert [axis.text(tick) for tick in axis.ticks] == due


def test_log_loss_plot_marks_spread_tolerance_and_size():
    plot = log_loss_plot(CURVE)
    assert inside(plot)
    x, y = plot.x, plot.y
    curve = [(x.place(point.rows), y.place(point.log_loss)) for point in POINTS]
    assert pairs(plot.lines["curve"]) == curve
    band = pairs(plot.lines["band"])
    assert band[0] == pytest.approx((x.start, y.place(0.64 + 0.018)), abs=0.01)
    assert band[-1] == pytest.approx((x.start, y.place(0.64 - 0.018)), abs=0.01)
    assert pairs(plot.lines["guide"])[0][1] == pytest.approx(y.place(0.4935), abs=0.01)
    assert {x for x, _ in pairs(plot.lines["chosen"])} == {plot.x.place(30_000)}
    assert [note.text for note in plot.notes] == ["30,000"]
    assert plot.dots[0].title == "300 rows: 0.6400 ± 0.0180, 3 fits"
    assert plot.dots[-1].title == "260,000 rows: 0.4915, one fit"


def test_roc_auc_plot_has_no_tolerance_and_its_note_below():
    plot = roc_auc_plot(CURVE)
    assert inside(plot)
    assert "guide" not in plot.lines
    assert plot.notes[0].y > plot.y.place(0.6)


def test_plot_of_a_single_size_is_drawn():
    one = msgspec.structs.replace(CURVE, points=(LearningPoint(200, 1, 0.7, 0.5),), recommended=200)
    for plot in (log_loss_plot(one), roc_auc_plot(one)):
        assert inside(plot)
        assert plot.dots[0].x == pytest.approx((plot.x.start + plot.x.end) / 2, abs=0.01)


def test_plot_tolerance_beyond_all_scores_has_no_line():
    assert "guide" not in log_loss_plot(msgspec.structs.replace(CURVE, tolerance=5.0)).lines
