"""Conversion of records to the input of a pipeline: a frame, an array, texts or dicts.

A frame has the column types that pandas would have read in the notebook. An integer column becomes
a float column if a value is a fraction or missing. Records whose columns would differ in type go
into separate frames, so that other rows never change the prediction of a row.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from slipway.models.features import Feature, Record, Value
from slipway.models.signature import Signature
from slipway.models.validation import NUMERIC_KINDS

if TYPE_CHECKING:
    import pandas as pd

_NUMPY_INTEGER = re.compile(r"u?int(8|16|32|64)")
_INTERVAL = re.compile(r"([\[(])(.+), (.+)([\])])")
_BOUNDS = {"int64": (-(2**63), 2**63 - 1), "uint64": (0, 2**64 - 1)}

Group = tuple[list[int], tuple[str, ...]]


def group_records(signature: Signature, records: Sequence[Record]) -> list[Group]:
    """Group records whose columns have the same types.

    Parameters
    ----------
    signature : Signature
    records : sequence of tuple
        Checked values in the features' order.

    Returns
    -------
    list of (list of int, tuple of str)
        The positions of the records, and the types of their columns.
    """
    if not records:
        return []
    if signature.alone and len(records) > 1:
        return [([i], group_records(signature, [record])[0][1]) for i, record in enumerate(records)]
    types = [feature.column_type for feature in signature.features]
    choices = [(i, _build_type_chooser(f)) for i, f in enumerate(signature.features)]
    varying = [(i, choose) for i, choose in choices if choose is not None]
    if not varying:
        return [(list(range(len(records))), tuple(types))]
    positions_by_types: dict[tuple[str, ...], list[int]] = {}
    for position, record in enumerate(records):
        key = tuple(choose(record[i]) for i, choose in varying)
        positions_by_types.setdefault(key, []).append(position)
    groups = []
    for key, positions in positions_by_types.items():
        for (i, _), chosen in zip(varying, key, strict=True):
            types[i] = chosen
        groups.append((positions, tuple(types)))
    return groups


def build_frame(signature: Signature, records: Sequence[Record]) -> pd.DataFrame:
    """Build one frame of all records, with the widest column types that they need.

    Parameters
    ----------
    signature : Signature
    records : sequence of tuple
        Checked values in the features' order.

    Returns
    -------
    DataFrame of shape (n_records, n_features)
    """
    types = []
    for i, feature in enumerate(signature.features):
        choose = _build_type_chooser(feature)
        needed = {choose(record[i]) for record in records} if choose else {feature.column_type}
        types.append(needed.pop() if len(needed) == 1 else _widest_type(feature, needed))
    return build_typed_frame(signature, records, types)


def _widest_type(feature: Feature, types: set[str]) -> str:
    """Return a type that can hold the values of several types."""
    if feature.dtype.startswith("category"):
        return feature.dtype
    for wide in ("object", "float64", "Float64", "double[pyarrow]", "uint64"):
        if wide in types:
            return wide
    return "int64"


def build_typed_frame(
    signature: Signature, records: Sequence[Record], types: Sequence[str]
) -> pd.DataFrame:
    """Build a frame whose columns have the given types."""
    import pandas as pd

    columns = {}
    by_column = zip(*records, strict=True)
    for feature, values, dtype in zip(signature.features, by_column, types, strict=True):
        columns[feature.name] = build_column(feature, values, dtype)
    X = pd.DataFrame(columns, copy=False)
    if signature.columns:
        # The pipeline drops the other columns, but scikit-learn checks their number and names.
        X = X.reindex(columns=list(signature.columns))
    if signature.input == "numbered":
        X.columns = pd.Index(list(map(int, X.columns)))
    return X


def build_pipeline_input(
    signature: Signature, records: Sequence[Record], types: Sequence[str], *, named: bool
) -> Any:
    """Build the input of a pipeline's ``predict``.

    Parameters
    ----------
    signature : Signature
    records : sequence of tuple
    types : sequence of str
        The type of each column.
    named : bool
        Whether the pipeline was fitted with column names; applies if ``signature.input`` is empty.
    """
    kind = signature.input or ("frame" if named else "array")
    if kind == "dicts":
        return [
            {n: v for n, v in zip(signature.names, record, strict=True) if v is not None}
            for record in records
        ]
    if kind == "texts":
        return [record[0] for record in records]
    if kind == "polars":
        return _polars_frame(signature, records)
    X = build_typed_frame(signature, records, types)
    if kind == "series":
        return X.iloc[:, 0]
    if kind == "sparse":
        from scipy.sparse import csr_matrix

        return csr_matrix(X.to_numpy())
    return X.to_numpy() if kind == "array" else X


def build_column(feature: Feature, values: Sequence[Value], dtype: str) -> Any:
    """Build one column.

    Parameters
    ----------
    feature : Feature
    values : sequence
        Checked values, with None for a missing value.
    dtype : str
        A type that ``group_records`` returns.

    Returns
    -------
    array
    """
    import numpy as np
    import pandas as pd

    if dtype.startswith("category"):
        return _category_column(feature, values)
    if feature.kind == "datetime":
        return _datetime_column(feature, values)
    if dtype == "decimal":
        return _object_column([None if v is None else Decimal(repr(v)) for v in values])
    if dtype == "object":
        missing = {"none": None, "nan": math.nan, "na": pd.NA}[feature.gap]
        return _object_column([missing if value is None else value for value in values])
    if hasattr(np, dtype) and dtype != "str":
        return np.array([math.nan if v is None else v for v in values], dtype=dtype)
    return pd.array(list(values), dtype=dtype)  # type: ignore[call-overload]


def _build_type_chooser(feature: Feature) -> Callable[[Value], str] | None:
    """Build the function from a value to its column type; None if the type never varies."""
    dtype = feature.dtype
    if dtype.startswith("category"):
        known = feature.known
        return lambda v: dtype if v is None or v in known else f"{dtype} and {v!r}"
    if feature.kind == "flag" and dtype == "bool":
        return lambda value: "object" if value is None else "bool"
    if feature.kind not in NUMERIC_KINDS:
        return None
    if _NUMPY_INTEGER.fullmatch(dtype):
        return lambda value: _integer_type(value, dtype)
    if dtype.lower().startswith(("int", "uint")):
        wide = "double[pyarrow]" if dtype.endswith("[pyarrow]") else "Float64"
        inner = dtype.lower().removesuffix("[pyarrow]")
        return lambda v: dtype if v is None or _integer_type(v, inner) == inner else wide
    return None


def _integer_type(value: Value, dtype: str) -> str:
    """Return the type of a column of integers after a value is added to it."""
    if value is None or isinstance(value, str) or not float(value).is_integer():
        return "float64"
    bits = int(dtype.lstrip("uint"))
    low, high = (0, 2**bits - 1) if dtype[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    for candidate, (lowest, highest) in {dtype: (low, high), **_BOUNDS}.items():
        if lowest <= value <= highest:
            return candidate
    return "float64"


def _object_column(values: Sequence[Any]) -> Any:
    """Build an object array, without converting sequences to further dimensions."""
    import numpy as np

    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def _category_column(feature: Feature, values: Sequence[Value]) -> Any:
    """Build a categorical column; unseen values become additional categories at the end."""
    import pandas as pd

    unseen = [v for v in dict.fromkeys(values) if v is not None and v not in feature.known]
    categories: list[Any] = [*feature.categories, *unseen]
    if "interval" in feature.dtype:
        categories = [_parse_interval(str(category)) for category in categories]
        values = [None if v is None else _parse_interval(str(v)) for v in values]
    return pd.Categorical(list(values), categories=categories, ordered=feature.ordered)


def _parse_interval(text: str) -> Any:
    """Parse an interval as ``pandas.cut`` writes it; return any other text unchanged."""
    import pandas as pd

    match = _INTERVAL.fullmatch(text)
    if not match:
        return text
    opening, low, high, ending = match.groups()
    sides: dict[str, Any] = {"[]": "both", "[)": "left", "(]": "right", "()": "neither"}
    number = int if (low + high).lstrip("-").replace("-", "").isdigit() else float
    return pd.Interval(number(low), number(high), closed=sides[opening + ending])


def _datetime_column(feature: Feature, values: Sequence[Value]) -> Any:
    """Build a datetime column with the type and time zone of the training column."""
    import pandas as pd

    if feature.dtype.startswith("object"):
        stamps = [None if v is None else pd.Timestamp(str(v)) for v in values]
        if feature.dtype == "object:date":
            return _object_column([None if t is None else t.date() for t in stamps])
        return _object_column([None if t is None else t.to_pydatetime() for t in stamps])
    dtype: Any = feature.column_type
    zone = getattr(pd.api.types.pandas_dtype(dtype), "tz", None)
    if feature.dtype.endswith("[pyarrow]"):
        zone = pd.api.types.pandas_dtype(dtype).pyarrow_dtype.tz  # type: ignore[union-attr]
    column: list[Any] = [
        pd.NaT if v is None else _convert_zone(pd.Timestamp(str(v)), zone) for v in values
    ]
    return pd.Series(column, dtype=f"datetime64[ns, {zone}]" if zone else None).astype(dtype).array


def _convert_zone(stamp: Any, zone: Any) -> Any:
    """Convert a timestamp to a time zone; one without an offset is already in that zone."""
    if zone is None:
        return stamp.tz_localize(None)
    return stamp.tz_localize(zone) if stamp.tzinfo is None else stamp.tz_convert(zone)


def _polars_frame(signature: Signature, records: Sequence[Record]) -> Any:
    """Build a polars frame with the types of the training columns."""
    import polars as pl

    columns = {}
    for feature, values in zip(signature.features, zip(*records, strict=True), strict=True):
        column: Any = list(values)
        if feature.kind == "datetime":
            import pandas as pd

            column = [None if v is None else pd.Timestamp(str(v)).to_pydatetime() for v in values]
        dtype = _polars_type(feature) if feature.dtype.startswith("polars:") else None
        columns[feature.name] = pl.Series(column, dtype=dtype, strict=False)
    return pl.DataFrame(columns)


def _polars_type(feature: Feature) -> Any:
    """Return the polars type of a feature."""
    import polars as pl

    name = feature.dtype.removeprefix("polars:")
    if name == "Enum":
        return pl.Enum(list(map(str, feature.categories)))
    return getattr(pl, name)
