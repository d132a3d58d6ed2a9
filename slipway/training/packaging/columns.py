"""Infer a feature from its column of training rows."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from slipway.core.errors import SlipwayError
from slipway.models.features import Feature, Kind, Record, Value
from slipway.models.signature import Signature
from slipway.models.validation import MAX_TEXT, MISSING_TEXTS
from slipway.training.packaging.encoder_hints import Hints

_NUMBERS = (int, float, np.integer, np.floating)


def feature_of_column(name: str, column: pd.Series[Any], hints: Hints) -> Feature:
    """Infer a feature from its column, and from what the transformers know of it.

    Raises
    ------
    SlipwayError
        JSON has no value for what the column holds.
    """
    known = column.dropna()
    kind, dtype = _kind_and_type(name, column, known)
    if kind == "text" and hints.categories is not None:
        kind = "category"
    gap: Any = "none" if hints.gap_is_none else "nan"
    if pd.api.types.is_object_dtype(column.dtype) and len(known) < len(column):
        gaps = column[column.isna()]
        gap = "none" if gaps.map(lambda v: v is None).any() else gap
        gap = "na" if gaps.map(lambda v: v is pd.NA).any() else gap
    shared: dict[str, Any] = {
        "nullable": True,
        "complete": len(known) == len(column),
        "gap_known": kind == "category" and _knows_gap(column, hints),
        "dtype": dtype,
        "gap": gap,
    }
    if isinstance(column.dtype, pd.CategoricalDtype):
        shared["ordered"] = bool(column.dtype.ordered)
    if kind in ("number", "integer"):
        return _number(name, column, known, hints, shared)
    if kind in ("flag", "category"):
        return _listed(name, kind, column, known, hints, shared)
    example = None if known.empty else json_value(kind, _typical(known))
    if kind == "text":
        shared["kept"] = tuple(sorted(set(MISSING_TEXTS) & set(map(str, known))))
        shared["gap_known"] = len(known) < len(column)
    return Feature(name, kind, name, example, **shared)


def _knows_gap(column: pd.Series[Any], hints: Hints) -> bool:
    """Whether the pipeline has more for a missing value than for an unseen one."""
    return hints.knows_gaps if hints.categories is not None else bool(column.isna().any())


def _typical(known: pd.Series[Any]) -> Any:
    """Return the commonest value, of those that are all different a middle one."""
    counts = known.map(str).value_counts()
    text = counts.index[0] if counts.iloc[0] > 1 else sorted(counts.index)[len(counts) // 2]
    return known[known.map(str) == text].iloc[0]


def _kind_and_type(name: str, column: pd.Series[Any], known: pd.Series[Any]) -> tuple[Kind, str]:
    """Return the kind of a column, and its type where the kind does not say it."""
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _kind_of_categories(name, dtype)
    if pd.api.types.is_object_dtype(dtype):
        return _kind_of_objects(name, known)
    if isinstance(dtype, pd.StringDtype):
        is_default = dtype.na_value is not pd.NA
        return "text", "str" if is_default else f"string[{dtype.storage}]"
    if pd.api.types.is_bool_dtype(dtype):
        return "flag", str(dtype)
    if pd.api.types.is_datetime64_any_dtype(dtype) or str(dtype).startswith("date32"):
        return "datetime", str(dtype)
    if pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_complex_dtype(dtype):
        return "number", "" if str(dtype) == "float64" else str(dtype)
    if str(dtype) in ("string[pyarrow]", "large_string[pyarrow]"):
        return "text", str(dtype)
    raise SlipwayError(f"the column {name} holds {dtype}, which JSON cannot carry; {_ADVICE}")


_ADVICE = "turn it into numbers, texts or dates before the fit"


def _kind_of_categories(name: str, dtype: pd.CategoricalDtype) -> tuple[Kind, str]:
    """Return the kind of a pandas category column, by its categories."""
    categories = dtype.categories
    if isinstance(categories.dtype, pd.IntervalDtype):
        return "category", "category:interval"
    kind, inner = _kind_and_type(name, pd.Series(categories), pd.Series(categories))
    if kind == "datetime" or inner == "decimal":
        raise SlipwayError(f"the column {name} has categories of {inner or kind}; {_ADVICE}")
    is_whole = pd.api.types.is_integer_dtype(categories.dtype)
    return "category" if kind == "text" else "integer" if is_whole else kind, "category"


def _kind_of_objects(name: str, known: pd.Series[Any]) -> tuple[Kind, str]:
    """Return the kind of a column of Python objects."""
    values = known.tolist()
    if all(isinstance(v, str) for v in values):
        return "text", ""
    if all(isinstance(v, bool | np.bool_) for v in values):
        return "flag", "object"
    if all(isinstance(v, Decimal) for v in values):
        return "number", "decimal"
    if all(isinstance(v, _NUMBERS) and not isinstance(v, bool | np.bool_) for v in values):
        return "number", "object"
    if all(isinstance(v, datetime.datetime) for v in values):
        return "datetime", "object:datetime"
    if all(isinstance(v, datetime.date) for v in values):
        return "datetime", "object:date"
    found = ", ".join(sorted({type(v).__name__ for v in values}))
    raise SlipwayError(f"the column {name} holds values of several types ({found}); {_ADVICE}")


def _number(
    name: str, column: pd.Series[Any], known: pd.Series[Any], hints: Hints, shared: dict[str, Any]
) -> Feature:
    """Infer a feature of numbers."""
    categorical = isinstance(column.dtype, pd.CategoricalDtype)
    # A category column that an encoder reads has the values that the encoder knows.
    listed = hints.categories or (column.cat.categories.tolist() if categorical else ())
    values = known.astype(float)
    finite = values[np.isfinite(values)].sort_values()
    whole = bool(
        pd.api.types.is_integer_dtype(known.cat.categories.dtype if categorical else column.dtype)
    )
    number = int if whole else float
    categories = tuple(number(each) for each in listed if not isinstance(each, str))
    example: Value = None
    if len(finite):
        middle = known.loc[finite.index[len(finite) // 2]]
        example = number(middle)
    seen = (float(finite.iloc[0]), float(finite.iloc[-1])) if len(finite) else None
    kind: Kind = "integer" if whole else "number"
    if categories:
        seen = None
    return Feature(name, kind, name, example, seen=seen, categories=categories, **shared)


def _listed(
    name: str,
    kind: Kind,
    column: pd.Series[Any],
    known: pd.Series[Any],
    hints: Hints,
    shared: dict[str, Any],
) -> Feature:
    """Infer a feature of flags or categories."""
    example = None if known.empty else json_value(kind, known.mode().iloc[0])
    if kind == "flag":
        known_flags = {bool(c) for c in hints.categories or () if not isinstance(c, str)}
        flags: tuple[bool, ...] = (known_flags.pop(),) if len(known_flags) == 1 else ()
        if isinstance(column.dtype, pd.CategoricalDtype):
            flags = tuple(map(bool, column.cat.categories))
        return Feature(name, kind, name, example, categories=flags, **shared)
    declared: list[Any] = []
    if isinstance(column.dtype, pd.CategoricalDtype):
        declared = [json_value(kind, each) for each in column.cat.categories]
    encoded = None if hints.categories is None else list(map(str, hints.categories))
    if encoded is not None:
        declared = [c for c in declared if c in encoded] + [c for c in encoded if c not in declared]
    return Feature(name, kind, name, example, categories=tuple(declared), **shared)


def json_value(kind: Kind, value: Any) -> Value:
    """Return a value of a column as a record holds it."""
    if kind == "flag":
        return bool(value)
    if kind in ("category", "text"):
        return str(value)[:MAX_TEXT]
    if kind == "datetime":
        return str(value.isoformat())
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return int(value)
    return int(value) if kind == "integer" else float(value)


def to_records(X: pd.DataFrame, signature: Signature) -> list[Record]:
    """Return the rows of a frame as records, with None for what is missing."""
    columns = [_values(X[feature.name], feature.kind) for feature in signature.features]
    return list(zip(*columns, strict=True))


def _values(column: pd.Series[Any], kind: Kind) -> list[Value]:
    """Return the values of a column, with None for what is missing."""
    missing = column.isna()
    plain = kind == "number" and column.dtype in (np.float64, np.int64)
    if plain or (kind == "category" and pd.api.types.is_object_dtype(column.dtype)):
        found: list[Value] = column.astype(object).where(~missing, None).tolist()
        return found
    if kind == "integer" and column.dtype in (np.float64, np.int64):
        return column.astype("Int64").astype(object).where(~missing, None).tolist()
    pairs = zip(column.tolist(), missing.tolist(), strict=True)
    return [None if gap else json_value(kind, value) for value, gap in pairs]
