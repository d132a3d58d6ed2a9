"""Compile a fitted scikit-learn model into a scorecard, or report why that is not possible.

``steps`` follows the columns through the pipeline, with one rule for each transformer in
``transformers``. ``estimators`` multiplies the resulting columns by the coefficients, and
``terms`` adds them up by feature. ``docs/compiler.md`` shows how to add a rule.
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
from slipway.compiler.estimators import Sums, WeightedSum, read_estimator
from slipway.compiler.steps import InputUses, apply_step
from slipway.compiler.terms import build_column_function, build_term, centre_terms
from slipway.models.features import Feature, Value
from slipway.models.scorecard import LinearPredictor, Scorecard
from slipway.models.signature import Signature
from slipway.models.stages import SIGMOID, Affine, Named

LARGEST_ROOT = math.isqrt(2**63 - 1)
__all__ = [
    "NotAScorecard",
    "centre",
    "compile_model",
    "find_differing_step",
    "find_input_uses",
    "find_valid_ranges",
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
        With the intercepts of the model.

    Raises
    ------
    NotAScorecard
        A step has no rule, or the model is not a sum of one-feature terms. The message names the
        step.
    """
    try:
        result = _orient_to_positive(read_estimator(model, raw_columns(signature), []), signature)
        _reject_integer_arithmetic(result, signature)
        sums = tuple(_build_predictor(weighted_sum, signature) for weighted_sum in result.sums)
        scorecard = Scorecard(sums, result.softmax, zeros=result.zeros or msgspec.UNSET)
    except NotAScorecard:
        raise
    except Exception as error:
        # A fault in a rule is not fatal: the pickle serves the model instead.
        raise NotAScorecard(f"{type(model).__name__} cannot be compiled: {error}") from error
    if not _is_finite(msgspec.to_builtins(scorecard)):
        raise NotAScorecard("the scorecard contains an infinite number")
    return scorecard


def find_valid_ranges(model: Any, signature: Signature) -> dict[str, tuple[float, float]]:
    """Find the range of each number for which a compiled pipeline returns a prediction.

    Parameters
    ----------
    model : estimator
    signature : Signature
        As for ``compile_model``.

    Returns
    -------
    dict of str to (float, float)
        As returned by ``slipway.compiler.domains.find_ranges``.

    Raises
    ------
    NotAScorecard
        The model cannot be compiled. Its pickle raises for numbers outside the ranges.
    """
    try:
        sums = read_estimator(model, raw_columns(signature), []).sums
        columns = list(
            dict.fromkeys(column for weighted_sum in sums for column, _ in weighted_sum.columns)
        )
        return find_ranges(model, signature, columns)
    except NotAScorecard:
        raise
    except Exception as error:
        raise NotAScorecard(f"cannot find the valid range of a number: {error}") from error


def centre(scorecard: Scorecard, X: pd.DataFrame) -> Scorecard:
    """Centre the terms on rows, so that each intercept is the score of the average row."""
    in_units = len(scorecard.sums) == 1 and not scorecard.sums[0].link
    sums = tuple(centre_terms(predictor, X, in_units=in_units) for predictor in scorecard.sums)
    return msgspec.structs.replace(scorecard, sums=sums)


def find_input_uses(model: Any, names: tuple[str, ...]) -> InputUses:
    """Find which fitted transformers read the raw features, as far as this is known."""
    uses: InputUses = []
    # Ignore an unknown step here: ``compile_model`` reports the reason.
    with suppress(Exception):
        read_estimator(model, [NumericColumn(name, (), float("nan")) for name in names], uses)
    return uses


def find_differing_step(model: Any, signature: Signature, X: pd.DataFrame) -> str:
    """Name the first step after which the compiled columns differ from the pipeline's."""
    columns = raw_columns(signature)
    for length, (name, step) in enumerate(getattr(model, "steps", [])[:-1], start=1):
        try:
            columns = apply_step(step, columns, [])
            feature = _find_differing_feature(model[:length], columns, X)
        except Exception as error:
            return f"the step {name!r}, which rejects a row: {error}"
        if feature:
            return f"the step {name!r}, in its output for {feature}"
    return "the last step"


