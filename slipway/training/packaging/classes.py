"""The classes of a fitted classifier and what it returns beside the label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

from sklearn.base import is_clusterer, is_outlier_detector
from sklearn.linear_model._base import LinearClassifierMixin
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.multiclass import OneVsRestClassifier

from slipway.core.csv_cells import escape_text_cell
from slipway.core.errors import SlipwayError
from slipway.models.features import Measure
from slipway.models.responses import SEVERAL_TARGETS, class_values, final_estimator


def read_class_names(model: Any) -> tuple[str, ...]:
    """Return the labels of a classifier or an outlier detector as texts.

    Raises
    ------
    SlipwayError
        The model predicts several targets, or two labels look the same as text.
    """
    if getattr(final_estimator(model), "multilabel_", False):
        raise SlipwayError(SEVERAL_TARGETS)
    values = class_values(model)
    if not hasattr(model, "predict"):
        # In scikit-learn only LocalOutlierFactor has no predict.
        raise SlipwayError(
            f"{_estimator_name(model)} cannot predict new records; fit it with novelty=True"
        )
    if not hasattr(model, "classes_") and not is_outlier_detector(model):
        raise SlipwayError(f"{_estimator_name(model)} has no classes_; fit it first")
    if isinstance(getattr(model, "classes_", None), list):
        raise SlipwayError(SEVERAL_TARGETS)
    names = tuple(map(str, values))
    _require_distinct(values, str, "as text in JSON")
    _require_distinct(
        names, escape_text_cell, "in a CSV file, which adds an apostrophe to formulas"
    )
    for name in names:
        if not name.isprintable() and _has_surrogate(name):
            raise SlipwayError(f"class {name!r} is not valid Unicode; rename it before the fit")
    return names


def _require_distinct(values: Any, write: Callable[[Any], str], where: str) -> None:
    """Reject classes that look the same when written."""
    written = list(map(write, values))
    text, count = Counter(written).most_common(1)[0]
    if count > 1:
        equal = [value for value, other in zip(values, written, strict=True) if other == text]
        raise SlipwayError(
            f"the classes {' and '.join(map(repr, equal))} are written alike {where}; "
            "rename them before the fit"
        )


def _estimator_name(model: Any) -> str:
    return type(final_estimator(model)).__name__


def _has_surrogate(name: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in name)


def find_measure(model: Any) -> Measure:
    """Return what a classifier returns beside the label."""
    if hasattr(model, "predict_proba"):
        return "probability"
    if not hasattr(model, "decision_function"):
        return "label"
    # A score for each pair of classes is not a score of a class.
    pairs = getattr(final_estimator(model), "decision_function_shape", "ovr") == "ovo"
    return "label" if pairs and len(class_values(model)) > 2 else "decision"


def find_label_source(model: Any) -> Literal["answers", "scores"]:
    """Return whether ``predict`` decides by scores or by the returned probabilities."""
    last = final_estimator(model)
    if isinstance(last, OneVsRestClassifier):
        by_score = all(hasattr(part, "decision_function") for part in last.estimators_)
    else:
        by_score = isinstance(last, LinearClassifierMixin)
    return "scores" if by_score else "answers"


def has_custom_threshold(model: Any) -> bool:
    """Return whether a model decides between its classes by its own threshold."""
    return type(final_estimator(model)) in (FixedThresholdClassifier, TunedThresholdClassifierCV)


def why_not_served(model: Any) -> str:
    """Return why Slipway cannot serve an estimator."""
    name = _estimator_name(model)
    served = "Slipway serves classifiers, regressors and outlier detectors"
    if is_clusterer(model):
        return f"{name} is a clusterer; {served}"
    if hasattr(model, "transform") and not hasattr(model, "predict"):
        return f"{name} is a transformer; {served}: end the pipeline with one of those"
    return f"{name} is neither a classifier nor a regressor; {served}"
