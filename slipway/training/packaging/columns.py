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
from slipway.training.packaging.encoder_hints import EncoderHints

_NUMBERS = (int, float, np.integer, np.floating)


def infer_feature(name: str, column: pd.Series[Any], hints: EncoderHints) -> Feature:
    """Infer a feature from its column and the hints of the transformers.

    Raises
    ------
    SlipwayError
        JSON cannot represent the values of the column.
    """
    present = column.dropna()
    kind, dtype = _kind_and_type(name, column, present)
    if kind == "text" and hints.categories is not None:
        kind = "category"
    gap: Any = "none" if hints.missing_is_none else "nan"
    if pd.api.types.is_object_dtype(column.dtype) and len(present) < len(column):
        missing = column[column.isna()]
        gap = "none" if missing.map(lambda v: v is None).any() else gap
        gap = "na" if missing.map(lambda v: v is pd.NA).any() else gap
    shared: dict[str, Any] = {
        "nullable": True,
        "complete": len(present) == len(column),
        "gap_known": kind == "category" and _handles_missing(column, hints),
        "dtype": dtype,
        "gap": gap,
    }
    if isinstance(column.dtype, pd.CategoricalDtype):
        shared["ordered"] = bool(column.dtype.ordered)
    if kind in ("number", "integer"):
        return _infer_number(name, column, present, hints, shared)
    if kind in ("flag", "category"):
        return _infer_listed(name, kind, column, present, hints, shared)
    example = None if present.empty else json_value(kind, _typical(present))
    if kind == "text":
        shared["kept"] = tuple(sorted(set(MISSING_TEXTS) & set(map(str, present))))
        shared["gap_known"] = len(present) < len(column)
    return Feature(name, kind, name, example, **shared)


def _handles_missing(column: pd.Series[Any], hints: EncoderHints) -> bool:
    """Return whether the pipeline treats missing and unseen values differently."""
    return hints.handles_missing if hints.categories is not None else bool(column.isna().any())


def _typical(present: pd.Series[Any]) -> Any:
    """Return the most frequent value, or a middle one if all values differ."""
    counts = present.map(str).value_counts()
    text = counts.index[0] if counts.iloc[0] > 1 else sorted(counts.index)[len(counts) // 2]
    return present[present.map(str) == text].iloc[0]


def _kind_and_type(name: str, column: pd.Series[Any], present: pd.Series[Any]) -> tuple[Kind, str]:
    """Return the kind of a column, and its type unless the kind implies it."""
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _kind_of_categories(name, dtype)
    if pd.api.types.is_object_dtype(dtype):
        return _kind_of_objects(name, present)
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
    raise SlipwayError(f"column {name} has type {dtype}, which JSON cannot represent; {_ADVICE}")


_ADVICE = "convert it to numbers, texts or dates before the fit"


def _kind_of_categories(name: str, dtype: pd.CategoricalDtype) -> tuple[Kind, str]:
    """Return the kind of a pandas category column."""
    categories = dtype.categories
    if isinstance(categories.dtype, pd.IntervalDtype):
        return "category", "category:interval"
    kind, inner = _kind_and_type(name, pd.Series(categories), pd.Series(categories))
    if kind == "datetime" or inner == "decimal":
        raise SlipwayError(f"column {name} has categories of type {inner or kind}; {_ADVICE}")
    is_whole = pd.api.types.is_integer_dtype(categories.dtype)
    return "category" if kind == "text" else "integer" if is_whole else kind, "category"


def _kind_of_objects(name: str, present: pd.Series[Any]) -> tuple[Kind, str]:
    """Return the kind of a column of Python objects."""
    values = present.tolist()
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
    types = ", ".join(sorted({type(v).__name__ for v in values}))
    raise SlipwayError(f"column {name} mixes values of several types ({types}); {_ADVICE}")


def _infer_number(
    name: str,
    column: pd.Series[Any],
    present: pd.Series[Any],
    hints: EncoderHints,
    shared: dict[str, Any],
) -> Feature:
    """Infer a feature of numbers."""
    categorical = isinstance(column.dtype, pd.CategoricalDtype)
    # An encoder's categories override those of a pandas category column.
    encoded = hints.categories or (column.cat.categories.tolist() if categorical else ())
    values = present.astype(float)
    finite = values[np.isfinite(values)].sort_values()
    whole = bool(
        pd.api.types.is_integer_dtype(present.cat.categories.dtype if categorical else column.dtype)
    )
    number = int if whole else float
    categories = tuple(number(value) for value in encoded if not isinstance(value, str))
    example: Value = None
    if len(finite):
        middle = present.loc[finite.index[len(finite) // 2]]
        example = number(middle)
    seen = (float(finite.iloc[0]), float(finite.iloc[-1])) if len(finite) else None
    kind: Kind = "integer" if whole else "number"
    if categories:
        seen = None
    return Feature(name, kind, name, example, seen=seen, categories=categories, **shared)


def _infer_listed(
    name: str,
    kind: Kind,
    column: pd.Series[Any],
    present: pd.Series[Any],
    hints: EncoderHints,
    shared: dict[str, Any],
) -> Feature:
    """Infer a feature of flags or categories."""
    example = None if present.empty else json_value(kind, present.mode().iloc[0])
    if kind == "flag":
        known_flags = {bool(c) for c in hints.categories or () if not isinstance(c, str)}
        flags: tuple[bool, ...] = (known_flags.pop(),) if len(known_flags) == 1 else ()
        if isinstance(column.dtype, pd.CategoricalDtype):
            flags = tuple(map(bool, column.cat.categories))
        return Feature(name, kind, name, example, categories=flags, **shared)
    declared: list[Any] = []
    if isinstance(column.dtype, pd.CategoricalDtype):
        declared = [json_value(kind, value) for value in column.cat.categories]
    encoded = None if hints.categories is None else list(map(str, hints.categories))
    if encoded is not None:
        declared = [c for c in declared if c in encoded] + [c for c in encoded if c not in declared]
    return Feature(name, kind, name, example, categories=tuple(declared), **shared)


def json_value(kind: Kind, value: Any) -> Value:
    """Convert a value of a column to the type that records have."""
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
    """Convert the rows of a frame to records, with None for missing values."""
    columns = [_to_values(X[feature.name], feature.kind) for feature in signature.features]
    return list(zip(*columns, strict=True))


def _to_values(column: pd.Series[Any], kind: Kind) -> list[Value]:
    """Return the values of a column, with None for missing ones."""
    missing = column.isna()
    plain = kind == "number" and column.dtype in (np.float64, np.int64)
    if plain or (kind == "category" and pd.api.types.is_object_dtype(column.dtype)):
        values: list[Value] = column.astype(object).where(~missing, None).tolist()
        return values
    if kind == "integer" and column.dtype in (np.float64, np.int64):
        return column.astype("Int64").astype(object).where(~missing, None).tolist()
    pairs = zip(column.tolist(), missing.tolist(), strict=True)
    return [None if is_missing else json_value(kind, value) for value, is_missing in pairs]
