"""The learning curve: samples, scores and the recommended size."""

import msgspec
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss
from small_problem import PROBLEM, parcels

from slipway.core.errors import SlipwayError
from slipway.models.manifest import LearningPoint, Training
from slipway.training.engines.memory import fit
from slipway.training.evaluation import learning_curve as learning
from slipway.training.evaluation.learning_curve import (
    choose_sizes,
    count_fits,
    draw_sample,
    learning_curve,
    recommend_size,
    row_losses,
)
from slipway.training.evaluation.metrics import score_probabilities
from slipway.training.frames import Rows
from slipway.training.splits import Split


def made_rows(n_rows, y=None, every=1):
    """Build parcels in memory, with every fifth held out."""
    table = pd.DataFrame(parcels(n_rows), columns=["number", "day", "d", "weight", "stops", "y"])
    X = table[["weight", "stops"]].assign(depot=table["d"].map({1: "north", 2: "south", 3: "west"}))
    labels = table["y"] if y is None else pd.Series(y)
    held_out = np.arange(n_rows) % 5 == 0
    return Rows(X, labels, table["number"], None, held_out, every, {})


def halves(rows):
    return Split("", np.flatnonzero(~rows.held_out), np.flatnonzero(rows.held_out))


def curve_of(rows, problem=PROBLEM, progress=lambda line: None, **wanted):
    return learning_curve(problem, rows, halves(rows), progress, **wanted)


@pytest.fixture(scope="module")
def rows():
    return made_rows(3_000)


@pytest.fixture(scope="module")
def curve(rows):
    return curve_of(rows)


@pytest.mark.parametrize(
    ("n_rows", "expected"),
    [
        (100, [100]),
        (300, [300]),
        (301, [300, 301]),
        (2_400, [300, 600, 1200, 2400]),
        (5_000, [300, 610, 1200, 2500, 5000]),
    ],
)
def test_choose_sizes_doubles_up_to_all_rows(n_rows, expected):
    assert choose_sizes(n_rows) == expected


def test_choose_sizes_many_rows_have_few_sizes():
    assert len(choose_sizes(100_000_000)) == 19


def test_count_fits_large_samples_have_fewer():
    assert [count_fits(size, 1000, 5) for size in (100, 250, 500, 999, 1000)] == [5, 4, 2, 2, 1]
    assert count_fits(500, 1000, 1) == 1


def test_draw_sample_smaller_is_part_of_the_larger(rows):
    places = halves(rows).fit
    small, large = (set(draw_sample(places, rows.y, size, seed=3)) for size in (300, 700))
    assert len(small) == 300
    assert small < large < set(places)
    assert small != set(draw_sample(places, rows.y, 300, seed=4))


def test_draw_sample_keeps_the_share_of_each_class():
    y = pd.Series([1] * 30 + [0] * 970)
    for size in (100, 333, 1000):
        sample = draw_sample(np.arange(1000), y, size, seed=0)
        assert y.to_numpy()[sample].sum() == pytest.approx(0.03 * size, abs=1)


def test_row_losses_mean_is_the_log_loss():
    y, p = np.array([0, 1, 1, 0]), np.array([0.1, 0.8, 0.0, 1.0])
    assert row_losses(y, p).mean() == pytest.approx(log_loss(y, p))


@pytest.mark.parametrize(
    ("tolerance", "expected"), [(0.0, 800), (0.011, 400), (0.049, 400), (0.051, 200)]
)
def test_recommend_size_returns_the_smallest_within_the_tolerance(tolerance, expected):
    losses = {100: 0.7, 200: 0.55, 400: 0.51, 800: 0.5, 1600: 0.505}
    points = tuple(LearningPoint(size, 1, 0.5, loss) for size, loss in losses.items())
    assert recommend_size(points, tolerance) == expected


def test_learning_curve_has_a_point_for_each_size(curve):
    assert [point.rows for point in curve.points] == [300, 600, 1200, 2400]
    assert [point.fits for point in curve.points] == [5, 4, 2, 1]
    assert all(0 < point.log_loss_sd < 0.05 for point in curve.points[:-1])
    assert all(0 < point.roc_auc_sd < 0.05 for point in curve.points[:-1])
    assert curve.points[-1].log_loss_sd is curve.points[-1].roc_auc_sd is None
    assert curve.left_out == {}


