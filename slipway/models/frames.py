"""Records as the rows that a pipeline was fitted on: a frame, an array, texts or dicts.

A frame holds each value as the notebook would read it: an integer column stays one while its
values are integers, and becomes one of floats where a value is a fraction or missing. Records
whose columns would differ in type therefore go into frames of their own, so that the rows beside
a row never change its prediction.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Hashable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from slipway.models.features import Feature, Record, Value
from slipway.models.signature import Signature
from slipway.models.validation import NUMBERS

if TYPE_CHECKING:
    import pandas as pd

_NUMPY_INTEGER = re.compile(r"u?int(8|16|32|64)")
_INTERVAL = re.compile(r"([\[(])(.+), (.+)([\])])")
_BOUNDS = {"int64": (-(2**63), 2**63 - 1), "uint64": (0, 2**64 - 1)}

Group = tuple[list[int], tuple[str, ...]]


def grouped(signature: Signature, records: Sequence[Record]) -> list[Group]:
    """Group records whose columns have the same types.

    Parameters
    ----------
    signature : Signature
    records : sequence of tuple
        Checked values in the features' order.

    Returns
    -------
    list of (list of int, tuple of str)
        The places of the records, and the types of their columns.
    """
    if not records:
        return []
    choices = [(i, _choose_type(f)) for i, f in enumerate(signature.features)]
    if signature.alone and len(records) > 1:
        return [([i], grouped(signature, [record])[0][1]) for i, record in enumerate(records)]
    types = [feature.column_type for feature in signature.features]
    varying = [(i, choose) for i, choose in choices if choose is not None]
    if not varying:
        return [(list(range(len(records))), tuple(types))]
    found: dict[Hashable, list[int]] = {}
    for place, record in enumerate(records):
        found.setdefault(tuple(choose(record[i]) for i, choose in varying), []).append(place)
    made = []
    for key, places in found.items():
        for (i, _), chosen in zip(varying, key, strict=True):  # type: ignore[call-overload]
            types[i] = chosen
        made.append((places, tuple(types)))
    return made


def frame(signature: Signature, records: Sequence[Record]) -> pd.DataFrame:
    """Build one frame of all records; its columns take the widest type that they need.

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
        choose = _choose_type(feature)
        found = {choose(record[i]) for record in records} if choose else {feature.column_type}
        types.append(found.pop() if len(found) == 1 else _widest(feature, found))
    return typed_frame(signature, records, types)


def _widest(feature: Feature, types: set[str]) -> str:
    """Return the type that holds the values of several types."""
    if feature.dtype.startswith("category"):
        return feature.dtype
    for wide in ("object", "float64", "Float64", "double[pyarrow]", "uint64"):
        if wide in types:
            return wide
    return "int64"


def typed_frame(
    signature: Signature, records: Sequence[Record], types: Sequence[str]
) -> pd.DataFrame:
    """Build the frame of records whose columns have the given types."""
    import pandas as pd

    columns = {}
    by_column = zip(*records, strict=True)
    for feature, values, dtype in zip(signature.features, by_column, types, strict=True):
        columns[feature.name] = column(feature, values, dtype)
    made = pd.DataFrame(columns, copy=False)
    if signature.columns:
        # Nothing reads the others, but scikit-learn counts and names them.
        made = made.reindex(columns=list(signature.columns))
    if signature.input == "numbered":
        made.columns = pd.Index(list(map(int, made.columns)))
    return made


def pipeline_input(
    signature: Signature, records: Sequence[Record], types: Sequence[str], *, named: bool
) -> Any:
    """Build what a pipeline's ``predict`` takes.

    Parameters
    ----------
    signature : Signature
    records : sequence of tuple
    types : sequence of str
        The type of each column.
    named : bool
        Whether the pipeline knows its columns by name, where the signature does not say what
        it takes.
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
    X = typed_frame(signature, records, types)
    if kind == "series":
        return X.iloc[:, 0]
    if kind == "sparse":
        from scipy.sparse import csr_matrix

        return csr_matrix(X.to_numpy())
    return X.to_numpy() if kind == "array" else X


def column(feature: Feature, values: Sequence[Value], dtype: str) -> Any:
    """Build one column.

    Parameters
    ----------
    feature : Feature
    values : sequence
        Checked values, with None for a missing one.
    dtype : str
        One of those that ``grouped`` gives.

    Returns
    -------
    array
    """
    import numpy as np
    import pandas as pd

    if dtype.startswith("category"):
        return _category_column(feature, values)
    if feature.kind == "datetime":
        return _moment_column(feature, values)
    if dtype == "decimal":
        return _object_column([_decimal(value) for value in values])
    if dtype == "object":
        gap = {"none": None, "nan": math.nan, "na": pd.NA}[feature.gap]
        return _object_column([gap if value is None else value for value in values])
    if hasattr(np, dtype) and dtype != "str":
        return np.array([math.nan if v is None else v for v in values], dtype=dtype)
    return pd.array(list(values), dtype=dtype)  # type: ignore[call-overload]


def _choose_type(feature: Feature) -> Callable[[Value], str] | None:
    """Return the function from a value to its column's type; None where there is but one type."""
    dtype = feature.dtype
    if dtype.startswith("category"):
        known = feature.known
        return lambda v: dtype if v is None or v in known else f"{dtype} and {v!r}"
    if feature.kind == "flag" and dtype == "bool":
        return lambda value: "object" if value is None else "bool"
    if feature.kind not in NUMBERS:
        return None
    if _NUMPY_INTEGER.fullmatch(dtype):
        return lambda value: _integer_type(value, dtype)
    if dtype.lower().startswith(("int", "uint")):
        wide = "double[pyarrow]" if dtype.endswith("[pyarrow]") else "Float64"
        inner = dtype.lower().removesuffix("[pyarrow]")
        return lambda value: dtype if value is None else _nullable_type(value, dtype, inner, wide)
    return None


