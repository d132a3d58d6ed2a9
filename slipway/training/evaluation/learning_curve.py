"""How many rows are enough: the scores of models fitted on ever larger samples.

Each seed draws nested samples: a larger one holds all rows of the smaller ones, so that the
curve of a seed tells what more rows do, and not what other rows do. Both classes have the same
share in every sample. All models are tested on the same held out rows.

The recommended size is found by the one-standard-error rule (Breiman, Friedman, Olshen and
Stone, Classification and Regression Trees, 1984, section 3.4.3): the simplest candidate whose
loss is within one standard error of the least loss. Simple here means few rows. The standard
error is theirs, that of a mean loss over test rows: how well the best score is known at all.
It asks for no second fit, and a sample of all rows has none. How far the samples of one size
lie apart is a spread of its own, which is recorded and drawn, but is not in the rule: samples
of half the rows share too many of them to be independent.

Test rows are taken for independent. Flights of a day are not, and with days as the unit the
standard error is about 2.7 times as large. The smaller one is used because it errs towards
more rows. Few test rows make it large whatever their kind, and then the rule asks for few rows
to fit on: where that is too lenient, give a tolerance.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import roc_auc_score

from slipway.core.errors import SlipwayError
from slipway.data.problem import Problem
from slipway.models.manifest import LearningCurve, LearningPoint
from slipway.training.engines.memory import fit
from slipway.training.engines.selection import Estimator
from slipway.training.frames import Rows
from slipway.training.splits import Split

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
FIRST_SIZE = 300
# More would only cost time: they already tell log losses apart to a few thousandths.
MOST_TESTED = 50_000


@dataclass
class _Scored:
    """What the fits on samples of one size gave: their scores, and the loss of each test row."""

    rows: int
    roc_auc: list[float] = field(default_factory=list)
    losses: list[Floats] = field(default_factory=list)

    @property
    def standard_error(self) -> float:
        """The standard error of the mean loss, over the test rows."""
        each = np.mean(self.losses, axis=0)
        return float(each.std(ddof=1) / math.sqrt(len(each)))

    @property
    def point(self) -> LearningPoint:
        """The scores' means and standard deviations."""
        loss = [float(each.mean()) for each in self.losses]
        several = len(loss) > 1
        return LearningPoint(
            rows=self.rows,
            fits=len(loss),
            roc_auc=float(np.mean(self.roc_auc)),
            log_loss=float(np.mean(loss)),
            roc_auc_sd=float(np.std(self.roc_auc, ddof=1)) if several else None,
            log_loss_sd=float(np.std(loss, ddof=1)) if several else None,
        )


def learning_curve(
    problem: Problem,
    rows: Rows,
    split: Split,
    progress: Callable[[str], None],
    *,
    seeds: int = 5,
    tolerance: float | None = None,
    estimator: Estimator = "logistic",
) -> LearningCurve:
    """Fit on growing samples, test each fit, and recommend a size.

    Parameters
    ----------
    problem : Problem
    rows : Rows
    split : Split
        Samples are drawn of its rows to fit on; its test rows are those tested on, 50,000 of
        them at most.
    progress : callable
        Told each fit before it begins.
    seeds : int
        How many samples are drawn of each size; fewer of large ones, see ``n_fits``.
    tolerance : float, optional
        How much more log loss than the best is good enough; by default one standard error.
    estimator : {"logistic", "xgboost"}

    Returns
    -------
    LearningCurve

    Raises
    ------
    SlipwayError
        Not even all rows can be fitted.
    """
    test = _tested(split.test)
    scored: dict[int, _Scored] = {}
    left_out: dict[str, str] = {}
    plan = [(size, seed) for size in sizes(len(split.fit)) for seed in range(seeds)]
    plan = [(size, seed) for size, seed in plan if seed < n_fits(size, len(split.fit), seeds)]
    for size, seed in _reported(plan, len(test), progress):
        if str(size) in left_out:
            continue
        sample = draw(split.fit, rows.y, size, seed)
        try:
            p = _probabilities(problem, rows, Split("", sample, test), estimator)
        except Exception as error:
            # Whatever a step of the pipeline makes of too few rows, it is no fault of the
            # training, and the larger samples can still be fitted.
            left_out[str(size)] = _reason(error)
            scored.pop(size, None)
            continue
        y = rows.y.to_numpy()[test]
        its = scored.setdefault(size, _Scored(size))
        its.roc_auc.append(float(roc_auc_score(y, p)))
        its.losses.append(row_losses(y, p))
    return _curve(list(scored.values()), left_out, rows, len(test), tolerance)


def sizes(n_rows: int) -> list[int]:
    """Choose sizes from 300 to all rows, each about twice the one before."""
    if n_rows <= FIRST_SIZE:
        return [n_rows]
    steps = max(1, round(math.log2(n_rows / FIRST_SIZE)))
    ratio = (n_rows / FIRST_SIZE) ** (1 / steps)
    return [*(int(float(f"{FIRST_SIZE * ratio**i:.2g}")) for i in range(steps)), n_rows]


