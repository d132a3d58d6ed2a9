"""Infer the target of a model: classes, column, base rate and learned threshold."""

from __future__ import annotations

from typing import Any

import pandas as pd
from sklearn.base import is_classifier, is_outlier_detector, is_regressor
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.pipeline import Pipeline

from slipway.core.errors import SlipwayError
from slipway.models.features import Target
from slipway.training.packaging.classes import find_measure, read_class_names, why_not_served


def infer_target(model: Any, name: str, positive: str | None) -> Target:
    """Infer the target of a fitted model.

    Raises
    ------
    SlipwayError
        The model predicts several targets, its classes are ambiguous, it does not have the
        class ``positive``, or it does not predict.
    """
    if is_regressor(model):
        return Target(name, f"Predicted {name}")
    if not is_classifier(model) and not is_outlier_detector(model):
        raise SlipwayError(why_not_served(model))
    classes, measure = read_class_names(model), find_measure(model)
    if positive is not None and (positive not in classes or len(classes) != 2):
        raise SlipwayError(f"{positive!r} is not one of two classes: {', '.join(classes)}")
    if len(classes) != 2:
        return Target(name, f"Predicted class of {name}", classes, measure=measure)
    positive = positive or classes[1]
    meaning = f"{name} is {positive}" if measure != "label" else f"Predicted class of {name}"
    if is_outlier_detector(model):
        meaning = "1 for an inlier, -1 for an outlier"
    return Target(name, meaning, classes, positive, measure=measure)


def read_threshold(model: Any) -> tuple[float | None, str | None]:
    """Return the threshold that a model has learned, and the class that it applies to."""
    last = model
    while isinstance(last, Pipeline) or hasattr(last, "best_estimator_"):
        last = last.steps[-1][1] if isinstance(last, Pipeline) else last.best_estimator_
    if type(last) not in (FixedThresholdClassifier, TunedThresholdClassifierCV):
        return None, None
    threshold = getattr(last, "best_threshold_", getattr(last, "threshold", "auto"))
    label = getattr(last, "pos_label", None)
    positive = last.classes_[1] if label is None else label
    if last.response_method == "decision_function" or not hasattr(last, "predict_proba"):
        # The model does not decide by probability, so the pickle's predict returns the label.
        return None, str(positive)
    return 0.5 if threshold == "auto" else float(threshold), str(positive)


def to_target_column(y: Any) -> pd.Series[Any]:
    """Convert the target to a single column."""
    if isinstance(y, pd.Series):
        return y
    if hasattr(y, "to_pandas"):
        return to_target_column(y.to_pandas())
    labels = pd.DataFrame(y)
    if labels.shape[1] != 1:
        raise SlipwayError(f"y has {labels.shape[1]} columns, where one target can be served")
    # The column of an array has only a number for a name.
    return labels.iloc[:, 0] if isinstance(y, pd.DataFrame) else labels.iloc[:, 0].rename("target")


def compute_base_rate(target: Target, labels: pd.Series[Any] | None) -> float | None:
    """Return the share of the positive class, or None if ``y`` has other labels."""
    if target.positive is None or labels is None:
        return None
    texts = labels.map(str)
    return float((texts == target.positive).mean()) if texts.isin(target.classes).all() else None
