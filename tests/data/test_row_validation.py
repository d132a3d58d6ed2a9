"""Column checks of rows, compared with the checks of the signature."""

import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_problem import PROBLEM

from slipway.core.errors import SlipwayError
from slipway.data.etl.row_validation import REASONS, split_duplicates, validate_rows
from slipway.models.signature import Signature

SIGNATURE = Signature(PROBLEM.features, PROBLEM.target)
GOOD = {"depot": "north", "weight": 2.0, "stops": 3, "late": 1, "number": 1, "day": "2026-01-01"}


def row(**changed):
    """Return one row with changed columns."""
    return pl.DataFrame([GOOD | changed], infer_schema_length=None)


def rejection_reasons(rows):
    return validate_rows(PROBLEM, rows).bad[REASONS].to_list()


def test_validate_rows_good_row_gets_stored_types():
    result = validate_rows(PROBLEM, row(stops=3.0, late=True))
    assert result.good.rows() == [("north", 2.0, 3, 1, 1, "2026-01-01")]
    assert [str(dtype) for dtype in result.good.dtypes] == [
        "String",
        "Float64",
        "Int64",
        "Int8",
        "Int64",
        "String",
    ]
    assert not len(result.bad)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"depot": None}, ["depot: missing_field"]),
        ({"depot": "n" * 65_537}, ["depot: too_long"]),
        ({"depot": "nor\0th"}, ["depot: not_a_text"]),
        ({"weight": -0.1}, ["weight: out_of_range"]),
        ({"weight": math.inf}, ["weight: not_finite"]),
        ({"weight": "heavy"}, ["weight: not_a_number"]),
        ({"stops": 2.5}, ["stops: not_an_integer"]),
        ({"stops": None}, ["stops: missing_field"]),
        ({"stops": True}, ["stops: not_an_integer"]),
        ({"late": 2}, ["late: not_a_class"]),
        ({"number": None}, ["number: missing_field"]),
        ({"day": None}, ["day: missing_field"]),
        ({"weight": 41.0, "stops": 0}, ["weight: out_of_range", "stops: out_of_range"]),
    ],
)
def test_validate_rows_bad_row_is_rejected_with_all_reasons(changed, expected):
    assert rejection_reasons(row(**changed)) == [expected]


def test_validate_rows_number_as_text_is_parsed():
    assert validate_rows(PROBLEM, row(weight="2.5")).good["weight"].to_list() == [2.5]


@pytest.mark.parametrize("missing", [None, math.nan])
def test_validate_rows_missing_value_of_nullable_feature_is_kept(missing):
    assert validate_rows(PROBLEM, row(weight=missing)).good["weight"].to_list() == [None]


def test_validate_rows_row_without_target_is_counted():
    rows = pl.concat([row(), row(late=None), row(weight=50.0)], how="vertical_relaxed")
    result = validate_rows(PROBLEM, rows)
    assert (len(result.good), len(result.bad), result.unlabelled) == (1, 1, 1)


def test_validate_rows_absent_column_raises_error_naming_it():
    with pytest.raises(SlipwayError, match="no column weight, day"):
        validate_rows(PROBLEM, row().drop("weight", "day"))


VALUES = {
    "depot": st.none() | st.text(max_size=5),
    "weight": st.none() | st.floats(),
    "stops": st.none() | st.floats() | st.integers(-5, 25),
}


@given(st.lists(st.fixed_dictionaries(VALUES), min_size=1, max_size=20))
def test_validate_rows_rejects_same_records_as_signature(records):
    def nan_to_none(value):
        return None if isinstance(value, float) and math.isnan(value) else value

    schema = {"depot": pl.String, "weight": pl.Float64, "stops": pl.Float64}
    rows = pl.DataFrame(records, schema=schema).with_columns(
        pl.lit(1).alias("late"), pl.lit("2026-01-01").alias("day")
    )
    rows = rows.with_row_index("number")
    expected = {}
    for number, record in enumerate(records):
        _, errors, _ = SIGNATURE.check({name: nan_to_none(value) for name, value in record.items()})
        if errors:
            expected[number] = [f"{error.field}: {error.code}" for error in errors]
    result = validate_rows(PROBLEM, rows)
    assert dict(zip(result.bad["number"], result.bad[REASONS].to_list(), strict=True)) == expected
    assert len(result.good) + len(result.bad) == len(records)


def test_split_duplicates_identical_rows_keep_one():
    rows = pl.concat([row(), row(), row(number=2)])
    kept, rejected = split_duplicates(rows, ("number",))
    assert kept["number"].to_list() == [1, 2]
    assert rejected["number"].to_list() == [1]


def test_split_duplicates_conflicting_rows_are_all_rejected():
    rows = pl.concat([row(), row(weight=3.0), row(number=2)])
    kept, rejected = split_duplicates(rows, ("number",))
    assert kept["number"].to_list() == [2]
    assert rejected["number"].to_list() == [1, 1]
