"""The rules of estimators: which sums of columns they take, and through which link.

A rule gives the decision of each class, or the value, as an intercept and a weight a column.
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
from slipway.compiler.terms import Weighed
from slipway.models.stages import SIGMOID, Affine, Name, Named, Pieces, Stage


@dataclass(frozen=True)
class Weights:
    """One sum of columns, and what its score goes through."""

    intercept: float
    weighed: tuple[Weighed, ...]
    link: tuple[Stage, ...] = ()

    def times(self, by: float, plus: float = 0.0) -> Weights:
        """Multiply the score, then add a constant to it."""
        weighed = tuple((column, weight * by) for column, weight in self.weighed)
        return Weights(self.intercept * by + plus, weighed, self.link)


@dataclass(frozen=True)
class Read:
    """What an estimator adds up: one sum, or one a class."""

    sums: tuple[Weights, ...]
    softmax: bool = False
    zeros: bool = False

    def linked(self, link: tuple[Stage, ...]) -> Read:
        """Give each sum a link."""
        return replace(self, sums=tuple(replace(each, link=link) for each in self.sums))


def read(estimator: Any, columns: list[Column], readings: InputUses) -> Read:
    """Read a fitted estimator, or a pipeline that ends in one.

    Raises
    ------
    NotAScorecard
        It has no rule, or is no sum of its columns.
    """
    if type(estimator) not in _read.registry:
        raise NotAScorecard(f"no rule for {type(estimator).__name__} as the estimator")
    return _read(estimator, columns, readings)


@singledispatch
def _read(estimator: Any, columns: list[Column], readings: InputUses) -> Read:
    raise NotImplementedError(type(estimator).__name__)


@_read.register
def _(estimator: Pipeline, columns: list[Column], readings: InputUses) -> Read:
    for _, step in estimator.steps[:-1]:
        columns = apply_step(step, columns, readings)
    return read(estimator.steps[-1][1], columns, readings)


@_read.register(LogisticRegression)
@_read.register(LogisticRegressionCV)
def _(estimator: Any, columns: list[Column], readings: InputUses) -> Read:
    weighed = _weighed(estimator, columns)
    return weighed.linked(SIGMOID) if len(weighed.sums) == 1 else replace(weighed, softmax=True)


@_read.register
def _(estimator: SGDClassifier, columns: list[Column], readings: InputUses) -> Read:
    if estimator.loss == "modified_huber":
        raise NotAScorecard(f"no rule for SGDClassifier(loss={estimator.loss!r})")
    weighed = _weighed(estimator, columns)
    return weighed.linked(SIGMOID) if estimator.loss == "log_loss" else weighed


def _value(estimator: Any, columns: list[Column], readings: InputUses) -> Read:
    """Read a regression whose value, or a classifier whose score, is the sum itself."""
    return _weighed(estimator, columns)


for _scored in (
    LinearSVC,
    PassiveAggressiveClassifier,
    Perceptron,
    RidgeClassifier,
    RidgeClassifierCV,
):
    _read.register(_scored, _value)


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
    _read.register(_regressor, _value)


@_read.register(PoissonRegressor)
@_read.register(GammaRegressor)
def _(estimator: Any, columns: list[Column], readings: InputUses) -> Read:
    return _weighed(estimator, columns).linked((Named("exp"),))


@_read.register
def _(estimator: TweedieRegressor, columns: list[Column], readings: InputUses) -> Read:
    log = estimator.link == "log" or (estimator.link == "auto" and estimator.power > 0)
    return _weighed(estimator, columns).linked((Named("exp"),) if log else ())


@_read.register
def _(estimator: OneVsRestClassifier, columns: list[Column], readings: InputUses) -> Read:
    if estimator.multilabel_:
        raise NotAScorecard("no rule for several labels at once")
    parts = [read(each, columns, readings) for each in estimator.estimators_]
    if any(len(part.sums) > 1 for part in parts):
        raise NotAScorecard("no rule for a OneVsRestClassifier of anything but two classes")
    return Read(tuple(part.sums[0] for part in parts), zeros=len(parts) > 1)


@_read.register
def _(estimator: CalibratedClassifierCV, columns: list[Column], readings: InputUses) -> Read:
    members = estimator.calibrated_classifiers_
    if len(members) > 1:
        raise NotAScorecard(
            f"CalibratedClassifierCV averages {len(members)} models, which is no sum; "
            "with ensemble=False it keeps one"
        )
    inner = read(members[0].estimator, columns, readings)
    if estimator.method not in _CALIBRATIONS or len(inner.sums) != len(members[0].calibrators):
        raise NotAScorecard(f"no rule for CalibratedClassifierCV(method={estimator.method!r})")
    if not hasattr(members[0].estimator, "decision_function"):
        raise NotAScorecard("no rule for the calibration of probabilities")
    calibrated = _CALIBRATIONS[estimator.method]
    pairs = zip(inner.sums, members[0].calibrators, strict=True)
    return Read(tuple(calibrated(each, calibrator) for each, calibrator in pairs))


def _sigmoid(decision: Weights, calibrator: Any) -> Weights:
    """Platt (1999): the decision's own slope and offset become part of the sum."""
    by, plus = -float(calibrator.a_), -float(calibrator.b_)
    return replace(decision.times(by, plus), link=SIGMOID)