def _find_differing_feature(steps: Any, columns: list[Column], X: pd.DataFrame) -> str | None:
    """Return the first feature whose columns differ from the output of the steps."""
    output = steps.transform(X if hasattr(steps, "feature_names_in_") else X.to_numpy())
    output = output.toarray() if hasattr(output, "toarray") else np.asarray(output)
    for column, expected in zip(columns, output.T, strict=True):
        values = X[column.feature].astype(object).where(X[column.feature].notna(), None)
        compiled = np.array(list(map(_build_evaluator(column), values)))
        if not np.allclose(compiled, expected.astype(float), rtol=1e-9, atol=1e-12, equal_nan=True):
            return column.feature
    return None


def _build_evaluator(column: Column) -> Callable[[Value], float]:
    """Build the function from a raw value to a column's value; a rejected value becomes NaN."""
    function = build_column_function(column)

    def evaluate(value: Value) -> float:
        result = function(value)
        return float(result) if isinstance(result, int | float) else math.nan

    return evaluate


def raw_columns(signature: Signature) -> list[Column]:
    """Return the columns before the first step."""
    raw = {
        feature.name: NumericColumn(feature.name, (), _choose_missing_value(feature))
        for feature in signature.features
    }
    names = signature.columns or signature.names
    return [raw.get(name) or NumericColumn(name, (), float("nan")) for name in names]


def _choose_missing_value(feature: Feature) -> Any:
    """Return the representation of a missing value in a feature's column."""
    if feature.column_type.startswith("string"):
        return pd.NA
    if feature.column_type != "object":
        return float("nan")
    representations: dict[str, Any] = {"nan": float("nan"), "none": None, "na": pd.NA}
    return representations[feature.gap]


def _reject_integer_arithmetic(result: Sums, signature: Signature) -> None:
    """Reject functions that numpy computes in integers, because integers overflow."""
    for column, _ in (pair for weighted_sum in result.sums for pair in weighted_sum.columns):
        feature = signature.by_name[column.feature]
        source = column if isinstance(column, NumericColumn) else column.domain
        path = getattr(source, "path", ())
        if not path or not feature.column_type.lower().startswith(("int", "uint")):
            continue
        if path[0] == Named("reciprocal") or (
            path[0] == Named("square") and not _square_fits(feature)
        ):
            raise NotAScorecard(f"{path[0].name} of the integer feature {feature.name} overflows")


def _square_fits(feature: Feature) -> bool:
    """Return whether the square of every number that the signature accepts fits 64 bits."""
    limits = (feature.minimum, feature.maximum)
    return all(limit is not None and abs(limit) <= LARGEST_ROOT for limit in limits)


def _is_finite(value: Any) -> bool:
    """Return whether all numbers of plain data are finite."""
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _orient_to_positive(result: Sums, signature: Signature) -> Sums:
    """Reverse the score where the positive class is the first of two."""
    target = signature.target
    if target.task != "binary" or target.positive == target.classes[1]:
        return result
    weighted_sum = result.sums[0]
    if weighted_sum.link == SIGMOID:
        return Sums((weighted_sum.scale(-1.0),))
    link = (*weighted_sum.link, Affine(times=-1.0, plus=1.0))
    return Sums((WeightedSum(weighted_sum.intercept, weighted_sum.columns, link),))


def _build_predictor(weighted_sum: WeightedSum, signature: Signature) -> LinearPredictor:
    """Add up the columns of each feature."""
    by_feature: dict[str, list[Any]] = {name: [] for name in signature.names}
    for column, weight in weighted_sum.columns:
        by_feature[column.feature].append((column, weight))
    terms = tuple(build_term(feature, by_feature[feature.name]) for feature in signature.features)
    return LinearPredictor(weighted_sum.intercept, terms, weighted_sum.link)
