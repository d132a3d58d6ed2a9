"""Records as the rows that a pipeline was fitted on."""

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


def cell(each, value):
    """The column of a frame that holds one record."""
    one = signature(each)
    ((_, types),) = group_records(one, [(value,)])
    return build_typed_frame(one, [(value,)], types)["x"]


@pytest.mark.parametrize(
    ("dtype", "value", "due"),
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
def test_column_of_numbers_has_the_type_that_the_notebook_would_read(dtype, value, due):
    assert str(cell(feature(dtype=dtype), value).dtype) == due


def test_column_of_integers_keeps_all_digits():
    assert cell(feature(dtype="int64"), 2**62 + 1).tolist() == [2**62 + 1]


def test_column_of_decimals_holds_decimals():
    assert cell(feature(dtype="decimal"), 12.5).tolist() == [Decimal("12.5")]


@pytest.mark.parametrize(("gap", "due"), [("none", None), ("nan", math.nan), ("na", pd.NA)])
def test_column_of_objects_has_the_gap_of_training(gap, due):
    (found,) = cell(feature("category", gap=gap, nullable=True), None).tolist()
    assert found is due or (isinstance(found, float) and math.isnan(found))


def test_column_of_categories_keeps_order_and_appends_an_unseen_value():
    sizes = feature("category", dtype="category", categories=("S", "M", "L"), ordered=True)
    known, unseen = cell(sizes, "M"), cell(sizes, "XL")
    assert (known.cat.codes.tolist(), known.cat.ordered) == ([1], True)
    assert unseen.cat.categories.tolist() == ["S", "M", "L", "XL"]


def test_column_of_intervals_holds_intervals():
    cut = pd.cut(pd.Series([1, 5, 9]), [0, 3, 6, 10])
    texts = tuple(map(str, cut.cat.categories))
    bins = feature("category", dtype="category:interval", categories=texts, ordered=True)
    assert [cell(bins, str(each)).iloc[0] for each in cut] == cut.tolist()


@pytest.mark.parametrize(
    ("dtype", "text", "due"),
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
def test_column_of_moments_has_type_and_zone_of_training(dtype, text, due):
    column = cell(feature("datetime", dtype=dtype), text)
    assert column.tolist() == [due]
    assert str(column.dtype) == dtype.partition(":")[0]


@given(st.lists(st.one_of(st.none(), st.integers(-300, 300), st.floats(-1e3, 1e3)), max_size=12))
def test_rows_beside_a_row_never_change_its_column(values):
    one = signature(feature(dtype="int8"))
    records = [(value,) for value in values]
    found = {}
    for places, types in group_records(one, records):
        column = build_typed_frame(one, [records[i] for i in places], types)["x"]
        found |= {place: (str(column.dtype), v) for place, v in zip(places, column, strict=True)}
    assert sorted(found) == list(range(len(values)))
    for place, value in enumerate(values):
        alone = cell(feature(dtype="int8"), value)
        dtype, beside = found[place]
        assert dtype == str(alone.dtype)
        np.testing.assert_equal(beside, alone.iloc[0])


def test_frame_with_columns_that_nothing_reads_has_them_empty():
    one = signature(feature(), columns=("id", "x"))
    made = build_frame(one, [(1.0,)])
    assert made.columns.tolist() == ["id", "x"]
    assert made["id"].isna().all()


@pytest.mark.parametrize(
    ("kind", "due"),
    [
        ("array", np.array([["a"], ["b"]], dtype=object)),
        ("texts", ["a", "b"]),
        ("dicts", [{"x": "a"}, {"x": "b"}]),
    ],
)
def test_input_is_what_the_pipeline_takes(kind, due):
    one = signature(feature("text"), input=kind)
    made = build_pipeline_input(one, [("a",), ("b",)], ("object",), named=False)
    assert type(made) is type(due)
    assert list(made) == list(due)


def test_input_of_dicts_leaves_missing_values_out():
    one = signature(feature("text", nullable=True), input="dicts")
    assert build_pipeline_input(one, [(None,)], ("object",), named=False) == [{}]


def test_input_of_polars_is_a_polars_frame():
    one = signature(feature(), input="polars")
    made = build_pipeline_input(one, [(1.5,), (None,)], ("float64",), named=True)
    assert isinstance(made, pl.DataFrame)
    assert made["x"].to_list() == [1.5, None]
