"""The classes of a fitted classifier, and what it returns beside the label."""

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


def class_names(model: Any) -> tuple[str, ...]:
    """Return the labels of a classifier or an outlier detector, as texts.

    Raises
    ------
    SlipwayError
        The model predicts several targets at once, or two labels would read the same.
    """
    if getattr(final_estimator(model), "multilabel_", False):
        raise SlipwayError(SEVERAL_TARGETS)
    values = class_values(model)
    if not hasattr(model, "predict"):
        # Only of LocalOutlierFactor, in all of scikit-learn.
        raise SlipwayError(f"{_name(model)} cannot predict new records; fit it with novelty=True")
    if not hasattr(model, "classes_") and not is_outlier_detector(model):
        raise SlipwayError(f"{_name(model)} has no classes_; fit it first")
    if isinstance(getattr(model, "classes_", None), list):
        raise SlipwayError(SEVERAL_TARGETS)
    names = tuple(map(str, values))
    _require_distinct(values, str, "as text, as JSON gives them")
    _require_distinct(
        names, escape_text_cell, "in a CSV file, where an apostrophe precedes a formula"
    )
    for name in names:
        if not name.isprintable() and _has_surrogate(name):
            raise SlipwayError(f"the class {name!r} is not valid Unicode; rename it before the fit")
    return names


def _require_distinct(values: Any, write: Callable[[Any], str], where: str) -> None:
    """Refuse classes that are written alike."""
    written = list(map(write, values))
    text, count = Counter(written).most_common(1)[0]
    if count > 1:
        alike = [value for value, its in zip(values, written, strict=True) if its == text]
        raise SlipwayError(
            f"the classes {' and '.join(map(repr, alike))} are written alike {where}; "
            "rename them before the fit"
        )


def _name(model: Any) -> str:
    return type(final_estimator(model)).__name__


def _has_surrogate(name: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in name)


def measure_of(model: Any) -> Measure:
    """Return what a classifier returns beside the label."""
    if hasattr(model, "predict_proba"):
        return "probability"
    if not hasattr(model, "decision_function"):
        return "label"
    # One score for each pair of classes says little about any of them.
    pairs = getattr(final_estimator(model), "decision_function_shape", "ovr") == "ovo"
    return "label" if pairs and len(class_values(model)) > 2 else "decision"


def label_from(model: Any) -> Literal["answers", "scores"]:
    """Return what the ``predict`` of a model goes by that has a rule in the compiler."""
    last = final_estimator(model)
    if isinstance(last, OneVsRestClassifier):
        by_score = all(hasattr(each, "decision_function") for each in last.estimators_)
    else:
        by_score = isinstance(last, LinearClassifierMixin)
    return "scores" if by_score else "answers"


def has_own_border(model: Any) -> bool:
    """Whether a model moves the border between its classes, by a threshold of its own."""
    return type(final_estimator(model)) in (FixedThresholdClassifier, TunedThresholdClassifierCV)


def why_not_served(model: Any) -> str:
    """Say what a model is that is neither a classifier, a regressor nor an outlier detector."""
    name = _name(model)
    served = "Slipway serves classifiers, regressors and outlier detectors"
    if is_clusterer(model):
        return f"{name} is a clusterer; {served}"
    if hasattr(model, "transform") and not hasattr(model, "predict"):
        return f"{name} is a transformer; {served}: end the pipeline with one of those"
    return f"{name} is neither a classifier nor a regressor; {served}"