def _integer_type(value: Value, dtype: str) -> str:
    """Return the type of a column with such a value, which training had as integers."""
    if value is None or isinstance(value, str) or not float(value).is_integer():
        return "float64"
    bits = int(dtype.lstrip("uint"))
    low, high = (0, 2**bits - 1) if dtype[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    for each, (least, most) in {dtype: (low, high), **_BOUNDS}.items():
        if least <= value <= most:
            return each
    return "float64"


def _nullable_type(value: Value, dtype: str, inner: str, wide: str) -> str:
    """Return the type of a nullable column with such a value, which training had as integers."""
    return dtype if _integer_type(value, inner) == inner else wide


def _object_column(values: Sequence[Any]) -> Any:
    """Build an array of objects, whatever they are."""
    import numpy as np

    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made


def _decimal(value: Value) -> Any:
    """Return a number as a database's driver gives it."""
    return None if value is None else Decimal(repr(value))


def _category_column(feature: Feature, values: Sequence[Value]) -> Any:
    """Build a column of categories; an unseen value becomes one more category at the end."""
    import pandas as pd

    unseen = [v for v in dict.fromkeys(values) if v is not None and v not in feature.known]
    categories: list[Any] = [*feature.categories, *unseen]
    if "interval" in feature.dtype:
        categories = [_interval(str(each)) for each in categories]
        values = [None if v is None else _interval(str(v)) for v in values]
    return pd.Categorical(list(values), categories=categories, ordered=feature.ordered)


def _interval(text: str) -> Any:
    """Return the interval that ``pandas.cut`` writes as such a text; another text stays one."""
    import pandas as pd

    found = _INTERVAL.fullmatch(text)
    if not found:
        return text
    opening, low, high, ending = found.groups()
    sides: dict[str, Any] = {"[]": "both", "[)": "left", "(]": "right", "()": "neither"}
    number = int if (low + high).lstrip("-").replace("-", "").isdigit() else float
    return pd.Interval(number(low), number(high), closed=sides[opening + ending])


def _moment_column(feature: Feature, values: Sequence[Value]) -> Any:
    """Build a column of moments, in the time zone and the type of the training column."""
    import pandas as pd

    if feature.dtype.startswith("object"):
        moments = [None if v is None else pd.Timestamp(str(v)) for v in values]
        if feature.dtype == "object:date":
            return _object_column([None if m is None else m.date() for m in moments])
        return _object_column([None if m is None else m.to_pydatetime() for m in moments])
    dtype: Any = feature.column_type
    zone = getattr(pd.api.types.pandas_dtype(dtype), "tz", None)
    if feature.dtype.endswith("[pyarrow]"):
        zone = pd.api.types.pandas_dtype(dtype).pyarrow_dtype.tz  # type: ignore[union-attr]
    made: list[Any] = [
        pd.NaT if v is None else _in_zone(pd.Timestamp(str(v)), zone) for v in values
    ]
    return pd.Series(made, dtype=f"datetime64[ns, {zone}]" if zone else None).astype(dtype).array


def _in_zone(moment: Any, zone: Any) -> Any:
    """Return a moment in a time zone; one without an offset is meant in that zone."""
    if zone is None:
        return moment.tz_localize(None)
    return moment.tz_localize(zone) if moment.tzinfo is None else moment.tz_convert(zone)


def _polars_frame(signature: Signature, records: Sequence[Record]) -> Any:
    """Build a polars frame."""
    import polars as pl

    columns = {}
    for feature, values in zip(signature.features, zip(*records, strict=True), strict=True):
        given: Any = list(values)
        if feature.kind == "datetime":
            import pandas as pd

            given = [None if v is None else pd.Timestamp(str(v)).to_pydatetime() for v in values]
        columns[feature.name] = pl.Series(given, strict=False)
        if feature.dtype.startswith("polars:"):
            dtype = _polars_type(feature)
            columns[feature.name] = pl.Series(given, dtype=dtype, strict=False)
    return pl.DataFrame(columns)


def _polars_type(feature: Feature) -> Any:
    """Return the polars type of a feature."""
    import polars as pl

    name = feature.dtype.removeprefix("polars:")
    if name == "Enum":
        return pl.Enum(list(map(str, feature.categories)))
    return getattr(pl, name)
