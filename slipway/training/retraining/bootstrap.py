"""How sure the difference between two models is: a paired bootstrap over groups of rows.

Log loss and the expected calibration error follow from sums over rows. So a resample needs no
rows: the sums of each group, times how often the group was drawn, are those of the resample.
Rows of a group (a day) are drawn together, because they are no independent evidence.

References
----------
B. Efron, R. J. Tibshirani: An Introduction to the Bootstrap. Chapman & Hall 1993, chapter 13
(percentile intervals).
A. C. Davison, D. V. Hinkley: Bootstrap Methods and their Application. Cambridge 1997, sections
3.8 (drawing whole groups) and 5.3 (percentile limits).
A. C. Cameron, J. B. Gelbach, D. L. Miller: Bootstrap-based improvements for inference with
clustered errors. Review of Economics and Statistics 90 (2008) 414-427 (few groups).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from slipway.data.problem import PromotionRules
from slipway.models.promotion_record import Difference, ModelComparison

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
# As in ``slipway.training.evaluation.metrics``, and the clipping of scikit-learn's log loss.
N_BINS = 10
_LEAST = float(np.finfo(np.float64).eps)


def row_losses(y: Floats, p: Floats) -> Floats:
    """Give the log loss of each row, ``-log p`` of what happened."""
    p = np.clip(p, _LEAST, 1.0 - _LEAST)
    return -np.where(y > 0.5, np.log(p), np.log1p(-p))


def group_sums(y: Floats, answers: Floats, groups: Integers) -> Floats:
    """Add up, for each group, what the scores are made of.

    Parameters
    ----------
    y : ndarray of shape (n_rows,)
        0 or 1.
    answers : ndarray of shape (n_models, n_rows)
        Each model's probabilities.
    groups : ndarray of int of shape (n_rows,)
        From 0 on, none left out.

    Returns
    -------
    ndarray of shape (n_groups, 1 + 11 * n_models)
        The rows, and for each model its loss and its ``sum(p - y)`` in each of ten intervals.
    """
    n = int(groups.max()) + 1
    columns = [np.bincount(groups, minlength=n).astype(float)[:, None]]
    for p in answers:
        place = groups * N_BINS + np.minimum((p * N_BINS).astype(np.int64), N_BINS - 1)
        distances = np.bincount(place, weights=p - y, minlength=n * N_BINS)
        columns.append(np.bincount(groups, weights=row_losses(y, p), minlength=n)[:, None])
        columns.append(distances.reshape(n, N_BINS))
    return np.hstack(columns)


def scores(sums: Floats) -> Floats:
    """Give the log loss and the calibration error that sums of rows amount to.

    Parameters
    ----------
    sums : ndarray of shape (..., 1 + 11 * n_models)
        Columns as those of ``group_sums``.

    Returns
    -------
    ndarray of shape (..., n_models, 2)
    """
    models = sums[..., 1:].reshape(*sums.shape[:-1], -1, 1 + N_BINS)
    totals = np.stack([models[..., 0], np.abs(models[..., 1:]).sum(axis=-1)], axis=-1)
    return totals / sums[..., :1, None]


def resampled(sums: Floats, resamples: int, seed: int) -> Floats:
    """Draw as many groups as there are, with replacement, again and again, and add them up.

    Parameters
    ----------
    sums : ndarray of shape (n_groups, n_columns)
    resamples, seed : int

    Returns
    -------
    ndarray of shape (resamples, n_columns)
    """
    draw, n = np.random.default_rng(seed), len(sums)
    made = np.empty((resamples, sums.shape[1]))
    for i in range(resamples):
        times = np.bincount(draw.integers(0, n, n), minlength=n)
        made[i] = times.astype(float) @ sums
    return made


def compare_first(sums: Floats, rules: PromotionRules) -> list[ModelComparison]:
    """Compare the first model with each of the others, on the same resamples.

    Parameters
    ----------
    sums : ndarray of shape (n_groups, 1 + 11 * n_models)
    rules : PromotionRules

    Returns
    -------
    list of ModelComparison
        For each model but the first.
    """
    found = _less_others(scores(sums.sum(axis=0)))
    drawn = _less_others(scores(resampled(sums, rules.resamples, rules.seed)))
    highs = np.quantile(drawn, rules.level, axis=0)
    return [
        ModelComparison(*(Difference(*pair) for pair in zip(value, high, strict=True)))
        for value, high in zip(found.tolist(), highs.tolist(), strict=True)
    ]


def _less_others(scored: Floats) -> Floats:
    """Give the first model's scores less those of each of the others."""
    return scored[..., :1, :] - scored[..., 1:, :]
