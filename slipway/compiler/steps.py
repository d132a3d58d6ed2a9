"""Follow the columns through a fitted pipeline, step by step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.pipeline import FeatureUnion, Pipeline

from slipway.compiler.columns import (
    REJECTED,
    Column,
    DiscreteColumn,
    Levels,
    NotAScorecard,
    NumericColumn,
    extend,
    is_missing,
)
from slipway.compiler.probing import choose_typical_value, choose_unseen_value, probe
from slipway.compiler.transformers import KEEP_NAN, OutputColumn, list_levels, output_columns
from slipway.models.stages import Affine, Fill, Named, Stage

# Functions that can return NaN for a number that is not NaN.
_NAN_FUNCTIONS = {"log", "log1p", "log2", "log10", "sqrt"}


@dataclass(frozen=True)
class InputUse:
    """A fitted transformer that reads a raw feature as its column ``position``."""

    feature: str
    step: Any
    position: int


InputUses = list[InputUse]


def apply_step(step: Any, columns: list[Column], uses: InputUses) -> list[Column]:
    """Return the columns that a fitted step makes of its input columns.

    Parameters
    ----------
    step : transformer
        Fitted. A subclass of a known transformer counts as unknown.
    columns : list of Column
    uses : list of InputUse
        Every use of a raw feature is appended here, including uses by unknown steps.

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
        return _compose(step, columns, uses)
    for position, column in enumerate(columns):
        if isinstance(column, NumericColumn) and not column.path:
            uses.append(InputUse(column.feature, step, position))
    if type(step) not in output_columns.registry:
        raise NotAScorecard(f"no rule for {type(step).__name__}")
    try:
        return _convert(step, columns)
    except NotAScorecard:
        raise
    except Exception as error:
        raise NotAScorecard(f"{type(step).__name__} cannot be compiled: {error}") from error


@singledispatch
def _compose(step: Any, columns: list[Column], uses: InputUses) -> list[Column]:
    """Combine the outputs of the parts of a step."""
    raise NotImplementedError(type(step).__name__)


@_compose.register
def _(step: Pipeline, columns: list[Column], uses: InputUses) -> list[Column]:
    for _, part in step.steps:
        columns = apply_step(part, columns, uses)
    return columns


@_compose.register
def _(step: FeatureUnion, columns: list[Column], uses: InputUses) -> list[Column]:
    parts = [(part, columns, weight) for _, part, weight in step._iter()]
    return _concatenate(parts, uses)


@_compose.register
def _(step: ColumnTransformer, columns: list[Column], uses: InputUses) -> list[Column]:
    weights = step.transformer_weights or {}
    parts = []
    for name, part, _ in step.transformers_:
        if not (isinstance(part, str) and part == "drop"):
            indices = step._transformer_to_input_indices[name]
            parts.append((part, [columns[i] for i in indices], weights.get(name)))
    return _concatenate(parts, uses)


def _concatenate(
    parts: Iterable[tuple[Any, list[Column], float | None]], uses: InputUses
) -> list[Column]:
    """Concatenate the columns of several steps. A failing step does not hide later uses."""
    combined: list[Column] = []
    failure: NotAScorecard | None = None
    for part, columns, weight in parts:
        try:
            new = apply_step(part, columns, uses) if columns else []
            combined += [_scale(column, weight) for column in new] if weight is not None else new
        except NotAScorecard as error:
            failure = failure or error
    if failure:
        raise failure
    return combined


def _scale(column: Column, weight: float) -> Column:
    """Multiply a column by the weight of its transformer."""
    if isinstance(column, NumericColumn):
        path = (*column.path, Affine(times=weight))
        return replace(column, path=path, missing=_multiply(column.missing, weight))
    return replace(
        column,
        values=tuple(_multiply(value, weight) for value in column.values),
        missing=_multiply(column.missing, weight),
        unseen=_multiply(column.unseen, weight),
    )


def _multiply(value: Any, weight: float) -> Any:
    return value if value is REJECTED or is_missing(value) else value * weight


def _convert(step: Any, columns: list[Column]) -> list[Column]:
    """Apply a transformer that has a rule to each of its columns."""
    outputs = output_columns(step)
    levels = list_levels(step)
    if levels is not None:
        columns = [_discretize(c, known) for c, known in zip(columns, levels, strict=True)]
    cases = [_list_cases(step, i, column) for i, column in enumerate(columns)]
    probed = probe(step, columns, cases, len(outputs))
    converted: list[Column] = []
    for position, output in enumerate(outputs):
        column = columns[output.source]
        cells = [row[position] for row in probed[output.source]]
        if isinstance(column, DiscreteColumn):
            *values, missing, unseen = cells
            converted.append(replace(column, values=tuple(values), missing=missing, unseen=unseen))
        else:
            converted.append(_extend(step, column, output, *cells))
    return converted


def _list_cases(step: Any, i: int, column: Column) -> list[Any]:
    """List the values of a column that a step is probed with."""
    if isinstance(column, DiscreteColumn):
        return [*column.values, column.missing, column.unseen]
    return [column.missing, choose_typical_value(step, i, column)]


def _discretize(column: Column, levels: tuple[Any, ...]) -> Column:
    """Convert a raw feature that an encoder reads by its levels to a discrete column."""
    if isinstance(column, DiscreteColumn):
        return column
    if column.path:
        raise NotAScorecard(f"an encoder reads the transformed values of {column.feature}")
    return DiscreteColumn(
        column.feature, Levels(levels), levels, column.missing, choose_unseen_value(levels)
    )


def _extend(
    step: Any, column: NumericColumn, output: OutputColumn, missing: Any, present: Any
) -> Column:
    """Append the stages of a rule to a numeric column."""
    name, path = type(step).__name__, column.path
    may_be_nan = _may_be_nan(path)
    if output.is_indicator:
        if may_be_nan:
            raise NotAScorecard(f"{name} marks values of {column.feature} that became NaN")
        return DiscreteColumn(column.feature, Levels(()), (), missing, present)
    if may_be_nan and output.fill_value is not KEEP_NAN:
        if output.stages:
            raise NotAScorecard(f"{name} fills values of {column.feature} that became NaN")
        return NumericColumn(
            column.feature, (*_strip_marks(column), Fill(float(output.fill_value))), missing
        )
    if path and getattr(step, "validate", True):
        # A function may return infinity or NaN, for which this step may raise.
        takes_nan = is_missing(column.missing) and missing is not REJECTED
        path = (*path, Named("finite" if takes_nan else "known"))
    return extend(column.feature, path, output.stages, missing)


def _may_be_nan(path: tuple[Stage, ...]) -> bool:
    """Return whether a function in a path can return NaN that no later stage fills."""
    last = max((i for i, stage in enumerate(path) if isinstance(stage, Fill)), default=-1)
    return any(
        isinstance(stage, Named) and stage.name in _NAN_FUNCTIONS for stage in path[last + 1 :]
    )


def _strip_marks(column: NumericColumn) -> list[Stage]:
    """Return a path without its marks, for an imputer to fill. Infinity must survive the path."""
    path: list[Stage] = []
    is_marked = False
    for stage in column.path:
        if stage == Named("finite"):
            is_marked = True
        elif isinstance(stage, Affine) or (isinstance(stage, Named) and not is_marked):
            path.append(stage)
        else:
            raise NotAScorecard(f"{column.feature} is filled after a step that may reject it")
    if Named("known") in path:
        raise NotAScorecard(f"{column.feature} is filled after a step that rejects it")
    return path
