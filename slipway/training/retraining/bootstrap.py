"""Estimate the uncertainty of the difference between models by a paired bootstrap over groups.

Log loss and expected calibration error are computed from sums over rows. The sums of a resample
are therefore the sums of each group, weighted by how often the group was drawn. Rows of a group
(a day) are drawn together because they are not independent evidence.

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
from slipway.training.evaluation.metrics import N_BINS, row_losses

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def sum_by_group(y: Floats, answers: Floats, groups: Integers) -> Floats:
    """Sum the components of the scores by group.

    Parameters
    ----------
    y : ndarray of shape (n_rows,)
        0 or 1.
    answers : ndarray of shape (n_models, n_rows)
        Each model's probabilities.
    groups : ndarray of int of shape (n_rows,)
        Group numbers from 0, without gaps.

    Returns
    -------
    ndarray of shape (n_groups, 1 + 11 * n_models)
        The number of rows, then for each model its loss and ``sum(p - y)`` in ten intervals.
    """
    n = int(groups.max()) + 1
    columns = [np.bincount(groups, minlength=n).astype(float)[:, None]]
    for p in answers:
        cell = groups * N_BINS + np.minimum((p * N_BINS).astype(np.int64), N_BINS - 1)
        distances = np.bincount(cell, weights=p - y, minlength=n * N_BINS)
        columns.append(np.bincount(groups, weights=row_losses(y, p), minlength=n)[:, None])
        columns.append(distances.reshape(n, N_BINS))
    return np.hstack(columns)


def scores_from_sums(sums: Floats) -> Floats:
    """Compute log loss and calibration error from sums over rows.

    Parameters
    ----------
    sums : ndarray of shape (..., 1 + 11 * n_models)
        Columns as returned by ``sum_by_group``.

    Returns
    -------
    ndarray of shape (..., n_models, 2)
    """
    models = sums[..., 1:].reshape(*sums.shape[:-1], -1, 1 + N_BINS)
    totals = np.stack([models[..., 0], np.abs(models[..., 1:]).sum(axis=-1)], axis=-1)
    return totals / sums[..., :1, None]


def resample_groups(sums: Floats, resamples: int, seed: int) -> Floats:
    """Resample the groups with replacement and sum each resample.

    Parameters
    ----------
    sums : ndarray of shape (n_groups, n_columns)
    resamples, seed : int

    Returns
    -------
    ndarray of shape (resamples, n_columns)
    """
    rng, n = np.random.default_rng(seed), len(sums)
    totals = np.empty((resamples, sums.shape[1]))
    for i in range(resamples):
        times = np.bincount(rng.integers(0, n, n), minlength=n)
        totals[i] = times.astype(float) @ sums
    return totals


def compare_first(sums: Floats, rules: PromotionRules) -> list[ModelComparison]:
    """Compare the first model with each of the others, on the same resamples.

    Parameters
    ----------
    sums : ndarray of shape (n_groups, 1 + 11 * n_models)
    rules : PromotionRules

    Returns
    -------
    list of ModelComparison
        One comparison for each model except the first.
    """
    observed = _subtract_others(scores_from_sums(sums.sum(axis=0)))
    drawn = _subtract_others(scores_from_sums(resample_groups(sums, rules.resamples, rules.seed)))
    highs = np.quantile(drawn, rules.level, axis=0)
    return [
        ModelComparison(*(Difference(*pair) for pair in zip(value, high, strict=True)))
        for value, high in zip(observed.tolist(), highs.tolist(), strict=True)
    ]


def _subtract_others(scored: Floats) -> Floats:
    """Subtract the scores of each other model from those of the first."""
    return scored[..., :1, :] - scored[..., 1:, :]
