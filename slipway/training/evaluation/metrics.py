"""How good a fitted model is on rows it has not seen."""

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
from slipway.training.engines.memory import boosting
from slipway.training.frames import Rows
from slipway.training.splits import Split

Floats = npt.NDArray[np.float64]
N_BINS = 10
CURVE_POINTS = 60
MIN_SLICE_ROWS = 100


def evaluate(problem: Problem, rows: Rows, split: Split, pipeline: Pipeline) -> Evaluation:
    """Evaluate a fitted pipeline on the test side of a split, beside its references."""
    X, y = rows.X.iloc[split.test], rows.y.iloc[split.test]
    p: Floats = pipeline.predict_proba(X)[:, 1].astype(float)
    base = np.full(len(y), rows.y.iloc[split.fit].mean())
    # Its threads wait for one another in busy loops: two on a machine that does other work as
    # well took ten times as long as one.
    with threadpool_limits(1, user_api="openmp"):
        upper = boosting(problem).fit(rows.X.iloc[split.fit], rows.y.iloc[split.fit])
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
        calibration=calibration_bins(y, p),
        roc=roc_points(y, p),
        precision_recall=precision_recall_points(y, p),
        slices=slice_table(X, y, p, problem.slices),
    )


def score_probabilities(y: npt.ArrayLike, p: Floats) -> Scores:
    """Score probabilities against what happened.

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
    bins = calibration_bins(y, p)
    distance = sum(b.rows * abs(b.predicted - b.observed) for b in bins) / len(p)
    return Scores(
        roc_auc=float(roc_auc_score(y, p)),
        pr_auc=float(average_precision_score(y, p)),
        log_loss=float(log_loss(y, p)),
        brier=float(brier_score_loss(y, p)),
        calibration_error=float(distance),
    )


def calibration_bins(y: npt.ArrayLike, p: Floats) -> tuple[CalibrationBin, ...]:
    """Compare predicted and observed rates in ten intervals of equal width, empty ones left out."""
    happened = np.asarray(y, dtype=float)
    interval = np.minimum((p * N_BINS).astype(int), N_BINS - 1)
    return tuple(
        CalibrationBin(int(inside.sum()), float(p[inside].mean()), float(happened[inside].mean()))
        for inside in (interval == i for i in range(N_BINS))
        if inside.any()
    )


def roc_points(y: npt.ArrayLike, p: Floats) -> tuple[tuple[float, float], ...]:
    """Give points of the ROC curve: false positive rate, true positive rate."""
    false_positive, true_positive, _ = roc_curve(y, p)
    return _thinned(false_positive, true_positive)


def precision_recall_points(y: npt.ArrayLike, p: Floats) -> tuple[tuple[float, float], ...]:
    """Give points of the precision-recall curve: recall, precision."""
    precision, recall, _ = precision_recall_curve(y, p)
    return _thinned(recall[::-1], precision[::-1])


def slice_table(
    X: pd.DataFrame, y: pd.Series[int], p: Floats, features: tuple[str, ...]
) -> tuple[Slice, ...]:
    """Compare predicted and observed rates for each value of some features.

    Values with fewer than 100 rows are left out: their rates would be noise.
    """
    made = []
    happened = y.to_numpy()
    for feature in features:
        for value, where in sorted(X.groupby(feature, observed=True).indices.items()):
            if len(where) < MIN_SLICE_ROWS:
                continue
            seen, given = happened[where], p[where]
            auc = float(roc_auc_score(seen, given)) if 0 < seen.mean() < 1 else None
            rates = float(seen.mean()), float(given.mean())
            made.append(Slice(feature, str(value), len(where), *rates, auc))
    return tuple(made)


def best_threshold(y: npt.ArrayLike, p: Floats) -> float:
    """Give the threshold with the best F1 score, rounded down to two digits."""
    precision, recall, thresholds = precision_recall_curve(y, p)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return math.floor(100 * float(thresholds[int(np.argmax(f1[:-1]))])) / 100


def _thinned(x: Floats, y: Floats) -> tuple[tuple[float, float], ...]:
    """Keep enough points of a curve to draw it."""
    at = np.linspace(0.0, 1.0, CURVE_POINTS)
    heights = np.interp(at, x, y)
    return tuple((round(float(a), 4), round(float(b), 4)) for a, b in zip(at, heights, strict=True))
