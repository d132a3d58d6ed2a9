"""Conversion of records to the input of a pipeline."""

from __future__ import annotations

import datetime
import math
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.models.features import Feature, Target
from slipway.models.frames import (
    build_frame,
    build_pipeline_input,
    build_typed_frame,
    group_records,
)
from slipway.models.signature import Signature

TARGET = Target("y", "y")


def signature(*features, **more):
    return Signature(features, TARGET, **more)


def feature(kind="number", **more):
    return Feature("x", kind, "x", None, **more)


def cell(column_feature, value):
    """Return the column of a frame with one record."""
    schema = signature(column_feature)
    ((_, types),) = group_records(schema, [(value,)])
    return build_typed_frame(schema, [(value,)], types)["x"]


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [
        ("", 1.5, "float64"),
        ("int64", 3, "int64"),
        ("int64", 3.5, "float64"),
        ("int64", None, "float64"),
        ("uint8", 255, "uint8"),
        ("uint8", 256, "int64"),
        ("uint8", -1, "int64"),
        ("int64", 2**63, "uint64"),
        ("int64", 2**64, "float64"),
        ("float32", 0.5, "float32"),
        ("Int64", 3, "Int64"),
        ("Int64", 3.5, "Float64"),
        ("Int64", 10**40, "Float64"),
        ("Int64", None, "Int64"),
        ("int64[pyarrow]", 3.5, "double[pyarrow]"),
        ("object", 3, "object"),
    ],
)
def test_number_column_added_value_has_the_type_of_the_notebook(dtype, value, expected):
    assert str(cell(feature(dtype=dtype), value).dtype) == expected


def test_integer_column_large_value_keeps_all_digits():
    assert cell(feature(dtype="int64"), 2**62 + 1).tolist() == [2**62 + 1]


def test_decimal_column_contains_decimals():
    assert cell(feature(dtype="decimal"), 12.5).tolist() == [Decimal("12.5")]


@pytest.mark.parametrize(("gap", "expected"), [("none", None), ("nan", math.nan), ("na", pd.NA)])
def test_object_column_missing_value_is_that_of_training(gap, expected):
    (result,) = cell(feature("category", gap=gap, nullable=True), None).tolist()
    assert result is expected or (isinstance(result, float) and math.isnan(result))


def test_category_column_unseen_value_is_appended_in_order():
    sizes = feature("category", dtype="category", categories=("S", "M", "L"), ordered=True)
    known, unseen = cell(sizes, "M"), cell(sizes, "XL")
    assert (known.cat.codes.tolist(), known.cat.ordered) == ([1], True)
    assert unseen.cat.categories.tolist() == ["S", "M", "L", "XL"]


def test_interval_column_contains_intervals():
    cut = pd.cut(pd.Series([1, 5, 9]), [0, 3, 6, 10])
    texts = tuple(map(str, cut.cat.categories))
    bins = feature("category", dtype="category:interval", categories=texts, ordered=True)
    assert [cell(bins, str(interval)).iloc[0] for interval in cut] == cut.tolist()


@pytest.mark.parametrize(
    ("dtype", "text", "expected"),
    [
        ("datetime64[ns]", "2026-01-31T12:00", pd.Timestamp("2026-01-31T12:00")),
        ("datetime64[ns]", "2026-01-31T12:00Z", pd.Timestamp("2026-01-31T12:00")),
        (
            "datetime64[ns, Europe/Berlin]",
            "2026-01-31T12:00",
            pd.Timestamp("2026-01-31T12:00", tz="Europe/Berlin"),
        ),
        (
            "datetime64[us, UTC]",
            "2026-01-31T12:00+02:00",
            pd.Timestamp("2026-01-31T10:00", tz="UTC"),
        ),
        ("object:date", "2026-01-31", datetime.date(2026, 1, 31)),
    ],
)
def test_datetime_column_has_type_and_zone_of_training(dtype, text, expected):
    column = cell(feature("datetime", dtype=dtype), text)
    assert column.tolist() == [expected]
    assert str(column.dtype) == dtype.partition(":")[0]


@given(st.lists(st.one_of(st.none(), st.integers(-300, 300), st.floats(-1e3, 1e3)), max_size=12))
def test_column_other_rows_never_change_a_value(values):
    schema = signature(feature(dtype="int8"))
    records = [(value,) for value in values]
    result = {}
    for places, types in group_records(schema, records):
        column = build_typed_frame(schema, [records[i] for i in places], types)["x"]
        result |= {place: (str(column.dtype), v) for place, v in zip(places, column, strict=True)}
    assert sorted(result) == list(range(len(values)))
    for place, value in enumerate(values):
        alone = cell(feature(dtype="int8"), value)
        dtype, beside = result[place]
        assert dtype == str(alone.dtype)
        np.testing.assert_equal(beside, alone.iloc[0])


def test_frame_unused_columns_are_empty():
    schema = signature(feature(), columns=("id", "x"))
    frame = build_frame(schema, [(1.0,)])
    assert frame.columns.tolist() == ["id", "x"]
    assert frame["id"].isna().all()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("array", np.array([["a"], ["b"]], dtype=object)),
        ("texts", ["a", "b"]),
        ("dicts", [{"x": "a"}, {"x": "b"}]),
    ],
)
def test_pipeline_input_has_the_kind_of_the_signature(kind, expected):
    schema = signature(feature("text"), input=kind)
    frame = build_pipeline_input(schema, [("a",), ("b",)], ("object",), named=False)
    assert type(frame) is type(expected)
    assert list(frame) == list(expected)


def test_pipeline_input_dicts_omit_missing_values():
    schema = signature(feature("text", nullable=True), input="dicts")
    assert build_pipeline_input(schema, [(None,)], ("object",), named=False) == [{}]


def test_pipeline_input_polars_is_a_polars_frame():
    schema = signature(feature(), input="polars")
    frame = build_pipeline_input(schema, [(1.5,), (None,)], ("float64",), named=True)
    assert isinstance(frame, pl.DataFrame)
    assert frame["x"].to_list() == [1.5, None]