def _isotonic(decision: Weights, calibrator: Any) -> Weights:
    """Interpolate between the thresholds, and stay level beyond them."""
    x, y = calibrator.X_thresholds_.tolist(), calibrator.y_thresholds_.tolist()
    slopes = (np.diff(y) / np.diff(x)).tolist()
    between = tuple(zip(y, slopes, strict=False))
    pieces = Pieces(tuple(x), (x[0], *x), ((y[0],), *between, (y[-1],)))
    return replace(decision, link=(pieces,))


_CALIBRATIONS = {"sigmoid": _sigmoid, "isotonic": _isotonic}


@_read.register(FixedThresholdClassifier)
@_read.register(TunedThresholdClassifierCV)
def _(estimator: Any, columns: list[Column], readings: InputUses) -> Read:
    return read(estimator.estimator_, columns, readings)


@_read.register
def _(estimator: FrozenEstimator, columns: list[Column], readings: InputUses) -> Read:
    return read(estimator.estimator, columns, readings)


@_read.register(GridSearchCV)
@_read.register(RandomizedSearchCV)
def _(estimator: Any, columns: list[Column], readings: InputUses) -> Read:
    return read(estimator.best_estimator_, columns, readings)


@_read.register
def _(estimator: TransformedTargetRegressor, columns: list[Column], readings: InputUses) -> Read:
    inner = read(estimator.regressor_, columns, readings)
    back = _back(estimator.transformer_)
    total = inner.sums[0]
    if isinstance(back, Affine) and not total.link:
        # Folded into the sum, so that contributions are in the target's unit.
        by = back.times / back.divide
        return Read((total.times(by, back.plus - back.subtract * by),))
    return Read((replace(total, link=(*total.link, *((back,) if back else ()))),))


def _back(transformer: Any) -> Stage | None:
    """Give the way back from a transformed target."""
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
    raise NotAScorecard(f"no rule for the target's {type(transformer).__name__}")


_INVERSES: dict[Any, Name] = {
    np.exp: "exp",
    np.expm1: "expm1",
    np.square: "square",
    np.sqrt: "sqrt",
    np.log: "log",
    np.log1p: "log1p",
}


def _weighed(estimator: Any, columns: list[Column]) -> Read:
    """Weigh the columns with the coefficients."""
    weights = np.atleast_2d(estimator.coef_)
    intercepts = np.broadcast_to(np.ravel(estimator.intercept_), len(weights))
    if hasattr(estimator, "predict") and not hasattr(estimator, "classes_") and len(weights) > 1:
        raise NotAScorecard("no rule for several targets at once")
    return Read(
        tuple(
            Weights(intercept, tuple(zip(columns, row, strict=True)))
            for intercept, row in zip(intercepts.tolist(), weights.tolist(), strict=True)
        )
    )
