"""Rows are checked a column at a time, as the signature would check each by itself."""

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


def one(**changed):
    """One row, of which some columns are changed."""
    return pl.DataFrame([GOOD | changed], infer_schema_length=None)


def reasons(rows):
    return validate_rows(PROBLEM, rows).bad[REASONS].to_list()


def test_check_good_row_is_kept_in_stored_types():
    checked = validate_rows(PROBLEM, one(stops=3.0, late=True))
    assert checked.good.rows() == [("north", 2.0, 3, 1, 1, "2026-01-01")]
    assert [str(each) for each in checked.good.dtypes] == [
        "String",
        "Float64",
        "Int64",
        "Int8",
        "Int64",
        "String",
    ]
    assert not len(checked.bad)


@pytest.mark.parametrize(
    ("changed", "due"),
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
def test_check_bad_row_is_refused_with_all_reasons(changed, due):
    assert reasons(one(**changed)) == [due]


def test_check_text_that_spells_a_number_is_read():
    assert validate_rows(PROBLEM, one(weight="2.5")).good["weight"].to_list() == [2.5]


@pytest.mark.parametrize("gap", [None, math.nan])
def test_check_gap_where_it_may_be_is_kept(gap):
    assert validate_rows(PROBLEM, one(weight=gap)).good["weight"].to_list() == [None]


def test_check_row_without_target_is_counted():
    rows = pl.concat([one(), one(late=None), one(weight=50.0)], how="vertical_relaxed")
    checked = validate_rows(PROBLEM, rows)
    assert (len(checked.good), len(checked.bad), checked.unlabelled) == (1, 1, 1)


def test_check_absent_column_is_named():
    with pytest.raises(SlipwayError, match="no column weight, day"):
        validate_rows(PROBLEM, one().drop("weight", "day"))


VALUES = {
    "depot": st.none() | st.text(max_size=5),
    "weight": st.none() | st.floats(),
    "stops": st.none() | st.floats() | st.integers(-5, 25),
}


@given(st.lists(st.fixed_dictionaries(VALUES), min_size=1, max_size=20))
def test_check_refuses_what_the_signature_refuses(records):
    def plain(value):
        return None if isinstance(value, float) and math.isnan(value) else value

    schema = {"depot": pl.String, "weight": pl.Float64, "stops": pl.Float64}
    rows = pl.DataFrame(records, schema=schema).with_columns(
        pl.lit(1).alias("late"), pl.lit("2026-01-01").alias("day")
    )
    rows = rows.with_row_index("number")
    due = {}
    for number, record in enumerate(records):
        _, errors, _ = SIGNATURE.check({name: plain(value) for name, value in record.items()})
        if errors:
            due[number] = [f"{error.field}: {error.code}" for error in errors]
    checked = validate_rows(PROBLEM, rows)
    assert dict(zip(checked.bad["number"], checked.bad[REASONS].to_list(), strict=True)) == due
    assert len(checked.good) + len(checked.bad) == len(records)


def test_duplicates_equal_rows_leave_one():
    rows = pl.concat([one(), one(), one(number=2)])
    kept, refused = split_duplicates(rows, ("number",))
    assert kept["number"].to_list() == [1, 2]
    assert refused["number"].to_list() == [1]


def test_duplicates_rows_that_differ_are_all_refused():
    rows = pl.concat([one(), one(weight=3.0), one(number=2)])
    kept, refused = split_duplicates(rows, ("number",))
    assert kept["number"].to_list() == [2]
    assert refused["number"].to_list() == [1, 1]
