"""Charts of a learning curve."""

import msgspec
import pytest
from reports import CURVE, POINTS

from slipway.models.manifest import LearningPoint
from slipway.reports.learning_curve_charts import LogAxis, log_loss_plot, roc_auc_plot


def parse_points(points):
    return [tuple(map(float, pair.split(","))) for pair in points.split()]


def is_inside(plot):
    """Return whether everything is drawn between the axes."""
    coordinates = [pair for points in plot.lines.values() for pair in parse_points(points)]
    coordinates += [(dot.x, dot.y) for dot in plot.dots] + [(note.x, note.y) for note in plot.notes]
    return all(
        plot.x.start <= x <= plot.x.end and plot.y.end <= y <= plot.y.start for x, y in coordinates
    )


def test_log_axis_equal_ratios_have_equal_distances():
    axis = LogAxis(100, 10_000, 0, 200)
    assert [axis.to_pixel(value) for value in (100, 1_000, 10_000)] == [0, 100, 200]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (300, 260_000, ["300", "1k", "3k", "10k", "30k", "100k"]),
        (300, 50_000_000, ["1k", "10k", "100k", "1M", "10M"]),
        (150, 450, ["300"]),
        (3e8, 4e9, ["300M", "1G", "3G"]),
    ],
)
def test_log_axis_ticks_are_few_and_short(low, high, expected):
    axis = LogAxis(low, high, 0, 100)
    assert [axis.text(tick) for tick in axis.ticks] == expected


def test_log_loss_plot_marks_deviation_tolerance_and_size():
    plot = log_loss_plot(CURVE)
    assert is_inside(plot)
    x, y = plot.x, plot.y
    curve = [(x.to_pixel(point.rows), y.to_pixel(point.log_loss)) for point in POINTS]
    assert parse_points(plot.lines["curve"]) == curve
    band = parse_points(plot.lines["band"])
    assert band[0] == pytest.approx((x.start, y.to_pixel(0.64 + 0.018)), abs=0.01)
    assert band[-1] == pytest.approx((x.start, y.to_pixel(0.64 - 0.018)), abs=0.01)
    assert parse_points(plot.lines["guide"])[0][1] == pytest.approx(y.to_pixel(0.4935), abs=0.01)
    assert {x for x, _ in parse_points(plot.lines["chosen"])} == {plot.x.to_pixel(30_000)}
    assert [note.text for note in plot.notes] == ["30,000"]
    assert plot.dots[0].title == "300 rows: 0.6400 ± 0.0180, 3 fits"
    assert plot.dots[-1].title == "260,000 rows: 0.4915, one fit"


def test_roc_auc_plot_has_no_tolerance_and_note_below():
    plot = roc_auc_plot(CURVE)
    assert is_inside(plot)
    assert "guide" not in plot.lines
    assert plot.notes[0].y > plot.y.to_pixel(0.6)


def test_plots_single_size_is_centred():
    one = msgspec.structs.replace(CURVE, points=(LearningPoint(200, 1, 0.7, 0.5),), recommended=200)
    for plot in (log_loss_plot(one), roc_auc_plot(one)):
        assert is_inside(plot)
        assert plot.dots[0].x == pytest.approx((plot.x.start + plot.x.end) / 2, abs=0.01)


def test_log_loss_plot_tolerance_above_all_scores_has_no_line():
    assert "guide" not in log_loss_plot(msgspec.structs.replace(CURVE, tolerance=5.0)).lines
