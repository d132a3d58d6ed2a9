"""Strategies for training frames of mixed columns, and for odd values to predict for."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from slipway.models.validation import MISSING_TEXTS

Draw = np.random.Generator
ROWS = 60
NUMBERS = ("float64", "float32", "int64", "int32", "uint8", "Int64", "Float64")
LONG = "x" * 300
ODD_NUMBERS = (
    *(0.0, 1.0, -1.0, 0.5, 2.25, 17.0, 1 / 3, -1e6, 1e9, 1e-300, 1e40, 1e300, -1e308),
    *(2**53 + 1, 2**62, math.inf, -math.inf, None),
)
ODD_TEXTS = ("a", "b", "new", "", "NA", "nan", "None", "1", "01", "1.0", " a", "A", LONG, None)


def integers(draw: Draw) -> Any:
    return draw.integers(0, 9, ROWS)


def texts(draw: Draw) -> Any:
    return draw.choice(["a", "b", "c", "d e"], ROWS)


# The values of a column, by the name of its kind; the first word is the family.
COLUMNS: dict[str, Callable[[Draw], Any]] = {
    "number float64": lambda draw: pd.Series(draw.normal(size=ROWS)),
    "number float32": lambda draw: pd.Series(draw.normal(size=ROWS).astype(np.float32)),
    "number skewed": lambda draw: pd.Series(draw.lognormal(8, 2, ROWS)),
    "number int64": lambda draw: pd.Series(integers(draw)),
    "number int32": lambda draw: pd.Series(integers(draw).astype(np.int32)),
    "number uint8": lambda draw: pd.Series(integers(draw).astype(np.uint8)),
    "number Int64": lambda draw: pd.Series(integers(draw), dtype="Int64"),
    "number Float64": lambda draw: pd.Series(draw.normal(size=ROWS), dtype="Float64"),
    "number rounded": lambda draw: pd.Series(integers(draw) / 4),
    "number constant": lambda draw: pd.Series(np.full(ROWS, 3.0)),
    "number zero": lambda draw: pd.Series(np.zeros(ROWS, dtype=np.int64)),
    "number huge": lambda draw: pd.Series(draw.normal(3e12, 1e12, ROWS)),
    "number tiny": lambda draw: pd.Series(draw.normal(0, 1e-9, ROWS)),
    "number narrow": lambda draw: pd.Series(1e9 + draw.normal(0, 1e-6, ROWS)),
    "number long": lambda draw: pd.Series(draw.integers(2**54, 2**60, ROWS)),
    "number decimal": lambda draw: pd.Series(
        [Decimal(str(round(value, 2))) for value in draw.normal(50, 9, ROWS)], dtype=object
    ),
    "number object": lambda draw: pd.Series(integers(draw) / 2).astype(object),
    "flag bool": lambda draw: pd.Series(draw.random(ROWS) < 0.4),
    "flag never": lambda draw: pd.Series(np.zeros(ROWS, dtype=bool)),
    "flag boolean": lambda draw: pd.Series(draw.random(ROWS) < 0.4, dtype="boolean"),
    "text object": lambda draw: pd.Series(texts(draw), dtype=object),
    "text constant": lambda draw: pd.Series(["only"] * ROWS, dtype=object),
    "text codes": lambda draw: pd.Series(draw.choice(["01", "1", "1.0", "x"], ROWS), dtype=object),
    "text filled": lambda draw: pd.Series(draw.choice(["", "a", "NA"], ROWS), dtype=object),
    "text string": lambda draw: pd.Series(texts(draw), dtype="string"),
    "text category": lambda draw: pd.Series(texts(draw)).astype("category"),
    "text declared": lambda draw: pd.Series(pd.Categorical(texts(draw), ["new", "a", "b", "c"])),
    "text ordered": lambda draw: pd.Series(
        pd.Categorical(texts(draw), ["c", "a", "d e", "b"], ordered=True)
    ),
    "code category": lambda draw: pd.Series(integers(draw) % 4).astype("category"),
}


@dataclass(frozen=True)
class Column:
    """A training column, before its values are drawn."""

    name: str
    kind: str
    missing_kind: str = ""

    @property
    def family(self) -> str:
        """Numbers, flags, texts or codes."""
        return self.kind.split()[0]

    def values(self, draw: Draw) -> pd.Series[Any]:
        """Draw the values."""
        values = COLUMNS[self.kind](draw)
        missing = pd.Series(draw.random(ROWS) < 0.2)
        if not self.missing_kind or values.dtype.kind in "iu" or values.dtype == bool:
            return values
        if values.dtype == object:
            fill = None if self.missing_kind == "none" or "decimal" in self.kind else math.nan
            return pd.Series(np.where(missing, np.array(fill, dtype=object), values), dtype=object)
        return values.mask(missing)


def columns(count: int = 4) -> st.SearchStrategy[list[Column]]:
    """Draw the columns of a frame."""
    kinds = st.sampled_from(sorted(COLUMNS))
    missing_kind = st.sampled_from(["", "", "nan", "none"])
    drawn = st.lists(st.tuples(kinds, missing_kind), min_size=1, max_size=count)
    return drawn.map(lambda pairs: [Column(f"c{i}", *pair) for i, pair in enumerate(pairs)])


def frame_of(drawn: list[Column], seed: int) -> pd.DataFrame:
    """Draw the values of all columns."""
    draw = np.random.default_rng(seed)
    return pd.DataFrame({column.name: column.values(draw) for column in drawn})


def odd_value(column: Column) -> st.SearchStrategy[Any]:
    """Draw a value that the training rows may not contain."""
    if column.family == "number":
        return st.sampled_from(ODD_NUMBERS)
    if column.family == "flag":
        return st.sampled_from([True, False, None])
    if column.family == "code":
        return st.sampled_from([0, 3, 9, -1, None])
    return st.sampled_from(ODD_TEXTS)


def cast(column: pd.Series[Any], value: Any) -> pd.Series[Any]:
    """Return a column of one value, with the dtype that it would get in the training frame."""
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        known = dtype.categories.tolist()
        listed = known if value is None or value in known else [*known, value]
        return pd.Series(pd.Categorical([value], listed, ordered=dtype.ordered))
    if dtype.kind in "iu" and not isinstance(dtype, pd.api.extensions.ExtensionDtype):
        return pd.Series([math.nan if value is None else value], dtype=integer_type(dtype, value))
    if str(dtype) == "bool":
        return pd.Series([math.nan], dtype=object) if value is None else pd.Series([value])
    if str(dtype) == "object":
        return pd.Series([cast_object(column, value)], dtype=object)
    if str(dtype) == "Int64" and isinstance(value, float):
        whole = value.is_integer() and abs(value) < 2**63
        return pd.Series([value], dtype="Int64" if whole else "Float64")
    with np.errstate(over="ignore"):
        return pd.Series([value], dtype=dtype)


def cast_object(column: pd.Series[Any], value: Any) -> Any:
    """Return a value in the type of an object column's values."""
    first = next(item for item in column if not pd.isna(item))
    if isinstance(first, Decimal):
        return None if value is None else Decimal(repr(float(value)))
    if value is None:
        return None if any(item is None for item in column) else math.nan
    return value


