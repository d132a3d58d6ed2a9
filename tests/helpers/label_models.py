"""Classifiers that label by probability, by score or by neither, and rows far out of range."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.calibration import CalibratedClassifierCV
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.linear_model import (
    LogisticRegression,
    Perceptron,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC, NuSVC
from sklearn.tree import DecisionTreeClassifier

from slipway.models.manifest import Manifest
from slipway.training.packaging.version import describe_model, write

N_ROWS = 300


def rows() -> pd.DataFrame:
    """Draw training rows: an unscaled income, and a number."""
    draw = np.random.default_rng(1)
    return pd.DataFrame(
        {"income": draw.lognormal(11, 1, N_ROWS), "num": draw.normal(size=N_ROWS)}
    ).round(3)


def target(n_classes: int) -> pd.Series[Any]:
    """Return classes that mostly follow from the rows."""
    X = rows()
    score = np.log(X["income"]) + X["num"] + np.random.default_rng(2).normal(size=N_ROWS)
    names = np.array(["no", "yes"] if n_classes == 2 else ["a", "b", "c"])
    return pd.Series(names[pd.qcut(score, n_classes, labels=False)], name="outcome")


def far_out(n_rows: int = 500) -> pd.DataFrame:
    """Draw rows outside the training range, small integers and very large numbers."""
    draw = np.random.default_rng(3)
    X = pd.DataFrame(
        {"income": draw.lognormal(14, 1, n_rows), "num": 10 * draw.normal(size=n_rows)}
    )
    X.iloc[: n_rows // 5] = draw.integers(-3, 3, (n_rows // 5, 2)).astype(float)
    X.iloc[n_rows // 5 : n_rows // 4] *= 1e5
    X.iloc[0] = 0.0
    return X


def scaled(estimator: Any) -> Any:
    """Put a scaler before an estimator."""
    return make_pipeline(StandardScaler(), estimator)


def voting() -> VotingClassifier:
    """Return a classifier that votes by labels."""
    return VotingClassifier([("a", LogisticRegression()), ("b", DecisionTreeClassifier())])


# By name: the number of classes, and the model.
PROBABILITIES: dict[str, tuple[int, Any]] = {
    "sgd log_loss": (3, SGDClassifier(loss="log_loss", random_state=0)),
    "sgd log_loss of two": (2, SGDClassifier(loss="log_loss", random_state=0)),
    "sgd modified_huber": (3, SGDClassifier(loss="modified_huber", random_state=0)),
    "one against the rest": (3, OneVsRestClassifier(LogisticRegression())),
    "one against the rest of two": (2, scaled(OneVsRestClassifier(LogisticRegression()))),
    "softmax": (3, LogisticRegression()),
    "svc with probabilities": (2, scaled(SVC(probability=True, random_state=0))),
    "svc with probabilities of three": (3, scaled(SVC(probability=True, random_state=0))),
    "neighbours": (2, KNeighborsClassifier(4)),
    "neighbours by distance": (3, KNeighborsClassifier(2, weights="distance")),
    "naive Bayes": (3, GaussianNB()),
    "naive Bayes of two": (2, GaussianNB()),
    "boosting": (2, HistGradientBoostingClassifier(max_iter=10)),
    "adaptive boosting": (3, AdaBoostClassifier(n_estimators=5)),
    "forest": (3, RandomForestClassifier(4, random_state=0)),
    "discriminant": (2, scaled(LinearDiscriminantAnalysis())),
    "centroids": (2, NearestCentroid()),
    "calibrated": (3, CalibratedClassifierCV(scaled(LinearSVC()), ensemble=False)),
    "threshold of the score": (
        2,
        FixedThresholdClassifier(
            LogisticRegression(),
            threshold=0.4,
            pos_label="yes",
            response_method="decision_function",
        ),
    ),
}
SCORES: dict[str, tuple[int, Any]] = {
    "linear svc": (2, scaled(LinearSVC())),
    "linear svc of three": (3, scaled(LinearSVC())),
    "ridge": (2, RidgeClassifier()),
    "perceptron": (3, Perceptron()),
    "hinge": (2, scaled(SGDClassifier(random_state=0))),
    "svc": (2, scaled(SVC())),
    "svc of three": (3, SVC()),
    "nu svc": (3, scaled(NuSVC(nu=0.2))),
    "one against one": (3, OneVsOneClassifier(LogisticRegression())),
    "threshold of a linear svc": (
        2,
        FixedThresholdClassifier(scaled(LinearSVC()), threshold=0.3, pos_label="yes"),
    ),
    "isolation forest": (1, IsolationForest(n_estimators=20, random_state=0)),
}
LABELS: dict[str, tuple[int, Any]] = {
    "hard voting": (2, voting()),
    "hard voting of three": (3, voting()),
    "svc of pairs": (3, SVC(decision_function_shape="ovo")),
}
MODELS = {**PROBABILITIES, **SCORES, **LABELS}


def fitted(name: str) -> Any:
    """Fit a model."""
    n_classes, model = MODELS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(rows()) if n_classes == 1 else model.fit(rows(), target(n_classes))


def write_fitted(model: Any, folder: Path, **named: Any) -> Manifest:
    """Write a fitted model as a model version."""
    manifest = describe_model(model, rows(), **named).manifest
    return write(pickle.dumps(model), manifest, folder / "model.pkl")
