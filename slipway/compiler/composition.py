"""Follow the columns through a fitted pipeline, step by step."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import FeatureUnion, Pipeline

from slipway.compiler.column import (
    REFUSED,
    Column,
    Levels,
    Line,
    NotAScorecard,
    Values,
    along,
    is_gap,
)
from slipway.compiler.transformers import Made, makes
from slipway.curve import Affine, through

UNSEEN_TEXT = "\x00 no category is called this"


@dataclass(frozen=True)
class Reading:
    """A fitted transformer that reads a raw feature as its column ``position``."""

    feature: str
    step: Any
    position: int


Readings = list[Reading]


def apply_step(step: Any, columns: list[Column], readings: Readings) -> list[Column]:
    """Give the columns that a fitted step makes of the columns it is given.

    Parameters
    ----------
    step : transformer
        Fitted; a subclass of a known transformer is not known.
    columns : list of Column
    readings : list of Reading
        Whatever reads a raw feature is added here, also where a step is not known.

    Returns
    -------
    list of Column

    Raises
    ------
    NotAScorecard
        A step has no rule, or a column depends on more than one feature.
    """
    if step is None or (isinstance(step, str) and step == "passthrough"):
        return columns
    if type(step) in _compose.registry:
        return _compose(step, columns, readings)
    for position, column in enumerate(columns):
        if isinstance(column, Line) and not column.path:
            readings.append(Reading(column.feature, step, position))
    if type(step) not in makes.registry:
        raise NotAScorecard(f"no rule for {type(step).__name__}")
    return _converted(step, columns)


@singledispatch
def _compose(step: Any, columns: list[Column], readings: Readings) -> list[Column]:
    """Put together what the parts of a step make."""
    raise NotImplementedError(type(step).__name__)


@_compose.register
def _(step: Pipeline, columns: list[Column], readings: Readings) -> list[Column]:
    for _, part in step.steps:
        columns = apply_step(part, columns, readings)
    return columns


@_compose.register
def _(step: FeatureUnion, columns: list[Column], readings: Readings) -> list[Column]:
    parts = [(part, columns, weight) for _, part, weight in step._iter()]
    return _side_by_side(parts, readings)


@_compose.register
def _(step: ColumnTransformer, columns: list[Column], readings: Readings) -> list[Column]:
    weights = step.transformer_weights or {}
    parts = []
    for name, part, _ in step.transformers_:
        if not (isinstance(part, str) and part == "drop"):
            indices = step._transformer_to_input_indices[name]
            parts.append((part, [columns[i] for i in indices], weights.get(name)))
    return _side_by_side(parts, readings)


def _side_by_side(
    parts: Iterable[tuple[Any, list[Column], float | None]], readings: Readings
) -> list[Column]:
    """Put the columns of several steps beside each other; every one of them is looked into."""
    made: list[Column] = []
    failure: NotAScorecard | None = None
    for part, columns, weight in parts:
        try:
            new = apply_step(part, columns, readings) if columns else []
            made += [_weighed(each, weight) for each in new] if weight is not None else new
        except NotAScorecard as error:
            failure = failure or error
    if failure:
        raise failure
    return made


def _weighed(column: Column, weight: float) -> Column:
    """Multiply a column by the weight that a step gives it."""
    if isinstance(column, Line):
        stages = (Affine(times=weight),)
        return replace(column, path=(*column.path, *stages), missing=_led(column.missing, stages))
    by = [v if v is REFUSED else v * weight for v in (*column.values, column.missing)]
    unseen = column.unseen if column.unseen is REFUSED else column.unseen * weight
    return replace(column, values=tuple(by[:-1]), missing=by[-1], unseen=unseen)


def _converted(step: Any, columns: list[Column]) -> list[Column]:
    """Let a transformer with a rule convert its columns, each by itself."""
    made = makes(step)
    told = {one.source: one.levels for one in made if one.levels is not None}
    columns = [_leveled(column, told.get(i)) for i, column in enumerate(columns)]
    answers = {
        i: _asked(step, columns, i, c) for i, c in enumerate(columns) if isinstance(c, Values)
    }
    new: list[Column] = []
    for place, one in enumerate(made):
        column = columns[one.source]
        if isinstance(column, Values):
            *values, missing, unseen = (row[place] for row in answers[one.source])
            new.append(replace(column, values=tuple(values), missing=missing, unseen=unseen))
        else:
            new.append(_led_on(column, one))
    return new


def _leveled(column: Column, levels: tuple[Any, ...] | None) -> Column:
    """Make a raw feature that is read by its levels one of a few values."""
    if levels is None or isinstance(column, Values):
        return column
    if column.path:
        raise NotAScorecard(f"{column.feature} is encoded by its values after being transformed")
    return Values(column.feature, Levels(levels), levels, column.missing, _unseen(levels))


def _unseen(levels: tuple[Any, ...]) -> Any:
    """Make up a value that is none of the levels."""
    if not levels or isinstance(levels[0], bool):
        return REFUSED
    return UNSEEN_TEXT if isinstance(levels[0], str) else max(levels) + 1


def _led_on(column: Line, one: Made) -> Column:
    """Lead a number through the stages of a rule."""
    gap = is_gap(column.missing)
    missing = one.missing(column.missing) if gap else _led(column.missing, one.stages)
    return along(column, one.stages, missing)


def _led(value: Any, stages: tuple[Any, ...]) -> Any:
    """Lead what stands for a missing number through stages; a gap stays one."""
    return through(stages)(value) if stages and not is_gap(value) else value


def _asked(step: Any, columns: Sequence[Column], position: int, column: Values) -> list[list[Any]]:
    """Ask a transformer what it makes of each value of one column, by row and output column."""
    rows = _answers(step, columns, position, list(column.values))
    refused = [REFUSED] * len(rows[0])
    for single in (column.missing, column.unseen):
        try:
            # What a step refused stays refused, whatever the next would make of it.
            asked = single is not REFUSED
            rows += _answers(step, columns, position, [single]) if asked else [refused]
        except (ValueError, TypeError):
            # Some encoders of texts stumble over a gap that they were not fitted on.
            rows.append(refused)
    return rows


def _answers(
    step: Any, columns: Sequence[Column], position: int, values: list[Any]
) -> list[list[Any]]:
    """Transform rows that differ in one column, and stay the same in all the others."""
    names = getattr(step, "feature_names_in_", range(len(columns)))
    cells: dict[Any, pd.Series[Any]] = {}
    for i, (name, column) in enumerate(zip(names, columns, strict=True)):
        ordinary = column.values[0] if isinstance(column, Values) else 1.0
        column_type = None if isinstance(ordinary, int | float) else object
        given = values if i == position else [ordinary] * len(values)
        cells[name] = pd.Series(given, dtype=column_type)
    X: Any = pd.DataFrame(cells)
    with warnings.catch_warnings():
        # The unseen value is unseen on purpose.
        warnings.simplefilter("ignore")
        answered = step.transform(X if hasattr(step, "feature_names_in_") else X.to_numpy())
    if hasattr(answered, "toarray"):
        answered = answered.toarray()
    rows: list[list[Any]] = np.asarray(answered).tolist()
    return rows
