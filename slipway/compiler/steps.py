"""Follow the columns through a fitted pipeline, step by step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.pipeline import FeatureUnion, Pipeline

from slipway.compiler.columns import (
    REFUSED,
    Column,
    DiscreteColumn,
    Levels,
    NotAScorecard,
    NumericColumn,
    extend,
    is_gap,
)
from slipway.compiler.probing import UNSEEN_TEXT, probe, unseen, usual
from slipway.compiler.transformers import KEEP, OutputColumn, known_levels, output_columns
from slipway.models.stages import Affine, Fill, Named, Stage

__all__ = ["UNSEEN_TEXT", "InputUse", "InputUses", "apply_step"]

# The functions whose result can be NaN where the number itself is not.
_PARTIAL = {"log", "log1p", "log2", "log10", "sqrt"}


@dataclass(frozen=True)
class InputUse:
    """A fitted transformer that reads a raw feature as its column ``position``."""

    feature: str
    step: Any
    position: int


InputUses = list[InputUse]


def apply_step(step: Any, columns: list[Column], readings: InputUses) -> list[Column]:
    """Give the columns that a fitted step makes of the columns it is given.

    Parameters
    ----------
    step : transformer
        Fitted; a subclass of a known transformer is not known.
    columns : list of Column
    readings : list of InputUse
        Whatever reads a raw feature is added here, also where a step is not known.

    Returns
    -------
    list of Column

    Raises
    ------
    NotAScorecard
        A step has no rule, a rule fails, or a column depends on more than one feature.
    """
    if step is None or (isinstance(step, str) and step == "passthrough"):
        return columns
    if type(step) in _compose.registry:
        return _compose(step, columns, readings)
    for position, column in enumerate(columns):
        if isinstance(column, NumericColumn) and not column.path:
            readings.append(InputUse(column.feature, step, position))
    if type(step) not in output_columns.registry:
        raise NotAScorecard(f"no rule for {type(step).__name__}")
    try:
        return _converted(step, columns)
    except NotAScorecard:
        raise
    except Exception as error:
        raise NotAScorecard(f"{type(step).__name__} cannot be compiled: {error}") from error


@singledispatch
def _compose(step: Any, columns: list[Column], readings: InputUses) -> list[Column]:
    """Put together what the parts of a step make."""
    raise NotImplementedError(type(step).__name__)


@_compose.register
def _(step: Pipeline, columns: list[Column], readings: InputUses) -> list[Column]:
    for _, part in step.steps:
        columns = apply_step(part, columns, readings)
    return columns


@_compose.register
def _(step: FeatureUnion, columns: list[Column], readings: InputUses) -> list[Column]:
    parts = [(part, columns, weight) for _, part, weight in step._iter()]
    return _side_by_side(parts, readings)


@_compose.register
def _(step: ColumnTransformer, columns: list[Column], readings: InputUses) -> list[Column]:
    weights = step.transformer_weights or {}
    parts = []
    for name, part, _ in step.transformers_:
        if not (isinstance(part, str) and part == "drop"):
            indices = step._transformer_to_input_indices[name]
            parts.append((part, [columns[i] for i in indices], weights.get(name)))
    return _side_by_side(parts, readings)


def _side_by_side(
    parts: Iterable[tuple[Any, list[Column], float | None]], readings: InputUses
) -> list[Column]:
    """Put the columns of several steps beside each other; every one of them is looked into."""
    made: list[Column] = []
    failure: NotAScorecard | None = None
    for part, columns, weight in parts:
        try:
            new = apply_step(part, columns, readings) if columns else []
            made += [_scale(each, weight) for each in new] if weight is not None else new
        except NotAScorecard as error:
            failure = failure or error
    if failure:
        raise failure
    return made


def _scale(column: Column, weight: float) -> Column:
    """Multiply a column by the weight that a step gives it."""
    if isinstance(column, NumericColumn):
        path = (*column.path, Affine(times=weight))
        return replace(column, path=path, missing=_times(column.missing, weight))
    return replace(
        column,
        values=tuple(_times(value, weight) for value in column.values),
        missing=_times(column.missing, weight),
        unseen=_times(column.unseen, weight),
    )


def _times(value: Any, weight: float) -> Any:
    return value if value is REFUSED or is_gap(value) else value * weight


def _converted(step: Any, columns: list[Column]) -> list[Column]:
    """Let a transformer with a rule convert its columns, each by itself."""
    made = output_columns(step)
    levels = known_levels(step)
    if levels is not None:
        columns = [_discretize(c, told) for c, told in zip(columns, levels, strict=True)]
    cases = [_cases(step, i, column) for i, column in enumerate(columns)]
    answers = probe(step, columns, cases, len(made))
    new: list[Column] = []
    for place, one in enumerate(made):
        column = columns[one.source]
        cells = [row[place] for row in answers[one.source]]
        if isinstance(column, DiscreteColumn):
            *values, missing, other = cells
            new.append(replace(column, values=tuple(values), missing=missing, unseen=other))
        else:
            new.append(_extend(step, column, one, *cells))
    return new


def _cases(step: Any, i: int, column: Column) -> list[Any]:
    """List what a step is asked about a column."""
    if isinstance(column, DiscreteColumn):
        return [*column.values, column.missing, column.unseen]
    return [column.missing, usual(step, i, column)]


def _discretize(column: Column, levels: tuple[Any, ...]) -> Column:
    """Make a raw feature that is read by its levels one of a few values."""
    if isinstance(column, DiscreteColumn):
        return column
    if column.path:
        raise NotAScorecard(f"{column.feature} is encoded by its values after being transformed")
    return DiscreteColumn(column.feature, Levels(levels), levels, column.missing, unseen(levels))


def _extend(
    step: Any, column: NumericColumn, one: OutputColumn, missing: Any, ordinary: Any
) -> Column:
    """Lead a number through the stages of a rule."""
    path = column.path
    partial = _may_be_nan(path)
    if one.tells_gaps:
        if partial:
            raise NotAScorecard(f"{type(step).__name__} tells which {column.feature} became NaN")
        return DiscreteColumn(column.feature, Levels(()), (), missing, ordinary)
    if partial and one.filled is not KEEP:
        if one.stages:
            raise NotAScorecard(f"{type(step).__name__} fills what became NaN of {column.feature}")
        return NumericColumn(column.feature, (*_unfilled(column), Fill(float(one.filled))), missing)
    if path and getattr(step, "validate", True):
        # Behind a function, a number may be infinite or NaN, for which this step may raise.
        takes_nan = is_gap(column.missing) and missing is not REFUSED
        path = (*path, Named("finite" if takes_nan else "known"))
    return extend(column.feature, path, one.stages, missing)


def _may_be_nan(path: tuple[Stage, ...]) -> bool:
    """Return whether a number can become NaN on a path that goes on, other than by a refusal."""
    last = max((i for i, stage in enumerate(path) if isinstance(stage, Fill)), default=-1)
    return any(isinstance(stage, Named) and stage.name in _PARTIAL for stage in path[last + 1 :])


def _unfilled(column: NumericColumn) -> list[Stage]:
    """Return a path whose NaN an imputer fills; infinity must still be infinite at its end."""
    path: list[Stage] = []
    marked = False
    for stage in column.path:
        if stage == Named("finite"):
            marked = True
        elif isinstance(stage, Affine) or (isinstance(stage, Named) and not marked):
            path.append(stage)
        else:
            raise NotAScorecard(f"{column.feature} is filled after a step that may refuse it")
    if Named("known") in path:
        raise NotAScorecard(f"{column.feature} is filled after a step that refuses it")
    return path
