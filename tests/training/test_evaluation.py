"""The scores of a model in manual examples."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.training.evaluation.metrics import (
    compute_calibration_bins,
    compute_precision_recall_points,
    compute_roc_points,
    compute_slices,
    find_best_threshold,
    score_probabilities,
)

pairs = st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=4, max_size=60).filter(
    lambda rows: 0 < sum(y for y, _ in rows) < len(rows)
)


def split(rows):
    y, p = zip(*rows, strict=True)
    return np.array(y), np.array(p)


def test_scores_perfect_model_is_perfect():
    scores = score_probabilities([0, 0, 1, 1], np.array([0.0, 0.0, 1.0, 1.0]))
    assert (scores.roc_auc, scores.pr_auc, scores.brier) == (1.0, 1.0, 0.0)
    assert scores.calibration_error == 0.0


def test_scores_calibration_error_is_the_mean_distance():
    y, p = np.array([0, 0, 1, 1]), np.array([0.15, 0.15, 0.95, 0.95])
    # Two rows at a distance of 0.15, two at 0.05.
    assert score_probabilities(y, p).calibration_error == pytest.approx(0.1)


@given(pairs)
def test_calibration_bins_count_every_row_once(rows):
    y, p = split(rows)
    bins = compute_calibration_bins(y, p)
    assert sum(b.rows for b in bins) == len(p)
    assert sum(b.rows * b.predicted for b in bins) == pytest.approx(p.sum())
    assert sum(b.rows * b.observed for b in bins) == pytest.approx(y.sum())


@given(pairs)
def test_curves_stay_in_the_unit_square_and_increase(rows):
    y, p = split(rows)
    roc = compute_roc_points(y, p)
    assert roc[-1] == (1.0, 1.0)
    assert all(a[1] <= b[1] for a, b in pairwise(roc))
    for x, height in (*roc, *compute_precision_recall_points(y, p)):
        assert 0 <= x <= 1
        assert 0 <= height <= 1


def test_slices_compare_each_value_and_omit_small_ones():
    X = pd.DataFrame({"day": [1] * 150 + [2] * 120 + [3] * 5})
    y = pd.Series([0, 1] * 75 + [1] * 120 + [0] * 5)
    slices = compute_slices(X, y, np.full(275, 0.5), ("day",))
    assert [(s.value, s.rows, s.observed, s.predicted) for s in slices] == [
        ("1", 150, 0.5, 0.5),
        ("2", 120, 1.0, 0.5),
    ]
    assert slices[0].roc_auc == 0.5
    assert slices[1].roc_auc is None


def test_best_threshold_separates_the_classes():
    y, p = np.array([0, 0, 0, 1, 1]), np.array([0.1, 0.2, 0.3, 0.617, 0.9])
    assert find_best_threshold(y, p) == 0.61
