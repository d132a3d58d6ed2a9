"""Learning curve: the scores of models fitted on growing samples, and a recommended size.

The samples of a seed are nested: a larger sample contains all rows of the smaller ones. A curve
therefore shows the effect of more rows, not of other rows. Every sample has the class shares of
all rows. All models are tested on the same held out rows.

The one-standard-error rule recommends a size (Breiman, Friedman, Olshen and Stone,
Classification and Regression Trees, 1984, section 3.4.3): the simplest candidate whose loss is
within one standard error of the smallest loss. Simple means few rows here. The standard error
is that of a mean loss over test rows. It needs only one fit, which matters because there is only
one sample of all rows. The rule does not use the spread between samples of one size, which is only
recorded and drawn. Samples of half the rows overlap too much to be independent.

The rule treats test rows as independent. Flights of a day are not, and grouping by day makes the
standard error about 2.7 times as large. The rule uses the smaller one, which errs towards more
rows. Few test rows always give a large standard error, and the rule then recommends few rows.
Set a tolerance if that is too lenient.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import roc_auc_score

from slipway.core.errors import SlipwayError
from slipway.data.problem import Problem
from slipway.models.manifest import LearningCurve, LearningPoint
from slipway.training.engines.memory import fit
from slipway.training.engines.selection import Estimator
from slipway.training.evaluation.metrics import row_losses
from slipway.training.frames import Rows
from slipway.training.splits import Split

Floats = npt.NDArray[np.float64]
Positions = npt.NDArray[np.intp]
FIRST_SIZE = 300
# Enough to distinguish log losses to a few thousandths; more rows only take longer.
MAX_TEST_ROWS = 50_000


@dataclass
class _SizeScores:
    """Scores and test row losses of the fits on samples of one size."""

    rows: int
    roc_auc: list[float] = field(default_factory=list)
    losses: list[Floats] = field(default_factory=list)

    @property
    def standard_error(self) -> float:
        """The standard error of the mean loss, over the test rows."""
        by_row = np.mean(self.losses, axis=0)
        return float(by_row.std(ddof=1) / math.sqrt(len(by_row)))

    @property
    def point(self) -> LearningPoint:
        """Means and standard deviations of the scores."""
        loss = [float(by_row.mean()) for by_row in self.losses]
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
        Samples are drawn from its fit rows. All fits are tested on its test rows, at most
        50,000 of them.
    progress : callable
        Called with a line before each fit.
    seeds : int
        Number of samples of each size; fewer of large sizes, see ``count_fits``.
    tolerance : float, optional
        Allowed excess over the best log loss; by default one standard error.
    estimator : {"logistic", "xgboost"}

    Returns
    -------
    LearningCurve

    Raises
    ------
    SlipwayError
        No sample can be fitted, not even all rows.
    """
    test = _limit_test_rows(split.test)
    by_size: dict[int, _SizeScores] = {}
    left_out: dict[str, str] = {}
    plan = [(size, seed) for size in choose_sizes(len(split.fit)) for seed in range(seeds)]
    plan = [(size, seed) for size, seed in plan if seed < count_fits(size, len(split.fit), seeds)]
    for size, seed in _with_progress(plan, len(test), progress):
        if str(size) in left_out:
            continue
        sample = draw_sample(split.fit, rows.y, size, seed)
        try:
            p = _probabilities(problem, rows, Split("", sample, test), estimator)
        except Exception as error:
            # A step of the pipeline may fail on few rows; larger samples can still be fitted.
            left_out[str(size)] = _first_line(error)
            by_size.pop(size, None)
            continue
        y = rows.y.to_numpy()[test]
        scores = by_size.setdefault(size, _SizeScores(size))
        scores.roc_auc.append(float(roc_auc_score(y, p)))
        scores.losses.append(row_losses(y, p))
    return _summarize(list(by_size.values()), left_out, rows, len(test), tolerance)


def choose_sizes(n_rows: int) -> list[int]:
    """Choose sizes from 300 to all rows, each about twice the previous one."""
    if n_rows <= FIRST_SIZE:
        return [n_rows]
    steps = max(1, round(math.log2(n_rows / FIRST_SIZE)))
    ratio = (n_rows / FIRST_SIZE) ** (1 / steps)
    return [*(int(float(f"{FIRST_SIZE * ratio**i:.2g}")) for i in range(steps)), n_rows]


