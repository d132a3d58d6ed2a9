"""Evaluate a fitted model on held out rows."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    log_loss,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from slipway.data.problem import Problem
from slipway.models.manifest import CalibrationBin, Evaluation, Scores, Slice
from slipway.training.engines.memory import build_boosting
from slipway.training.frames import Rows
from slipway.training.splits import Split

Floats = npt.NDArray[np.float64]
N_BINS = 10
CURVE_POINTS = 60
MIN_SLICE_ROWS = 100


def evaluate(problem: Problem, rows: Rows, split: Split, pipeline: Pipeline) -> Evaluation:
    """Evaluate a fitted pipeline and its references on the test side of a split."""
    X, y = rows.X.iloc[split.test], rows.y.iloc[split.test]
    p: Floats = pipeline.predict_proba(X)[:, 1].astype(float)
    base = np.full(len(y), rows.y.iloc[split.fit].mean())
    # OpenMP threads wait in busy loops. On a busy machine, two took ten times as long as one.
    with threadpool_limits(1, user_api="openmp"):
        upper = build_boosting(problem).fit(rows.X.iloc[split.fit], rows.y.iloc[split.fit])
    scores = {
        "model": score_probabilities(y, p),
        "base rate": score_probabilities(y, base),
        "gradient boosting": score_probabilities(y, upper.predict_proba(X)[:, 1]),
    }
    return Evaluation(
        description=split.description,
        rows_fit=len(split.fit),
        rows_test=len(split.test),
        base_rate=float(y.mean()),
        scores=scores,
        calibration=compute_calibration_bins(y, p),
        roc=compute_roc_points(y, p),
        precision_recall=compute_precision_recall_points(y, p),
        slices=compute_slices(X, y, p, problem.slices),
    )


def score_probabilities(y: npt.ArrayLike, p: Floats) -> Scores:
    """Score probabilities against outcomes.

    Parameters
    ----------
    y : array-like of shape (n_rows,)
        0 or 1.
    p : ndarray of shape (n_rows,)
        Probabilities of 1.

    Returns
    -------
    Scores
    """
    bins = compute_calibration_bins(y, p)
    distance = sum(b.rows * abs(b.predicted - b.observed) for b in bins) / len(p)
    return Scores(
        roc_auc=float(roc_auc_score(y, p)),
        pr_auc=float(average_precision_score(y, p)),
        log_loss=float(log_loss(y, p)),
        brier=float(brier_score_loss(y, p)),
        calibration_error=float(distance),
    )


def row_losses(y: npt.ArrayLike, p: Floats) -> Floats:
    """Return the log loss of each row, clipped as in scikit-learn's ``log_loss``."""
    eps = float(np.finfo(np.float64).eps)
    p = np.clip(p, eps, 1.0 - eps)
    return -np.where(np.asarray(y) > 0.5, np.log(p), np.log1p(-p))


def compute_calibration_bins(y: npt.ArrayLike, p: Floats) -> tuple[CalibrationBin, ...]:
    """Compare predicted and observed rates in ten intervals of equal width, without empty ones."""
    outcomes = np.asarray(y, dtype=float)
    interval = np.minimum((p * N_BINS).astype(int), N_BINS - 1)
    return tuple(
        CalibrationBin(int(inside.sum()), float(p[inside].mean()), float(outcomes[inside].mean()))
        for inside in (interval == i for i in range(N_BINS))
        if inside.any()
    )


def compute_roc_points(y: npt.ArrayLike, p: Floats) -> tuple[tuple[float, float], ...]:
    """Return points of the ROC curve: false positive rate, true positive rate."""
    false_positive, true_positive, _ = roc_curve(y, p)
    return _thin_out(false_positive, true_positive)


def compute_precision_recall_points(y: npt.ArrayLike, p: Floats) -> tuple[tuple[float, float], ...]:
    """Return points of the precision-recall curve: recall, precision."""
    precision, recall, _ = precision_recall_curve(y, p)
    return _thin_out(recall[::-1], precision[::-1])


def compute_slices(
    X: pd.DataFrame, y: pd.Series[int], p: Floats, features: tuple[str, ...]
) -> tuple[Slice, ...]:
    """Compare predicted and observed rates by value of some features.

    Values with fewer than 100 rows are omitted because their rates would be noise.
    """
    slices = []
    outcomes = y.to_numpy()
    for feature in features:
        for value, positions in sorted(X.groupby(feature, observed=True).indices.items()):
            if len(positions) < MIN_SLICE_ROWS:
                continue
            observed, predicted = outcomes[positions], p[positions]
            auc = float(roc_auc_score(observed, predicted)) if 0 < observed.mean() < 1 else None
            rates = float(observed.mean()), float(predicted.mean())
            slices.append(Slice(feature, str(value), len(positions), *rates, auc))
    return tuple(slices)


def find_best_threshold(y: npt.ArrayLike, p: Floats) -> float:
    """Return the threshold with the best F1 score, rounded down to two digits."""
    precision, recall, thresholds = precision_recall_curve(y, p)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return math.floor(100 * float(thresholds[int(np.argmax(f1[:-1]))])) / 100


def _thin_out(x: Floats, y: Floats) -> tuple[tuple[float, float], ...]:
    """Reduce a curve to the number of points that a chart needs."""
    positions = np.linspace(0.0, 1.0, CURVE_POINTS)
    heights = np.interp(positions, x, y)
    return tuple(
        (round(float(a), 4), round(float(b), 4)) for a, b in zip(positions, heights, strict=True)
    )
