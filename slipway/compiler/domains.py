"""The range of each number in which a pipeline answers.

A scorecard folds scaling into slopes, so that it would answer where the pipeline raises: a number
that overflows on its way, or that lies outside the domain of a function. The stages say where the
range ends; the pipeline itself is asked on both sides of each end, and where it disagrees the end
is searched with the pipeline alone.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from slipway.compiler.columns import Column, Intervals, NumericColumn
from slipway.compiler.floats import LARGEST, Floats, evaluate, first_true, moved
from slipway.compiler.inversion import defined
from slipway.models.features import Feature, Record
from slipway.models.pipeline_engine import PipelineScorer
from slipway.models.signature import Signature
from slipway.models.validation import LARGEST_INTEGER

Range = tuple[float, float]
_Asks = Callable[[float], bool]


def find_ranges(model: Any, signature: Signature, columns: list[Column]) -> dict[str, Range]:
    """Find the range of each number in which a pipeline answers.

    Parameters
    ----------
    model : estimator
    signature : Signature
        Each feature's example is a value that the model answers.
    columns : list of Column
        All columns that the estimator adds up.

    Returns
    -------
    dict of str to (float, float)
        Both ends included; a feature whose numbers are all answered is left out. A number inside
        may still have no answer, as 0 before a reciprocal.
    """
    with warnings.catch_warnings():
        # Numbers overflow on purpose.
        warnings.simplefilter("ignore")
        return _found(PipelineScorer(model, signature), signature, columns)


def _found(scorer: PipelineScorer, signature: Signature, columns: list[Column]) -> dict[str, Range]:
    """Find the ranges with a model that answers."""
    example = tuple(feature.example for feature in signature.features)
    if not _answered(scorer([example]))[0]:
        return {}
    ends: dict[int, Range] = {}
    for i, feature in enumerate(signature.features):
        own = [column for column in columns if column.feature == feature.name]
        numeric = isinstance(feature.example, int | float)
        if feature.kind in ("number", "integer") and numeric and any(map(_path, own)):
            ends[i] = _by_stages(own, feature)
    rows = [
        _with(example, i, end, whole=signature.features[i].kind == "integer")
        for i, pair in ends.items()
        for end in pair
    ]
    right = iter(_answered(scorer(rows)))
    ranges: dict[str, Range] = {}
    for i, (low, high) in ends.items():
        feature = signature.features[i]
        asks = _asking(scorer, example, i, whole=feature.kind == "integer")
        most, inside = _most(feature), float(example[i])  # type: ignore[arg-type]
        found = (
            _end(asks, inside, low, -1.0, most, right=next(right)),
            _end(asks, inside, high, 1.0, most, right=next(right)),
        )
        if found != (-most, most):
            ranges[feature.name] = found
    return ranges


def _path(column: Column) -> tuple[Any, ...]:
    """Return what a raw number goes through."""
    if isinstance(column, NumericColumn):
        return column.path
    return column.domain.path if isinstance(column.domain, Intervals) else ()


def _most(feature: Feature) -> float:
    """Return the largest number of a feature's kind."""
    return float(LARGEST_INTEGER) if feature.kind == "integer" else LARGEST


def _with(example: Record, i: int, number: float, *, whole: bool) -> Record:
    """Put a number into a record."""
    return (*example[:i], int(number) if whole else number, *example[i + 1 :])


def _answered(answers: Sequence[Any]) -> list[bool]:
    return [not math.isnan(each[0] if isinstance(each, tuple) else each) for each in answers]


def _asking(scorer: PipelineScorer, example: Record, i: int, *, whole: bool) -> _Asks:
    """Build the question whether the pipeline answers a number of one feature."""
    return lambda number: _answered(scorer([_with(example, i, number, whole=whole)]))[0]


def _by_stages(columns: list[Column], feature: Feature) -> Range:
    """Find where all columns of a feature are finite, by their stages."""

    def finite(x: Floats) -> Any:
        held = [np.isfinite(evaluate(_path(column), x)) for column in columns]
        return np.logical_and.reduce(held)

    most, inside = _most(feature), float(feature.example)  # type: ignore[arg-type]
    if not finite(np.array([inside]))[0]:
        return -most, most
    low, high = defined(finite, inside)
    if feature.kind == "integer":
        low, high = float(max(math.ceil(low), -most)), float(min(math.floor(high), most))
    return low, high


def _end(asks: _Asks, inside: float, end: float, sign: float, most: float, *, right: bool) -> float:
    """Hold one end against the pipeline, and search it where the pipeline says otherwise."""
    if right and end == sign * most:
        return end
    whole = most < LARGEST
    beyond = end + sign if whole else sign * float(moved(np.array([sign * end]), 1)[0])
    if right and not asks(beyond):
        return end
    if asks(sign * most):
        return sign * most
    low = sign * (end if right else inside)
    if whole:
        return sign * _last_whole(lambda x: asks(sign * x), math.ceil(low), int(most))

    def refused(x: Floats) -> Any:
        return np.array([not asks(sign * number) for number in x.tolist()])

    return sign * float(moved(first_true(refused, low, most), -1)[0])


def _last_whole(holds: Callable[[int], bool], low: int, high: int) -> float:
    """Find the last whole number for which a condition holds; it does not at ``high``."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return float(low)
