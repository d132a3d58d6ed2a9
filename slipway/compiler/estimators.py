"""Rules for estimators: the weighted sums of columns that they compute, and their link.

A rule returns the decision of each class, or the value, as an intercept and a weight per column.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    ARDRegression,
    BayesianRidge,
    ElasticNet,
    ElasticNetCV,
    GammaRegressor,
    HuberRegressor,
    Lars,
    LarsCV,
    Lasso,
    LassoCV,
    LassoLars,
    LassoLarsCV,
    LassoLarsIC,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    OrthogonalMatchingPursuit,
    OrthogonalMatchingPursuitCV,
    PassiveAggressiveClassifier,
    Perceptron,
    PoissonRegressor,
    QuantileRegressor,
    Ridge,
    RidgeClassifier,
    RidgeClassifierCV,
    RidgeCV,
    SGDClassifier,
    SGDRegressor,
    TheilSenRegressor,
    TweedieRegressor,
)
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler
from sklearn.svm import LinearSVC

from slipway.compiler.columns import Column, NotAScorecard
from slipway.compiler.steps import InputUses, apply_step
from slipway.compiler.terms import WeightedColumn
from slipway.models.stages import SIGMOID, Affine, Name, Named, Pieces, Stage


@dataclass(frozen=True)
class WeightedSum:
    """A weighted sum of columns, and the link applied to its score."""

    intercept: float
    columns: tuple[WeightedColumn, ...]
    link: tuple[Stage, ...] = ()

    def scale(self, factor: float, offset: float = 0.0) -> WeightedSum:
        """Multiply the score by a number, then add a constant."""
        columns = tuple((column, weight * factor) for column, weight in self.columns)
        return WeightedSum(self.intercept * factor + offset, columns, self.link)


@dataclass(frozen=True)
class Sums:
    """The weighted sums of an estimator: a single one, or one per class."""

    sums: tuple[WeightedSum, ...]
    softmax: bool = False
    zeros: bool = False

    def with_link(self, link: tuple[Stage, ...]) -> Sums:
        """Return the sums with the same link for each."""
        return replace(self, sums=tuple(replace(total, link=link) for total in self.sums))


def read_estimator(estimator: Any, columns: list[Column], uses: InputUses) -> Sums:
    """Convert a fitted estimator, or a pipeline that ends in one, to weighted sums.

    Raises
    ------
    NotAScorecard
        The estimator has no rule, or is not a sum of its columns.
    """
    if type(estimator) not in _convert.registry:
        raise NotAScorecard(f"no rule for {type(estimator).__name__} as the estimator")
    return _convert(estimator, columns, uses)


@singledispatch
def _convert(estimator: Any, columns: list[Column], uses: InputUses) -> Sums:
    raise NotImplementedError(type(estimator).__name__)


@_convert.register
def _(estimator: Pipeline, columns: list[Column], uses: InputUses) -> Sums:
    for _, step in estimator.steps[:-1]:
        columns = apply_step(step, columns, uses)
    return read_estimator(estimator.steps[-1][1], columns, uses)


@_convert.register(LogisticRegression)
@_convert.register(LogisticRegressionCV)
def _(estimator: Any, columns: list[Column], uses: InputUses) -> Sums:
    result = _weigh(estimator, columns)
    return result.with_link(SIGMOID) if len(result.sums) == 1 else replace(result, softmax=True)


@_convert.register
def _(estimator: SGDClassifier, columns: list[Column], uses: InputUses) -> Sums:
    if estimator.loss == "modified_huber":
        raise NotAScorecard(f"no rule for SGDClassifier(loss={estimator.loss!r})")
    result = _weigh(estimator, columns)
    return result.with_link(SIGMOID) if estimator.loss == "log_loss" else result


def _convert_unlinked(estimator: Any, columns: list[Column], uses: InputUses) -> Sums:
    """Convert a regressor whose value, or a classifier whose score, is the sum itself."""
    return _weigh(estimator, columns)


for _classifier in (
    LinearSVC,
    PassiveAggressiveClassifier,
    Perceptron,
    RidgeClassifier,
    RidgeClassifierCV,
):
    _convert.register(_classifier, _convert_unlinked)


for _regressor in (
    ARDRegression,
    BayesianRidge,
    ElasticNet,
    ElasticNetCV,
    HuberRegressor,
    Lars,
    LarsCV,
    Lasso,
    LassoCV,
    LassoLars,
    LassoLarsCV,
    LassoLarsIC,
    LinearRegression,
    OrthogonalMatchingPursuit,
    OrthogonalMatchingPursuitCV,
    QuantileRegressor,
    Ridge,
    RidgeCV,
    SGDRegressor,
    TheilSenRegressor,
):
    _convert.register(_regressor, _convert_unlinked)


@_convert.register(PoissonRegressor)
@_convert.register(GammaRegressor)
def _(estimator: Any, columns: list[Column], uses: InputUses) -> Sums:
    return _weigh(estimator, columns).with_link((Named("exp"),))


@_convert.register
def _(estimator: TweedieRegressor, columns: list[Column], uses: InputUses) -> Sums:
    log = estimator.link == "log" or (estimator.link == "auto" and estimator.power > 0)
    return _weigh(estimator, columns).with_link((Named("exp"),) if log else ())


@_convert.register
def _(estimator: OneVsRestClassifier, columns: list[Column], uses: InputUses) -> Sums:
    if estimator.multilabel_:
        raise NotAScorecard("no rule for multilabel classification")
    parts = [read_estimator(binary, columns, uses) for binary in estimator.estimators_]
    if any(len(part.sums) > 1 for part in parts):
        raise NotAScorecard("OneVsRestClassifier is supported only with binary classifiers")
    return Sums(tuple(part.sums[0] for part in parts), zeros=len(parts) > 1)


@_convert.register
def _(estimator: CalibratedClassifierCV, columns: list[Column], uses: InputUses) -> Sums:
    members = estimator.calibrated_classifiers_
    if len(members) > 1:
        raise NotAScorecard(
            f"CalibratedClassifierCV averages {len(members)} models, which is not a sum; "
            "set ensemble=False to keep one model"
        )
    inner = read_estimator(members[0].estimator, columns, uses)
    if estimator.method not in _CALIBRATIONS or len(inner.sums) != len(members[0].calibrators):
        raise NotAScorecard(f"no rule for CalibratedClassifierCV(method={estimator.method!r})")
    if not hasattr(members[0].estimator, "decision_function"):
        raise NotAScorecard("CalibratedClassifierCV needs an estimator with decision_function")
    calibrate = _CALIBRATIONS[estimator.method]
    pairs = zip(inner.sums, members[0].calibrators, strict=True)
    return Sums(tuple(calibrate(decision, calibrator) for decision, calibrator in pairs))


def _apply_platt_scaling(decision: WeightedSum, calibrator: Any) -> WeightedSum:
    """Apply Platt scaling (Platt 1999): fold its slope and offset into the sum."""
    factor, offset = -float(calibrator.a_), -float(calibrator.b_)
    return replace(decision.scale(factor, offset), link=SIGMOID)


def _apply_isotonic(decision: WeightedSum, calibrator: Any) -> WeightedSum:
    """Interpolate linearly between the thresholds, and stay constant beyond them."""
    x, y = calibrator.X_thresholds_.tolist(), calibrator.y_thresholds_.tolist()
    slopes = (np.diff(y) / np.diff(x)).tolist()
    between = tuple(zip(y, slopes, strict=False))
    pieces = Pieces(tuple(x), (x[0], *x), ((y[0],), *between, (y[-1],)))
    return replace(decision, link=(pieces,))


_CALIBRATIONS = {"sigmoid": _apply_platt_scaling, "isotonic": _apply_isotonic}


@_convert.register(FixedThresholdClassifier)
@_convert.register(TunedThresholdClassifierCV)
def _(estimator: Any, columns: list[Column], uses: InputUses) -> Sums:
    return read_estimator(estimator.estimator_, columns, uses)


@_convert.register
def _(estimator: FrozenEstimator, columns: list[Column], uses: InputUses) -> Sums:
    return read_estimator(estimator.estimator, columns, uses)


@_convert.register(GridSearchCV)
@_convert.register(RandomizedSearchCV)
def _(estimator: Any, columns: list[Column], uses: InputUses) -> Sums:
    return read_estimator(estimator.best_estimator_, columns, uses)


@_convert.register
def _(estimator: TransformedTargetRegressor, columns: list[Column], uses: InputUses) -> Sums:
    inner = read_estimator(estimator.regressor_, columns, uses)
    inverse = _invert_target_transformer(estimator.transformer_)
    weighted_sum = inner.sums[0]
    if isinstance(inverse, Affine) and not weighted_sum.link:
        # Fold the inverse into the sum: contributions are then in the unit of the target.
        factor = inverse.times / inverse.divide
        return Sums((weighted_sum.scale(factor, inverse.plus - inverse.subtract * factor),))
    link = (*weighted_sum.link, inverse) if inverse else weighted_sum.link
    return Sums((replace(weighted_sum, link=link),))


def _invert_target_transformer(transformer: Any) -> Stage | None:
    """Return the inverse of a target transformer as a stage; None for the identity."""
    if type(transformer) is StandardScaler and transformer.scale_ is not None:
        mean = 0.0 if transformer.mean_ is None else float(transformer.mean_[0])
        return Affine(times=float(transformer.scale_[0]), plus=mean)
    if type(transformer) is MinMaxScaler and not transformer.clip:
        return Affine(subtract=float(transformer.min_[0]), divide=float(transformer.scale_[0]))
    if type(transformer) is FunctionTransformer:
        if transformer.inverse_func is None and transformer.func is None:
            return None
        name = _INVERSES.get(transformer.inverse_func)
        if name and not transformer.inv_kw_args:
            return Named(name)
    raise NotAScorecard(f"no rule for {type(transformer).__name__} as the target transformer")


_INVERSES: dict[Any, Name] = {
    np.exp: "exp",
    np.expm1: "expm1",
    np.square: "square",
    np.sqrt: "sqrt",
    np.log: "log",
    np.log1p: "log1p",
}


def _weigh(estimator: Any, columns: list[Column]) -> Sums:
    """Multiply the columns by the coefficients."""
    coefficients = np.atleast_2d(estimator.coef_)
    intercepts = np.broadcast_to(np.ravel(estimator.intercept_), len(coefficients))
    is_regressor = hasattr(estimator, "predict") and not hasattr(estimator, "classes_")
    if is_regressor and len(coefficients) > 1:
        raise NotAScorecard("no rule for multi-output regression")
    return Sums(
        tuple(
            WeightedSum(intercept, tuple(zip(columns, row, strict=True)))
            for intercept, row in zip(intercepts.tolist(), coefficients.tolist(), strict=True)
        )
    )
