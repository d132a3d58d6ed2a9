"""A column at one step of a pipeline, as a function of one raw feature.

A column is a ``NumericColumn`` while it follows a number along a curve. It becomes a
``DiscreteColumn`` when it can have only a few values, and then a transformer can be called with
each of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from slipway.models.stages import Pieces, Stage


class NotAScorecard(Exception):
    """The pipeline is not a sum of one-feature terms, or a step has no rule."""


class _Rejected:
    """Marker of an input for which the pipeline raises."""

    def __repr__(self) -> str:
        return "REJECTED"


REJECTED: Final = _Rejected()


@dataclass(frozen=True)
class NumericColumn:
    """A curve over a raw number, or a raw feature: a text or a number.

    Attributes
    ----------
    feature : str
    path : tuple of Stage
        The stages applied to the number so far. Empty for a raw feature.
    missing : object
        The value for a missing input. This is the missing value itself until a step fills it.
    """

    feature: str
    path: tuple[Stage, ...]
    missing: Any


@dataclass(frozen=True)
class Levels:
    """Known values of a raw feature. All other values are unseen."""

    levels: tuple[Any, ...]


@dataclass(frozen=True)
class Intervals:
    """Intervals of a number at the end of a path. An edge belongs to the interval above it."""

    path: tuple[Stage, ...]
    edges: tuple[float, ...]


@dataclass(frozen=True)
class DiscreteColumn:
    """A column with few possible values.

    Attributes
    ----------
    feature : str
    domain : Levels or Intervals
    values : tuple
        One value per level, or per interval.
    missing, unseen : object
        The value for a missing input, and for an input that is not one of the levels;
        ``REJECTED`` where a step raises for that input.
    """

    feature: str
    domain: Levels | Intervals
    values: tuple[Any, ...]
    missing: Any
    unseen: Any = REJECTED


Column = NumericColumn | DiscreteColumn


def is_missing(value: Any) -> bool:
    """Return whether a value is a missing value that no step has filled."""
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def is_invalid(value: Any) -> bool:
    """Return whether an estimator raises for a value: rejected, missing or infinite."""
    if value is REJECTED or is_missing(value):
        return True
    return not isinstance(value, int | float) or not math.isfinite(value)


def extend(
    feature: str, path: tuple[Stage, ...], stages: tuple[Stage, ...], missing: Any
) -> Column:
    """Append stages to a path. A column whose last stage is a step function becomes discrete."""
    path = (*path, *stages)
    last = path[-1] if stages else None
    if not isinstance(last, Pieces) or last.degree:
        return NumericColumn(feature, path, missing)
    points = tuple(polynomial[0] for polynomial in last.coefficients)
    return DiscreteColumn(feature, Intervals(path[:-1], last.edges), points, missing)
