"""Compile a fitted scikit-learn model into a scorecard, or say why it is not one.

``composition`` follows the columns through the pipeline, with one rule a transformer in
``transformers``; ``estimators`` weighs what comes out; ``terms`` adds it up by feature.
``docs/compiler.md`` shows how to add a rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd

from slipway.compiler.column import Column, Line, NotAScorecard
from slipway.compiler.composition import Readings, apply_step
from slipway.compiler.estimators import Read, Weights, read
from slipway.compiler.terms import add_up, centred, column_function
from slipway.curve import SIGMOID, Affine
from slipway.scorecard import Scorecard, Sum
from slipway.signature import Signature, Value

__all__ = ["NotAScorecard", "centre", "compile_model", "differing_step", "find_readings"]


def compile_model(model: Any, signature: Signature) -> Scorecard:
    """Compile a fitted model.

    Parameters
    ----------
    model : estimator
        A fitted estimator, or a ``Pipeline`` that ends in one.
    signature : Signature
        Its features are the columns that the model was fitted on, in their order.

    Returns
    -------
    Scorecard
        With the model's own intercepts.

    Raises
    ------
    NotAScorecard
        With the step that has no rule, or that makes more than a sum of one-feature terms.
    """
    found = _for_positive(read(model, raw_columns(signature), []), signature)
    return Scorecard(tuple(_summed(each, signature) for each in found.sums), found.softmax)


def centre(scorecard: Scorecard, X: pd.DataFrame) -> Scorecard:
    """Centre the terms on rows, so that an intercept is the score of the average one."""
    return Scorecard(tuple(centred(each, X) for each in scorecard.sums), scorecard.softmax)


def find_readings(model: Any, names: tuple[str, ...]) -> Readings:
    """Find which fitted transformers read the raw features, as far as they are known."""
    readings: Readings = []
    with suppress(NotAScorecard):
        read(model, [Line(name, (), float("nan")) for name in names], readings)
    return readings


def differing_step(model: Any, signature: Signature, X: pd.DataFrame) -> str:
    """Name the first step after which the compiled columns are not the pipeline's own."""
    columns = raw_columns(signature)
    for k, (name, step) in enumerate(getattr(model, "steps", [])[:-1], start=1):
        columns = apply_step(step, columns, [])
        theirs = model[:k].transform(X)
        theirs = theirs.toarray() if hasattr(theirs, "toarray") else np.asarray(theirs)
        for column, due in zip(columns, theirs.T, strict=True):
            values = X[column.feature].astype(object).where(X[column.feature].notna(), None)
            ours = np.array(list(map(_held(column), values)))
            if not np.allclose(ours, due.astype(float), rtol=1e-9, atol=1e-12, equal_nan=True):
                return f"the step {name!r}, in what it makes of {column.feature}"
    return "the last step"


def _held(column: Column) -> Callable[[Value], float]:
    """Build the function to what a column holds; what is refused is not a number."""
    function = column_function(column)

    def held(value: Value) -> float:
        found = function(value)
        return float(found) if isinstance(found, int | float) else math.nan

    return held


def raw_columns(signature: Signature) -> list[Column]:
    """Give the columns before the first step."""
    gaps: dict[str, Any] = {"nan": float("nan"), "none": None, "na": pd.NA}
    raw = {
        f.name: Line(f.name, (), gaps[f.gap] if f.column_type == "object" else float("nan"))
        for f in signature.features
    }
    names = signature.columns or signature.names
    return [raw.get(name) or Line(name, (), float("nan")) for name in names]


def _for_positive(found: Read, signature: Signature) -> Read:
    """Turn the sum around where the positive class is the first of two."""
    target = signature.target
    if target.task != "binary" or target.positive == target.classes[1]:
        return found
    total = found.sums[0]
    if total.link == SIGMOID:
        return Read((total.times(-1.0),))
    link = (*total.link, Affine(times=-1.0, plus=1.0))
    return Read((Weights(total.intercept, total.weighed, link),))


def _summed(weights: Weights, signature: Signature) -> Sum:
    """Add up the columns of each feature."""
    by_feature: dict[str, list[Any]] = {name: [] for name in signature.names}
    for column, weight in weights.weighed:
        by_feature[column.feature].append((column, weight))
    terms = tuple(add_up(feature, by_feature[feature.name]) for feature in signature.features)
    return Sum(weights.intercept, terms, weights.link)