def integer_type(dtype: Any, value: Any) -> Any:
    """Return the dtype of an integer column that contains a value."""
    if value is None or not float(value).is_integer():
        return np.float64
    for item in (dtype, np.dtype(np.int64), np.dtype(np.uint64)):
        if np.iinfo(item).min <= value <= np.iinfo(item).max:
            return item
    return np.float64


def row_with(X: pd.DataFrame, place: int, changes: dict[str, Any]) -> pd.DataFrame:
    """Return one row of a frame with other values, with the dtypes of the notebook."""
    row = X.iloc[[place]].reset_index(drop=True)
    for name, value in changes.items():
        row[name] = cast(X[name], value)
    return row


def as_read(X: pd.DataFrame, row: pd.DataFrame, read: set[str]) -> pd.DataFrame:
    """Return a row as read from a file, where some texts mean a missing value."""
    file_row = row.copy()
    for name in row.columns:
        known = X[name].dropna().unique().tolist() if name in read else []
        if isinstance(X[name].dtype, pd.CategoricalDtype):
            known = X[name].cat.categories.tolist()
        value = row[name].iloc[0]
        empty_is_known = "" in known and not X[name].isna().any()
        if pd.isna(value):
            file_row[name] = cast(X[name], "" if empty_is_known else None)
        elif (value == "" and not empty_is_known) or is_missing_text(value, known):
            file_row[name] = cast(X[name], None)
    return file_row


def is_missing_text(value: Any, known: list[Any]) -> bool:
    """Return whether a text in a file means a missing value."""
    return isinstance(value, str) and value in MISSING_TEXTS and value not in known
