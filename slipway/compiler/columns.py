"""One column on its way through a pipeline, as a function of one raw feature.

It is a ``NumericColumn`` as long as it follows a number along a curve, and a ``DiscreteColumn`` as
soon as it has a few possible values. Any transformer can then be called with each of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from slipway.models.stages import Pieces, Stage


class NotAScorecard(Exception):
    """The pipeline is not a sum of one-feature terms, or has a step without a rule."""


class _Refused:
    """The pipeline raises for such an input."""

    def __repr__(self) -> str:
        return "REFUSED"


REFUSED: Final = _Refused()


@dataclass(frozen=True)
class NumericColumn:
    """A curve over a raw number, or a raw feature itself, be it a text or a number.

    Attributes
    ----------
    feature : str
    path : tuple of Stage
        What the number has gone through; nothing of it while it is raw.
    missing : object
        What stands here for a missing input: the gap itself, until a step fills it.
    """

    feature: str
    path: tuple[Stage, ...]
    missing: Any


@dataclass(frozen=True)
class Levels:
    """Known values of a raw feature; any other is unseen."""

    levels: tuple[Any, ...]


@dataclass(frozen=True)
class Intervals:
    """Intervals of a number that has gone through a path; an edge belongs to the one above."""

    path: tuple[Stage, ...]
    edges: tuple[float, ...]


@dataclass(frozen=True)
class DiscreteColumn:
    """One of a few values.

    Attributes
    ----------
    feature : str
    domain : Levels or Intervals
    values : tuple
        By level, or by interval.
    missing, unseen : object
        For a missing input, and for a value that is none of the levels; ``REFUSED`` where a
        step raises for it.
    """

    feature: str
    domain: Levels | Intervals
    values: tuple[Any, ...]
    missing: Any
    unseen: Any = REFUSED


Column = NumericColumn | DiscreteColumn


def is_gap(value: Any) -> bool:
    """Whether a value still is the missing one, which no step has filled."""
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def is_unanswered(value: Any) -> bool:
    """Return whether an estimator raises for a value: a refused one, a gap or an infinity."""
    if value is REFUSED or is_gap(value):
        return True
    return not isinstance(value, int | float) or not math.isfinite(value)


def extend(
    feature: str, path: tuple[Stage, ...], stages: tuple[Stage, ...], missing: Any
) -> Column:
    """Extend a path by stages; a column that ends in steps has only a few values from there."""
    path = (*path, *stages)
    last = path[-1] if stages else None
    if not isinstance(last, Pieces) or last.degree:
        return NumericColumn(feature, path, missing)
    points = tuple(each[0] for each in last.coefficients)
    return DiscreteColumn(feature, Intervals(path[:-1], last.edges), points, missing)
