"""What is known of a target: its column, its base rate, the threshold that a model brings."""

from __future__ import annotations

from typing import Any

import pandas as pd
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.pipeline import Pipeline

from slipway.core.errors import SlipwayError
from slipway.models.features import Target


def learned_threshold(model: Any) -> tuple[float | None, str | None]:
    """Give the threshold that a model brings with it, and the class that it is for."""
    last = model
    while isinstance(last, Pipeline) or hasattr(last, "best_estimator_"):
        last = last.steps[-1][1] if isinstance(last, Pipeline) else last.best_estimator_
    if type(last) not in (FixedThresholdClassifier, TunedThresholdClassifierCV):
        return None, None
    threshold = getattr(last, "best_threshold_", getattr(last, "threshold", "auto"))
    label = getattr(last, "pos_label", None)
    positive = last.classes_[1] if label is None else label
    if last.response_method == "decision_function" or not hasattr(last, "predict_proba"):
        # No probability decides; the pickle answers, with the label of its predict.
        return None, str(positive)
    return 0.5 if threshold == "auto" else float(threshold), str(positive)


def target_column(y: Any) -> pd.Series[Any]:
    """Give the target as one column."""
    if isinstance(y, pd.Series):
        return y
    if hasattr(y, "to_pandas"):
        return target_column(y.to_pandas())
    labels = pd.DataFrame(y)
    if labels.shape[1] != 1:
        raise SlipwayError(f"y has {labels.shape[1]} columns, where one target can be served")
    # The column of an array is only called by its number.
    return labels.iloc[:, 0] if isinstance(y, pd.DataFrame) else labels.iloc[:, 0].rename("target")


def base_rate(target: Target, labels: pd.Series[Any] | None) -> float | None:
    """Give the share of the positive class; None where the labels are not the classes."""
    if target.positive is None or labels is None:
        return None
    texts = labels.map(str)
    return float((texts == target.positive).mean()) if texts.isin(target.classes).all() else None
