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

import msgspec
import numpy as np
import pandas as pd

from slipway.compiler.columns import Column, NotAScorecard, NumericColumn
from slipway.compiler.domains import find_ranges
from slipway.compiler.estimators import Read, Weights, read
from slipway.compiler.steps import InputUses, apply_step
from slipway.compiler.terms import add_up, centre_term, column_function
from slipway.models.features import Feature, Value
from slipway.models.scorecard import LinearPredictor, Scorecard
from slipway.models.signature import Signature
from slipway.models.stages import SIGMOID, Affine, Named

LARGEST_ROOT = math.isqrt(2**63 - 1)
__all__ = [
    "NotAScorecard",
    "answered_ranges",
    "centre",
    "compile_model",
    "differing_step",
    "find_readings",
]


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
    try:
        found = _for_positive(read(model, raw_columns(signature), []), signature)
        _refuse_whole_arithmetic(found, signature)
        sums = tuple(_summed(each, signature) for each in found.sums)
        scorecard = Scorecard(sums, found.softmax, zeros=found.zeros or msgspec.UNSET)
    except NotAScorecard:
        raise
    except Exception as error:
        # A fault in a rule is a reason for the pickle to answer, never an end.
        raise NotAScorecard(f"{type(model).__name__} cannot be compiled: {error}") from error
    if not _is_finite(msgspec.to_builtins(scorecard)):
        raise NotAScorecard("a number of the scorecard is infinite")
    return scorecard


def answered_ranges(model: Any, signature: Signature) -> dict[str, tuple[float, float]]:
    """Find the range of each number in which a compiled pipeline answers.

    Parameters
    ----------
    model : estimator
    signature : Signature
        As for ``compile_model``.

    Returns
    -------
    dict of str to (float, float)
        As ``slipway.compiler.domains.find_ranges`` gives them.

    Raises
    ------
    NotAScorecard
        The model is not compiled; its pickle raises by itself.
    """
    try:
        sums = read(model, raw_columns(signature), []).sums
        columns = list(dict.fromkeys(column for each in sums for column, _ in each.weighed))
        return find_ranges(model, signature, columns)
    except NotAScorecard:
        raise
    except Exception as error:
        raise NotAScorecard(f"the range of a number was not found: {error}") from error


def centre(scorecard: Scorecard, X: pd.DataFrame) -> Scorecard:
    """Centre the terms on rows, so that an intercept is the score of the average one."""
    in_units = len(scorecard.sums) == 1 and not scorecard.sums[0].link
    sums = tuple(centre_term(each, X, in_units=in_units) for each in scorecard.sums)
    return msgspec.structs.replace(scorecard, sums=sums)


def find_input_uses(model: Any, names: tuple[str, ...]) -> InputUses:
    """Find which fitted transformers read the raw features, as far as they are known."""
    readings: InputUses = []
    # What cannot be read is no hint; ``compile_model`` gives the reason.
    with suppress(Exception):
        read(model, [NumericColumn(name, (), float("nan")) for name in names], readings)
    return readings


def differing_step(model: Any, signature: Signature, X: pd.DataFrame) -> str:
    """Name the first step after which the compiled columns are not the pipeline's own."""
    columns = raw_columns(signature)
    for k, (name, step) in enumerate(getattr(model, "steps", [])[:-1], start=1):
        try:
            columns = apply_step(step, columns, [])
            feature = _differing(model[:k], columns, X)
        except Exception as error:
            return f"the step {name!r}, which refuses a row: {error}"
        if feature:
            return f"the step {name!r}, in what it makes of {feature}"
    return "the last step"


def _differing(steps: Any, columns: list[Column], X: pd.DataFrame) -> str | None:
    """Name the first feature of which the steps make something else than its columns."""
    theirs = steps.transform(X if hasattr(steps, "feature_names_in_") else X.to_numpy())
    theirs = theirs.toarray() if hasattr(theirs, "toarray") else np.asarray(theirs)
    for column, due in zip(columns, theirs.T, strict=True):
        values = X[column.feature].astype(object).where(X[column.feature].notna(), None)
        ours = np.array(list(map(_held(column), values)))
        if not np.allclose(ours, due.astype(float), rtol=1e-9, atol=1e-12, equal_nan=True):
            return column.feature
    return None


def _held(column: Column) -> Callable[[Value], float]:
    """Build the function to what a column holds; what is refused is not a number."""
    function = column_function(column)

    def held(value: Value) -> float:
        found = function(value)
        return float(found) if isinstance(found, int | float) else math.nan

    return held


def raw_columns(signature: Signature) -> list[Column]:
    """Give the columns before the first step."""
    raw = {each.name: NumericColumn(each.name, (), _gap(each)) for each in signature.features}
    names = signature.columns or signature.names
    return [raw.get(name) or NumericColumn(name, (), float("nan")) for name in names]


def _gap(feature: Feature) -> Any:
    """Return what stands for a missing value in a feature's column."""
    if feature.column_type.startswith("string"):
        return pd.NA
    if feature.column_type != "object":
        return float("nan")
    gaps: dict[str, Any] = {"nan": float("nan"), "none": None, "na": pd.NA}
    return gaps[feature.gap]


def _refuse_whole_arithmetic(found: Read, signature: Signature) -> None:
    """Refuse functions that numpy computes in whole numbers, which overflow, for whole columns."""
    for column, _ in (pair for total in found.sums for pair in total.weighed):
        feature = signature.by_name[column.feature]
        line = column if isinstance(column, NumericColumn) else column.domain
        path = getattr(line, "path", ())
        if not path or not feature.column_type.lower().startswith(("int", "uint")):
            continue
        if path[0] == Named("reciprocal") or (path[0] == Named("square") and not _fits(feature)):
            raise NotAScorecard(f"{path[0].name} of whole numbers, as of {feature.name}, overflows")


def _fits(feature: Feature) -> bool:
    """Return whether the square of any number that the signature takes fits 64 bits."""
    ends = (feature.minimum, feature.maximum)
    return all(end is not None and abs(end) <= LARGEST_ROOT for end in ends)


def _is_finite(value: Any) -> bool:
    """Return whether all numbers of plain data are finite."""
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


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


def _summed(weights: Weights, signature: Signature) -> LinearPredictor:
    """Add up the columns of each feature."""
    by_feature: dict[str, list[Any]] = {name: [] for name in signature.names}
    for column, weight in weights.weighed:
        by_feature[column.feature].append((column, weight))
    terms = tuple(add_up(feature, by_feature[feature.name]) for feature in signature.features)
    return LinearPredictor(weights.intercept, terms, weights.link)