def test_learning_curve_last_point_is_the_model_of_all_rows(rows, curve):
    split = halves(rows)
    p = fit(PROBLEM, rows, split).predict_proba(rows.X.iloc[split.test])[:, 1]
    scores = score_probabilities(rows.y.iloc[split.test], p)
    assert curve.points[-1].log_loss == pytest.approx(scores.log_loss, abs=1e-12)
    assert curve.points[-1].roc_auc == pytest.approx(scores.roc_auc, abs=1e-12)
    assert curve.rows_test == len(split.test)


def test_learning_curve_tolerance_is_the_standard_error_of_the_best(rows, curve):
    split = halves(rows)
    best = min(curve.points, key=lambda point: point.log_loss)
    losses = [
        row_losses(
            rows.y.to_numpy()[split.test],
            fit(
                PROBLEM,
                rows,
                Split("", draw_sample(split.fit, rows.y, best.rows, seed), split.test),
            )
            .predict_proba(rows.X.iloc[split.test])[:, 1]
            .astype(float),
        )
        for seed in range(best.fits)
    ]
    by_row = np.mean(losses, axis=0)
    assert curve.tolerance == pytest.approx(by_row.std(ddof=1) / len(by_row) ** 0.5)
    assert curve.recommended == recommend_size(curve.points, curve.tolerance)
    assert f"one standard error, {curve.tolerance:.4f}, of the best" in curve.rule
    assert f"{best.log_loss:.4f} with {best.rows:,} rows (Breiman" in curve.rule


def test_learning_curve_is_reproducible(rows, curve):
    assert curve_of(rows) == curve


def test_learning_curve_uses_the_given_tolerance(rows):
    wide, narrow = (curve_of(rows, seeds=1, tolerance=value) for value in (1.0, 0.0))
    assert wide.recommended == 300
    assert narrow.recommended == min(narrow.points, key=lambda point: point.log_loss).rows
    assert "within 1 of the best" in wide.rule
    assert "Breiman" not in wide.rule


def test_learning_curve_of_a_part_of_the_rows_has_a_note():
    assert "of one row in 3" in curve_of(made_rows(1_000, every=3), seeds=1).rule


def test_learning_curve_reports_size_sample_and_remaining_time(rows):
    lines = []
    curve_of(rows, progress=lines.append, seeds=2)
    assert lines[0] == "learning curve: 300 rows, sample 1"
    assert [line.split(", about")[0] for line in lines[1:3]] == [
        "learning curve: 300 rows, sample 2",
        "learning curve: 600 rows, sample 1",
    ]
    assert all(line.endswith(" s left") for line in lines[1:])
    assert len(lines) == 7


def test_learning_curve_size_that_cannot_be_fitted_is_omitted_with_a_reason():
    y = np.zeros(3_000, dtype=int)
    y[[4, 7, 11]] = y[[5, 10]] = 1
    curve = curve_of(made_rows(3_000, y), seeds=2)
    assert list(curve.left_out) == ["300"]
    assert "at least 2 classes" in curve.left_out["300"]
    assert [point.rows for point in curve.points] == [600, 1200, 2400]
    assert curve.recommended in (600, 1200, 2400)


def test_learning_curve_without_any_fit_raises(rows):
    with pytest.raises(SlipwayError, match=r"no sample can be fitted.*at least 2 classes"):
        curve_of(made_rows(1_000, np.zeros(1_000, dtype=int)))


def test_learning_curve_many_test_rows_are_sampled(rows, monkeypatch):
    monkeypatch.setattr(learning, "MAX_TEST_ROWS", 250)
    curve = curve_of(rows, seeds=1)
    assert curve.rows_test == 250
    assert curve == curve_of(rows, seeds=1)


def test_training_record_of_an_older_manifest_has_no_curve():
    older = msgspec.to_builtins(Training("s", "q", "d", 9, 5, 3, {"gap": 1}, 2.5))
    for new in ("engine", "command", "commit", "learning_curve"):
        del older[new]
    read = msgspec.convert(older, Training)
    assert (read.engine, read.command, read.commit) == ("memory", "", "")
    assert read.learning_curve is None


def test_training_record_with_a_curve_round_trips(curve):
    training = Training("s", "q", "d", 9, 5, 3, {}, 2.5, learning_curve=curve)
    assert msgspec.json.decode(msgspec.json.encode(training), type=Training) == training