def n_fits(size: int, n_rows: int, seeds: int) -> int:
    """Choose how many samples to draw of a size, so that no size takes much longer than a fit.

    Samples of more than half the rows would be nearly the same, but without two of them
    nothing is known of their spread; of all rows there is only one.
    """
    return 1 if size == n_rows else min(seeds, max(2, n_rows // size))


def draw(fit_rows: Places, y: pd.Series[int], size: int, seed: int) -> Places:
    """Draw a sample with the classes' shares of all rows; a smaller one is its beginning.

    Each class is shuffled and spread evenly over the line from 0 to 1; the rows that come
    first on the line are the sample.

    Parameters
    ----------
    fit_rows : ndarray of int
        Places to draw from.
    y : Series
        The classes of all rows.
    size, seed : int

    Returns
    -------
    ndarray of int of shape (size,)
    """
    shuffled = np.random.default_rng(seed).permutation(fit_rows)
    classes = y.to_numpy()[shuffled]
    line = np.empty(len(shuffled))
    for each in np.unique(classes):
        of_class = classes == each
        count = of_class.sum()
        line[of_class] = (np.arange(count) + 0.5) / count
    return np.sort(shuffled[np.argsort(line, kind="stable")[:size]])


def row_losses(y: npt.NDArray[Any], p: Floats) -> Floats:
    """Give the negative log-likelihood of every row; scikit-learn's log loss is its mean."""
    given = np.where(y == 1, p, 1.0 - p)
    return -np.log(np.maximum(given, np.finfo(np.float64).eps))


def recommend(points: tuple[LearningPoint, ...], tolerance: float) -> int:
    """Give the smallest size whose log loss is within a tolerance of the least one."""
    best = min(point.log_loss for point in points)
    return min(point.rows for point in points if point.log_loss <= best + tolerance)


def _tested(test: Places) -> Places:
    """Give the rows to test on, or a random sample of very many."""
    if len(test) <= MOST_TESTED:
        return test
    return np.sort(np.random.default_rng(0).choice(test, MOST_TESTED, replace=False))


def _probabilities(problem: Problem, rows: Rows, split: Split, estimator: Estimator) -> Floats:
    """Fit on one side of a split, and give the probabilities of the other."""
    pipeline = fit(problem, rows, split, estimator)
    with warnings.catch_warnings():
        # A small sample lacks some categories; how well the rest is told is what is asked.
        warnings.filterwarnings("ignore", "Found unknown categories", UserWarning)
        p: Floats = pipeline.predict_proba(rows.X.iloc[split.test])[:, 1].astype(float)
    return p


def _reported(
    plan: list[tuple[int, int]], n_test: int, progress: Callable[[str], None]
) -> Iterator[tuple[int, int]]:
    """Go through the fits and tell each, with the time left by the rows that went before."""
    # Testing a row costs less than fitting on one; a third is near enough for a forecast.
    work = [size + n_test / 3 for size, _ in plan]
    started, done = time.perf_counter(), 0.0
    for (size, seed), its in zip(plan, work, strict=True):
        left = (sum(work) - done) * (time.perf_counter() - started) / done if done else None
        forecast = "" if left is None else f", about {left:.0f} s left"
        progress(f"learning curve: {size:,} rows, sample {seed + 1}{forecast}")
        yield size, seed
        done += its


def _reason(error: Exception) -> str:
    """Give the first line of what a step complained of."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _curve(
    scored: list[_Scored],
    left_out: dict[str, str],
    rows: Rows,
    n_test: int,
    tolerance: float | None,
) -> LearningCurve:
    """Put the points together, and apply the rule."""
    if not scored:
        reasons = "; ".join(dict.fromkeys(left_out.values()))
        raise SlipwayError(f"no sample can be fitted, so there is no learning curve: {reasons}")
    best = min(scored, key=lambda each: each.point.log_loss)
    points = tuple(each.point for each in scored)
    allowed = best.standard_error if tolerance is None else tolerance
    return LearningCurve(
        points=points,
        rows_test=n_test,
        recommended=recommend(points, allowed),
        tolerance=allowed,
        rule=_rule(best.point, allowed, rows.every, given=tolerance is not None),
        left_out=left_out,
    )


def _rule(best: LearningPoint, allowed: float, every: int, *, given: bool) -> str:
    """Say how the size was found."""
    what = f"{allowed:.4g}" if given else f"one standard error, {allowed:.4f},"
    source = "" if given else " (Breiman et al., 1984)"
    rule = (
        f"the smallest sample whose mean log loss is within {what} of the best, "
        f"{best.log_loss:.4f} with {best.rows:,} rows{source}"
    )
    return rule if every == 1 else f"{rule}; of one row in {every}, since not all fit in memory"
