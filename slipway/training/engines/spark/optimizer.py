"""Minimise the logistic regression on Spark: L-BFGS approaches the optimum, Newton refines it.

The objective is scikit-learn's ``C sum_i loss_i + |w|^2 / 2``. Spark minimises means, which divides
it by ``C n``. ``regParam`` is therefore ``1 / (C n)``, without standardization.

L-BFGS alone is not enough. One-hot columns without a dropped one leave directions in which only
the ridge curves the objective. L-BFGS stops when the objective hardly decreases or the gradient is
below 1e-8 (``FirstOrderMinimizer.gradientConverged`` of Breeze), which does not bound the error of
the coefficients. On 327,346 flights and 439 columns, it ends 1.5e-4 from the optimum after 639
passes at a tolerance of 1e-12. The distance grows with the rows.

A step of Newton's method is a weighted least squares (McCullagh and Nelder, Generalized Linear
Models, 1989, section 2.5). With the log-odds ``e`` and ``p = sigmoid(e)``, the weights are
``p (1 - p)`` and the working response is ``e + (y - p) / (p (1 - p))``. Spark's
``LinearRegression`` solves it by normal equations, whose matrix is summed on the cluster. After 34
iterations of L-BFGS, four such steps reach scikit-learn's Newton. The difference is 6e-11 in the
coefficients and 8e-13 in the probabilities (262,000 flights, 437 columns, C = 1).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from slipway.core.errors import SlipwayError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Floats = npt.NDArray[np.float64]
# Spark's own limit for normal equations.
MAX_NEWTON_COLUMNS = 4096
START = {"tol": 1e-4, "maxIter": 100}
LBFGS_ONLY = {"tol": 1e-12, "maxIter": 5000}
MAX_STEPS = 25
# Each step squares the distance, so the distance after such a step is far smaller.
TOLERANCE = 1e-6
# A smaller weight is treated as 0. The optimum does not depend on the weights.
MIN_WEIGHT = 1e-12
WORKING = {
    "p": "1e0 / (1e0 + exp(-eta))",
    "weight": f"greatest(p * (1e0 - p), {MIN_WEIGHT!r})",
    "response": "eta + (label - p) / weight",
    "loss": "greatest(eta, 0e0) + ln(1e0 + exp(-abs(eta))) - label * eta",
}
SUMS = (
    "sum(weight)",
    "sum(weight * response)",
    "sum(weight * response * response)",
    "avg(loss)",
)


@dataclass(frozen=True)
class Optimum:
    """The optimum of the objective.

    Attributes
    ----------
    coef : ndarray of shape (n_columns,)
        In the order of the vectors' components.
    intercept : float
    iterations : int
        Iterations of L-BFGS plus steps of Newton's method.
    """

    coef: Floats
    intercept: float
    iterations: int = 0


def minimise(rows: DataFrame, n_columns: int, C: float, progress: Callable[[str], None]) -> Optimum:
    """Find the optimum on the cluster.

    Parameters
    ----------
    rows : DataFrame
        Rows with a ``label`` of 0 or 1 and ``features``, a vector without a constant component.
        Persist the rows, since they are read many times.
    n_columns : int
        The number of components.
    C : float
        As in scikit-learn.
    progress : callable
        Called with the objective, divided by ``C n``, and the length of each step.

    Returns
    -------
    Optimum

    Raises
    ------
    SlipwayError
        Newton's method does not converge.
    """
    penalty = 1.0 / (C * rows.count())
    if n_columns > MAX_NEWTON_COLUMNS:
        limit = f"Spark's normal equations take {MAX_NEWTON_COLUMNS:,} columns"
        progress(f"{limit}, but there are {n_columns:,}: using only L-BFGS, which is less exact")
        return _approach(rows, penalty, progress, **LBFGS_ONLY)[0]
    start, scored = _approach(rows, penalty, progress, **START)
    return _newton(rows, C, penalty, progress, start, scored)


def _approach(
    rows: DataFrame, penalty: float, progress: Callable[[str], None], **settings: Any
) -> tuple[Optimum, DataFrame]:
    """Fit Spark's logistic regression; return its parameters and the rows with log-odds."""
    from pyspark.ml.classification import LogisticRegression
    from pyspark.ml.functions import vector_to_array

    model = LogisticRegression(
        regParam=penalty, elasticNetParam=0.0, standardization=False, **settings
    ).fit(rows)
    history = model.summary.objectiveHistory
    progress(f"L-BFGS: {len(history) - 1} iterations, objective {history[-1]:.9f}")
    predicted = model.transform(rows)
    log_odds = vector_to_array(predicted["rawPrediction"])[1].alias("eta")
    scored = predicted.select("features", "label", log_odds)
    coef, intercept = model.coefficients.toArray(), float(model.intercept)
    return Optimum(coef, intercept, len(history) - 1), scored


def _newton(
    rows: DataFrame,
    C: float,
    penalty: float,
    progress: Callable[[str], None],
    start: Optimum,
    scored: DataFrame,
) -> Optimum:
    """Repeat Newton steps until they are shorter than the tolerance."""
    optimum = start
    for step in range(1, MAX_STEPS + 1):
        previous = optimum
        optimum, scored, loss = _step(rows, C, scored)
        distance = float(np.max(np.abs(optimum.coef - previous.coef)))
        objective = loss + penalty * (previous.coef @ previous.coef) / 2.0
        progress(f"Newton's step {step}: from objective {objective:.9f}, moved by {distance:.1e}")
        if distance <= TOLERANCE * max(1.0, float(np.max(np.abs(optimum.coef)))):
            return replace(optimum, iterations=start.iterations + step)
    raise SlipwayError("the fit on Spark did not converge; use a smaller C in the pipeline")


def _step(rows: DataFrame, C: float, scored: DataFrame) -> tuple[Optimum, DataFrame, float]:
    """Take one step; return the optimum, the rows with log-odds, and the loss before it."""
    from pyspark.ml.regression import LinearRegression
    from pyspark.sql import functions as F  # noqa: N812

    working = scored
    for name, expression in WORKING.items():
        working = working.withColumn(name, F.expr(expression))
    weights, first, second, loss = working.agg(*map(F.expr, SUMS)).collect()[0]
    # Spark divides the penalty by the standard deviation of the label.
    deviation = math.sqrt(second / weights - (first / weights) ** 2)
    model = LinearRegression(
        labelCol="response",
        weightCol="weight",
        regParam=deviation / (C * weights),
        elasticNetParam=0.0,
        standardization=False,
        solver="normal",
    ).fit(working)
    moved = model.transform(rows).withColumnRenamed("prediction", "eta")
    return Optimum(model.coefficients.toArray(), float(model.intercept)), moved, loss