def count_fits(size: int, n_rows: int, seeds: int) -> int:
    """Choose the number of samples of a size, so that no size takes much longer than one fit.

    Samples of more than half the rows overlap, but two of them are needed to estimate the
    spread. There is only one sample of all rows.
    """
    return 1 if size == n_rows else min(seeds, max(2, n_rows // size))


def draw_sample(fit_rows: Positions, y: pd.Series[int], size: int, seed: int) -> Positions:
    """Draw a stratified sample that contains the smaller samples of the same seed.

    The rows of each class are shuffled and spread evenly between 0 and 1. The sample consists
    of the rows with the smallest numbers.

    Parameters
    ----------
    fit_rows : ndarray of int
        Positions to draw from.
    y : Series
        The classes of all rows.
    size, seed : int

    Returns
    -------
    ndarray of int of shape (size,)
    """
    shuffled = np.random.default_rng(seed).permutation(fit_rows)
    classes = y.to_numpy()[shuffled]
    order = np.empty(len(shuffled))
    for value in np.unique(classes):
        of_class = classes == value
        count = of_class.sum()
        order[of_class] = (np.arange(count) + 0.5) / count
    return np.sort(shuffled[np.argsort(order, kind="stable")[:size]])


def recommend_size(points: tuple[LearningPoint, ...], tolerance: float) -> int:
    """Return the smallest size whose log loss is within a tolerance of the best one."""
    best = min(point.log_loss for point in points)
    return min(point.rows for point in points if point.log_loss <= best + tolerance)


def _limit_test_rows(test: Positions) -> Positions:
    """Return the test rows, or a random sample of them if there are too many."""
    if len(test) <= MAX_TEST_ROWS:
        return test
    return np.sort(np.random.default_rng(0).choice(test, MAX_TEST_ROWS, replace=False))


def _probabilities(problem: Problem, rows: Rows, split: Split, estimator: Estimator) -> Floats:
    """Fit on one side of a split and return the probabilities of the other."""
    pipeline = fit(problem, rows, split, estimator)
    with warnings.catch_warnings():
        # A small sample lacks some categories, which the curve should reflect.
        warnings.filterwarnings("ignore", "Found unknown categories", UserWarning)
        p: Floats = pipeline.predict_proba(rows.X.iloc[split.test])[:, 1].astype(float)
    return p


def _with_progress(
    plan: list[tuple[int, int]], n_test: int, progress: Callable[[str], None]
) -> Iterator[tuple[int, int]]:
    """Iterate over the fits and report each, with an estimate of the time left."""
    # Testing a row takes roughly a third of the time of fitting on it.
    work = [size + n_test / 3 for size, _ in plan]
    started, done = time.perf_counter(), 0.0
    for (size, seed), cost in zip(plan, work, strict=True):
        left = (sum(work) - done) * (time.perf_counter() - started) / done if done else None
        forecast = "" if left is None else f", about {left:.0f} s left"
        progress(f"learning curve: {size:,} rows, sample {seed + 1}{forecast}")
        yield size, seed
        done += cost


def _first_line(error: Exception) -> str:
    """Return the first line of an error message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _summarize(
    results: list[_SizeScores],
    left_out: dict[str, str],
    rows: Rows,
    n_test: int,
    tolerance: float | None,
) -> LearningCurve:
    """Build the learning curve and apply the rule."""
    if not results:
        reasons = "; ".join(dict.fromkeys(left_out.values()))
        raise SlipwayError(
            f"cannot compute a learning curve, since no sample can be fitted: {reasons}"
        )
    best = min(results, key=lambda scores: scores.point.log_loss)
    points = tuple(scores.point for scores in results)
    allowed = best.standard_error if tolerance is None else tolerance
    return LearningCurve(
        points=points,
        rows_test=n_test,
        recommended=recommend_size(points, allowed),
        tolerance=allowed,
        rule=_describe_rule(best.point, allowed, rows.stride, given=tolerance is not None),
        left_out=left_out,
    )


def _describe_rule(best: LearningPoint, allowed: float, stride: int, *, given: bool) -> str:
    """Describe the rule that chose the size."""
    margin = f"{allowed:.4g}" if given else f"one standard error, {allowed:.4f},"
    source = "" if given else " (Breiman et al., 1984)"
    rule = (
        f"the smallest sample whose mean log loss is within {margin} of the best, "
        f"{best.log_loss:.4f} with {best.rows:,} rows{source}"
    )
    return rule if stride == 1 else f"{rule}; of one row in {stride}, since not all fit in memory"
