"""The objective of a logistic regression: penalty, intercept and class weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.utils import compute_class_weight
from sklearn.utils._param_validation import InvalidParameterError

from slipway.core.errors import SlipwayError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Penalty:
    """The objective, a sum over rows and coefficients.

    ``sum_i w(y_i) log(1 + exp(-s_i eta_i)) + 1/2 sum_j ridge_j b_j^2`` with ``s_i`` 1 or -1 for
    the class. This is scikit-learn's objective divided by C.

    Attributes
    ----------
    ridge : float
        The ridge of each coefficient.
    ridge_of_intercept : float
    has_intercept : bool
    weights : ndarray of shape (2,)
        The weights of the negative and of the positive class.
    """

    ridge: float
    ridge_of_intercept: float
    has_intercept: bool
    weights: Floats

    def for_share(self, share: float) -> Penalty:
        """Return the penalty for a part of the rows, in proportion to its share."""
        ridge, of_intercept = self.ridge * share, self.ridge_of_intercept * share
        return replace(self, ridge=ridge, ridge_of_intercept=of_intercept)

    def by_parameter(self, width: int) -> Floats:
        """Return the ridge of the intercept and of each coefficient."""
        return np.concatenate([[self.ridge_of_intercept], np.full(width, self.ridge)])


def find_penalty(pipeline: Pipeline, rows: Sequence[int]) -> Penalty:
    """Read the objective of a pipeline's regression.

    Parameters
    ----------
    pipeline : Pipeline
    rows : sequence of int
        The number of rows of each class.

    Returns
    -------
    Penalty

    Raises
    ------
    SlipwayError
        The last step is not a logistic regression, or has another penalty than a ridge.
    """
    name, regression = pipeline.steps[-1]
    if type(regression) is not LogisticRegression:
        step_type = type(regression).__name__
        raise SlipwayError(
            f"{name}: {step_type} cannot be fitted in chunks, only LogisticRegression: "
            "use --engine memory"
        )
    try:
        regression._validate_params()
    except InvalidParameterError as error:
        raise SlipwayError(f"{name}: {error}") from error
    if regression.penalty not in ("deprecated", "l2", None) or regression.l1_ratio:
        raise SlipwayError(
            f"{name}: an L1 or elastic-net penalty cannot be fitted in chunks: use --engine memory"
        )
    free = regression.penalty is None or np.isinf(regression.C)
    # Only liblinear penalises the intercept, as the coefficient of a constant column.
    scaled = regression.solver == "liblinear" and regression.fit_intercept
    return Penalty(
        ridge=0.0 if free else 1.0 / regression.C,
        ridge_of_intercept=1 / (regression.C * regression.intercept_scaling**2) if scaled else 0.0,
        has_intercept=regression.fit_intercept,
        weights=_compute_class_weights(regression.class_weight, rows),
    )


def _compute_class_weights(class_weight: Any, rows: Sequence[int]) -> Floats:
    """Return the weights of the two classes."""
    if class_weight == "balanced":
        weights: Floats = sum(rows) / (2.0 * np.asarray(rows, dtype=np.float64))
        return weights
    classes = np.array([0, 1])
    return np.asarray(compute_class_weight(class_weight, classes=classes, y=classes), dtype=float)
