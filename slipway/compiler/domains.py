"""The range of each number for which a pipeline returns a prediction.

A scorecard folds scaling into slopes, so it would return predictions where the pipeline raises:
for a number that overflows in a step, or lies outside the domain of a function. The stages
provide an estimate of the range. The pipeline is then called on both sides of each end. Where it
disagrees with the estimate, a search with the pipeline alone finds the end.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from slipway.compiler.columns import Column, Intervals, NumericColumn
from slipway.compiler.floats import LARGEST, Floats, evaluate, find_first_true, shift_floats
from slipway.compiler.inversion import find_defined_range
from slipway.models.features import Feature, Record
from slipway.models.pipeline_engine import PipelineScorer
from slipway.models.signature import Signature
from slipway.models.validation import LARGEST_INTEGER

Range = tuple[float, float]
_Accepts = Callable[[float], bool]


def find_ranges(model: Any, signature: Signature, columns: list[Column]) -> dict[str, Range]:
    """Find the range of each number for which a pipeline returns a prediction.

    Parameters
    ----------
    model : estimator
    signature : Signature
        The model must return a prediction for the examples of the features.
    columns : list of Column
        All columns that the estimator adds up.

    Returns
    -------
    dict of str to (float, float)
        Both ends included. Features without a limit are left out. The model may still reject a
        number inside a range, as 0 before a reciprocal.
    """
    with warnings.catch_warnings():
        # Overflow is expected here.
        warnings.simplefilter("ignore")
        return _find_ranges(PipelineScorer(model, signature), signature, columns)


def _find_ranges(
    scorer: PipelineScorer, signature: Signature, columns: list[Column]
) -> dict[str, Range]:
    """Find the ranges with the scorer of a model."""
    example = tuple(feature.example for feature in signature.features)
    if not _flag_valid(scorer([example]))[0]:
        return {}
    estimates = _estimate_ranges(signature, columns)
    rows = [
        _replace_number(example, i, end, is_integer=signature.features[i].kind == "integer")
        for i, ends in estimates.items()
        for end in ends
    ]
    confirmed = iter(_flag_valid(scorer(rows)))
    ranges: dict[str, Range] = {}
    for i, (low, high) in estimates.items():
        feature = signature.features[i]
        accepts = _build_check(scorer, example, i, is_integer=feature.kind == "integer")
        largest, inside = _largest_number(feature), float(example[i])  # type: ignore[arg-type]
        result = (
            _find_end(accepts, inside, low, -1.0, largest, confirmed=next(confirmed)),
            _find_end(accepts, inside, high, 1.0, largest, confirmed=next(confirmed)),
        )
        if result != (-largest, largest):
            ranges[feature.name] = result
    return ranges


def _estimate_ranges(signature: Signature, columns: list[Column]) -> dict[int, Range]:
    """Estimate the range of each numeric feature that a step transforms, by its position."""
    ranges: dict[int, Range] = {}
    for i, feature in enumerate(signature.features):
        own = [column for column in columns if column.feature == feature.name]
        is_number = isinstance(feature.example, int | float)
        if feature.kind in ("number", "integer") and is_number and any(map(_column_stages, own)):
            ranges[i] = _estimate_range(own, feature)
    return ranges


def _column_stages(column: Column) -> tuple[Any, ...]:
    """Return the stages applied to a raw number."""
    if isinstance(column, NumericColumn):
        return column.path
    return column.domain.path if isinstance(column.domain, Intervals) else ()


def _largest_number(feature: Feature) -> float:
    """Return the largest number of a feature's kind."""
    return float(LARGEST_INTEGER) if feature.kind == "integer" else LARGEST


def _replace_number(example: Record, i: int, number: float, *, is_integer: bool) -> Record:
    """Replace a number of a record."""
    return (*example[:i], int(number) if is_integer else number, *example[i + 1 :])


def _flag_valid(predictions: Sequence[Any]) -> list[bool]:
    """Return for each prediction whether it is a number."""
    return [not math.isnan(p[0] if isinstance(p, tuple) else p) for p in predictions]


def _build_check(scorer: PipelineScorer, example: Record, i: int, *, is_integer: bool) -> _Accepts:
    """Build the function that returns whether the pipeline accepts a number of one feature."""
    return lambda number: _flag_valid(
        scorer([_replace_number(example, i, number, is_integer=is_integer)])
    )[0]


def _estimate_range(columns: list[Column], feature: Feature) -> Range:
    """Estimate the range in which all columns of a feature are finite, from their stages."""

    def is_finite(x: Floats) -> Any:
        flags = [np.isfinite(evaluate(_column_stages(column), x)) for column in columns]
        return np.logical_and.reduce(flags)

    largest, inside = _largest_number(feature), float(feature.example)  # type: ignore[arg-type]
    if not is_finite(np.array([inside]))[0]:
        return -largest, largest
    low, high = find_defined_range(is_finite, inside)
    if feature.kind == "integer":
        low, high = float(max(math.ceil(low), -largest)), float(min(math.floor(high), largest))
    return low, high


def _find_end(
    accepts: _Accepts, inside: float, end: float, sign: float, largest: float, *, confirmed: bool
) -> float:
    """Compare one estimated end with the pipeline, and search for it where they disagree."""
    if confirmed and end == sign * largest:
        return end
    is_integer = largest < LARGEST
    beyond = end + sign if is_integer else sign * float(shift_floats(np.array([sign * end]), 1)[0])
    if confirmed and not accepts(beyond):
        return end
    if accepts(sign * largest):
        return sign * largest
    low = sign * (end if confirmed else inside)
    if is_integer:
        return sign * _find_last_integer(lambda x: accepts(sign * x), math.ceil(low), int(largest))

    def is_rejected(x: Floats) -> Any:
        return np.array([not accepts(sign * number) for number in x.tolist()])

    return sign * float(shift_floats(find_first_true(is_rejected, low, largest), -1)[0])


def _find_last_integer(condition: Callable[[int], bool], low: int, high: int) -> float:
    """Find the last integer for which a condition holds. It must not hold at ``high``."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if condition(middle) else (low, middle)
    return float(low)
