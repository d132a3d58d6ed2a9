"""Infer a signature from a fitted model, and from its training rows where they are to be had.

What the fitted transformers know (categories, statistics, edges of bins) comes first; the rows
add kinds, gaps, ranges and examples; the model itself is asked what it does with a missing and
an unseen value. What nobody can know is noted.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from sklearn.base import is_classifier, is_outlier_detector, is_regressor

from slipway.compiler import find_readings
from slipway.compiler.composition import UNSEEN_TEXT
from slipway.errors import SlipwayError
from slipway.pipeline import PipelineScorer
from slipway.scorecard import Answer
from slipway.signature import Feature, Kind, Record, Signature, Target, Value
from slipway.training.classes import class_names, measure_of, why_not_served
from slipway.training.hints import Hints

MOST_CATEGORIES = 1_000
_NOT_A_NAME = re.compile(r'["\\\x00-\x1f]')
Answers = Callable[[Signature, Record], list[float] | None]


@dataclass
class Inferred:
    """A signature, and in words what could not be known."""

    signature: Signature
    notes: list[str] = field(default_factory=list)


def infer_signature(
    model: Any,
    X: pd.DataFrame | None = None,
    *,
    target_name: str = "target",
    positive: str | None = None,
) -> Inferred:
    """Infer what a fitted model takes and gives.

    Parameters
    ----------
    model : estimator
    X : DataFrame of shape (n_samples, n_features), optional
        Training rows, or others like them.
    target_name : str
    positive : str, optional
        The class whose probability is given; by default the second of two.

    Returns
    -------
    Inferred

    Raises
    ------
    SlipwayError
        The model is neither a classifier with probabilities nor a regressor of one target, or
        it does not say how many columns it takes.
    """
    names = feature_names(model, X)
    target = infer_target(model, target_name, positive)
    readings = find_readings(model, names)
    notes: list[str] = []
    features = []
    for i, name in enumerate(names):
        hints = Hints([each for each in readings if each.feature == name])
        column = None if X is None else X.iloc[:, i]
        features.append(
            _from_column(name, column, hints)
            if column is not None
            else _from_hints(name, hints, notes)
        )
    if X is None:
        notes.append("ranges, descriptions and units: give rows with --data, or edit model.json")
    signature = Signature(tuple(features), target)
    _refuse_odd(model, signature)
    return Inferred(_asked(model, signature), notes)


def _refuse_odd(model: Any, signature: Signature) -> None:
    """Refuse what cannot be served, before anything is made of it."""
    for name in signature.names:
        if _NOT_A_NAME.search(name) or not name.strip():
            message = "is empty, or holds a quote, a backslash or a control character; rename it"
            raise SlipwayError(f"the name of the feature {name!r} {message}")
    answer = _answer(model, signature, 0, signature.features[0].example)
    if answer is not None and not signature.target.classes and len(answer) > 1:
        raise SlipwayError(f"the model predicts {len(answer)} targets at once, where one can be")


def feature_names(model: Any, X: pd.DataFrame | None) -> tuple[str, ...]:
    """Give the names of the columns that a model was fitted on."""
    names = getattr(model, "feature_names_in_", None)
    if names is not None:
        return tuple(map(str, names))
    if X is not None:
        return tuple(map(str, X.columns))
    count = getattr(model, "n_features_in_", None)
    if count is None:
        raise SlipwayError("the model does not say which columns it was fitted on; give --data")
    return tuple(f"x{i}" for i in range(count))


def infer_target(model: Any, name: str, positive: str | None) -> Target:
    """Infer what a model predicts.

    Raises
    ------
    SlipwayError
        It predicts several targets at once, its classes cannot be told apart, it has no such
        class, or it is not a model that predicts.
    """
    if is_regressor(model):
        return Target(name, f"Predicted {name}")
    if not is_classifier(model) and not is_outlier_detector(model):
        raise SlipwayError(why_not_served(model))
    classes, measure = class_names(model), measure_of(model)
    if positive is not None and (positive not in classes or len(classes) != 2):
        raise SlipwayError(f"{positive!r} is not one of two classes: {', '.join(classes)}")
    if len(classes) != 2:
        return Target(name, f"Predicted class of {name}", classes, measure=measure)
    positive = positive or classes[1]
    meaning = f"{name} is {positive}" if measure != "label" else f"Predicted class of {name}"
    if is_outlier_detector(model):
        meaning = "1 for a record like those of training, -1 for an outlier"
    return Target(name, meaning, classes, positive, measure=measure)


def _from_hints(name: str, hints: Hints, notes: list[str]) -> Feature:
    """Infer a feature from the transformers alone."""
    categories = hints.categories
    gap: Any = "none" if hints.gap_is_none else "nan"
    if categories:
        kind = _kind_of(categories[0])
        example = categories[0]
        known = () if kind in ("flag", "number") else categories
        if kind == "integer":
            example, known = int(example), tuple(map(int, categories))
        nullable = hints.knows_gaps
        return Feature(name, kind, name, example, categories=known, nullable=nullable, gap=gap)
    example = hints.middle
    if isinstance(example, str):
        return Feature(name, "category", name, example, nullable=True, gap=gap)
    if example is None:
        notes.append(f"{name}: taken for a number, with 1 for an example")
    number = 1.0 if example is None else float(f"{example:.6g}")
    return Feature(name, "number", name, number, seen=hints.seen, nullable=True)


def _kind_of(value: Any) -> Kind:
    if isinstance(value, bool):
        return "flag"
    if isinstance(value, str):
        return "category"
    return "integer" if float(value).is_integer() else "number"


def _from_column(name: str, column: pd.Series[Any], hints: Hints) -> Feature:
    """Infer a feature from its column."""
    known = column.dropna()
    if known.empty:
        raise SlipwayError(f"the column {name} holds nothing but missing values")
    nullable = len(known) < len(column)
    none = any(value is None for value in column)
    categorical = isinstance(column.dtype, pd.CategoricalDtype)
    kind = _kind_of_column(name, known)
    shared: dict[str, Any] = {"nullable": nullable}
    if categorical and kind in ("category", "integer"):
        shared["dtype"] = "category"
    if nullable and isinstance(column.dtype, pd.BooleanDtype):
        # scikit-learn makes numbers of pandas' own flags as soon as one is missing.
        shared["dtype"] = "float64"
    if kind in ("number", "integer"):
        middle = known.astype(float).sort_values().iloc[len(known) // 2]
        example: Value = int(middle) if kind == "integer" else float(middle)
        categories = column.cat.categories.tolist() if categorical else hints.categories or ()
        ends = (float(known.astype(float).min()), float(known.astype(float).max()))
        listed = kind == "integer" and all(float(c).is_integer() for c in categories)
        known_ones = tuple(map(int, categories)) if listed else ()
        seen = None if known_ones else ends
        return Feature(name, kind, name, example, seen=seen, categories=known_ones, **shared)
    example = known.mode().iloc[0]
    if kind == "flag":
        return Feature(name, kind, name, bool(example), **shared)
    texts = column.cat.categories if categorical else known.unique()
    every = tuple(dict.fromkeys([*(hints.categories or ()), *sorted(map(str, texts))]))
    if len(every) > MOST_CATEGORIES and hints.categories is None and not categorical:
        every = ()
    shared["gap"] = "none" if none or hints.gap_is_none else "nan"
    return Feature(name, kind, name, str(example), categories=every, **shared)


def _kind_of_column(name: str, known: pd.Series[Any]) -> Kind:
    """Tell the kind of a column from its type and its values."""
    values: pd.Series[Any] = known
    if isinstance(known.dtype, pd.CategoricalDtype):
        values = pd.Series(known.cat.categories)
    if values.map(type).isin([bool, np.bool_]).all():
        return "flag"
    if pd.api.types.is_integer_dtype(values):
        return "integer"
    if pd.api.types.is_numeric_dtype(values):
        return "number"
    if values.map(type).isin([str]).all():
        return "category"
    raise SlipwayError(f"the column {name} holds {values.dtype}, which JSON cannot carry")


def _asked(model: Any, signature: Signature) -> Signature:
    """Ask the model whether it does answer a missing and an unseen value of each feature."""
    features = []
    for i, feature in enumerate(signature.features):
        closed = False
        if feature.categories:
            other = UNSEEN_TEXT if feature.kind == "category" else max(feature.categories) + 1  # type: ignore[operator]
            closed = _answer(model, signature, i, other) is None
        nullable = feature.nullable and _answer(model, signature, i, None) is not None
        features.append(msgspec.structs.replace(feature, closed=closed, nullable=nullable))
    return Signature(tuple(features), signature.target)


def _answer(model: Any, signature: Signature, i: int, value: Value) -> list[Answer] | None:
    """Give the answer to the example with one other value; None where the model refuses it."""
    example = [feature.example for feature in signature.features]
    example[i] = value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        answers = PipelineScorer(model, signature)([tuple(example)])
    first = answers[0]
    refused = math.isnan(first[0] if isinstance(first, tuple) else first)
    return None if refused else answers
