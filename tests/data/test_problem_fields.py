"""Validation of a problem's fields when it is loaded."""

import dataclasses
import math
import re
import sys
import types
from datetime import date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from small_problem import PROBLEM

from slipway.core.errors import SlipwayError
from slipway.data.problem import Problem, PromotionRules
from slipway.data.problem_loading import load_problem
from slipway.models.features import Feature, Target

FIELDS = [field.name for field in dataclasses.fields(Problem)]
DEPOT, WEIGHT, STOPS = PROBLEM.features


def load(**changed):
    """Load the small problem with changed fields from a module."""
    module = types.ModuleType("ownproblem")
    module.PROBLEM = dataclasses.replace(PROBLEM, **changed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "ownproblem", module)
        return load_problem("ownproblem")


def features(*changed, **fields):
    return {"features": (DEPOT, *changed, replace(STOPS, **fields))}


def target(**changed):
    return {"target": replace(PROBLEM.target, **changed)}


def query(old, new):
    assert old in PROBLEM.query
    return {"query": PROBLEM.query.replace(old, new)}


INVALID = [
    ({"name": ""}, "name must be a name of letters"),
    ({"name": "../etc"}, "name must be a name of letters.*not '../etc'"),
    ({"name": None}, "name must be .* not None"),
    ({"title": "  "}, "title must be a non-empty text, not '  '"),
    ({"source": 3}, "source must be a non-empty text"),
    ({"tables": ()}, "tables must be a tuple of at least one name"),
    ({"tables": "parcels"}, r"tables must be a tuple of texts; write \('parcels',\)"),
    ({"tables": ("parcels",)}, "tables lacks 'depots', which query reads"),
    ({"tables": ("parcels", 'de"pots')}, "tables must be a column's name, without quot"),
    ({"read_tables": {"parcels": "parcels.csv"}}, "read_tables must be a function, not {"),
    ({"query": ""}, "query must be a non-empty text"),
    ({"query": "SELECT FROM WHERE"}, "query is not SQL"),
    ({"query": "DELETE FROM parcels"}, "query must be one SELECT"),
    (query("p.weight,", ""), "features names the column 'weight', but query returns only depot"),
    (query("p.late,", ""), "target_column names the column 'late'"),
    (query("p.number,", "'1' AS numero,"), "order_column names the column 'number'"),
    (query("p.day", "p.day, p.day"), "query returns the column 'day' more than once"),
    ({"key": ("number", "parcel_id")}, "key names the column 'parcel_id', but query returns only"),
    ({"key": "number"}, r"key must be a tuple of texts; write \('number',\)"),
    ({"key": ("number", "number")}, "key must be a tuple of distinct texts"),
    ({"key": ("late",)}, "key names 'late', which is the target_column"),
    ({"features": ()}, "features must be a tuple of at least one Feature"),
    ({"features": ("depot",)}, r"features\[0\] must be a Feature, not 'depot'"),
    (features(WEIGHT, WEIGHT), "features has the name 'weight' twice"),
    (features(replace(WEIGHT, name="Stops")), "features has the name 'stops' twice"),
    (features(name="fold"), "features: fold is a reserved name"),
    (features(name=""), r"features\[1\].name must be a column's name"),
    (features(kind="float"), r"features\[1\].kind: Invalid enum value 'float'"),
    (features(minimum="low"), r"features\[1\].minimum: Expected `float \| null`.*not 'low'"),
    (features(minimum=30, maximum=20), "features: stops has minimum 30 above maximum 20"),
    (features(maximum=math.inf), "features: stops has the range 1 to inf"),
    (features(example=21), "features: stops has the example 21: must be an integer, 1 to 20"),
    (features(example="three"), "features: stops has the example 'three': must be an integer"),
    (features(example=None), "features: stops has the example None: this field must be given"),
    (features(labels={1: 2}), r"features\[1\].labels"),
    (features(name="late"), "target_column is 'late', which is also a feature"),
    ({"target": "late"}, "target must be a Target, not 'late'"),
    (target(classes=("late",)), "target.classes must be two names"),
    (target(classes=("a", "b", "c")), "target.classes must be two names"),
    (target(classes=("late", "late")), "target.classes must be two names"),
    (target(positive="Late"), "target.positive must be 'on time' or 'late', not 'Late'"),
    (target(positive="on time"), r"target.positive is 'on time'.*classes=\('late', 'on time'\)"),
    (target(description=3), "target.description: Expected `str`, got `int`, not 3"),
    ({"target_column": None}, "target_column must be a column's name"),
    ({"target_column": "stops"}, "target_column is 'stops', which is also a feature"),
    ({"unlabelled": ""}, "unlabelled must be a non-empty text"),
    ({"order_column": 7}, "order_column must be a column's name"),
    ({"order_column": "fold"}, "order_column names the reserved column 'fold'"),
    ({"order_column": "month"}, "order_column names the column 'month'"),
    ({"time_split": None}, "time_split must be a number, a text, a date or a datetime, not None"),
    ({"time_split": True}, "time_split must be"),
    ({"time_split": math.nan}, "time_split must be"),
    ({"slices": ("depot", "day")}, "slices names 'day', which is not a feature"),
    ({"slices": "depot"}, "slices must be a tuple of texts; write"),
    ({"pipeline": PROBLEM.pipeline()}, "pipeline must be a function"),
    ({"labels": {}}, "labels must be a function, not {}"),
    ({"group_column": "depot_id"}, "group_column names the column 'depot_id'"),
    ({"watermark_column": ""}, "watermark_column must be a column's name.*or None"),
    ({"max_quarantined": 1.5}, "max_quarantined must be a number from 0 to 1, not 1.5"),
    ({"max_missing": "half"}, "max_missing must be a number from 0 to 1"),
    ({"min_class_rows": 0}, "min_class_rows must be an integer of at least 1, not 0"),
    ({"promotion": None}, "promotion must be a PromotionRules"),
    ({"promotion": PromotionRules(level=95)}, "promotion.level must be a number between 0 and 1"),
    (
        {"promotion": PromotionRules(resamples=0)},
        "promotion.resamples must be an integer",
    ),
    ({"public_rows": "no"}, "public_rows must be True or False, not 'no'"),
    ({"missing": "NA"}, r"missing must be a tuple of texts; write \('NA',\)"),
]


@pytest.mark.parametrize(
    ("changed", "expected"), INVALID, ids=[expected for _, expected in INVALID]
)
def test_load_problem_invalid_field_raises_error_naming_it(changed, expected):
    with pytest.raises(SlipwayError, match=rf"^ownproblem\.PROBLEM: {expected}"):
        load(**changed)


def test_invalid_fields_cover_every_field():
    assert {name for changed, _ in INVALID for name in changed} == {*FIELDS}


@pytest.mark.parametrize(
    "changed",
    [
        {"features": [DEPOT, WEIGHT, STOPS], "key": ["number"], "tables": ["parcels", "depots"]},
        {"query": "SELECT * FROM parcels, depots"},
        {"query": 'WITH late AS (SELECT * FROM parcels) SELECT * FROM late, "DEPOTS"'},
        {"query": PROBLEM.query.replace("p.number,", "p.NUMBER,")},
        {"time_split": date(2026, 6, 1), "order_column": "day"},
        {"time_split": datetime(2026, 6, 1), "order_column": "day"},
        {"time_split": "2026-06-01", "order_column": "day"},
        {"time_split": 0.5},
        {"missing": ()},
        {"group_column": None, "watermark_column": None, "slices": ()},
    ],
)
def test_load_problem_valid_fields_pass(changed):
    assert isinstance(load(**changed).key, tuple)


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 3),
    st.floats(),
    st.text(max_size=4),
    st.binary(max_size=2),
    st.lists(st.text(max_size=3) | st.integers() | st.none(), max_size=3),
    st.tuples(st.sampled_from(["depot", "number", "late", "", 'a"b'])),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=1),
    st.dates(),
    st.sampled_from([Feature, Target, print, DEPOT, PROBLEM.target, PROBLEM]),
    st.builds(
        Feature,
        *(st.sampled_from(["depot", "", None, 3, "\n"]), st.sampled_from(["number", "text", 3])),
        *(st.sampled_from(["", None]), st.none() | st.floats() | st.text(max_size=2) | st.dates()),
    ).map(lambda feature: (feature,)),
    st.builds(Target, st.text(max_size=2), st.none(), st.just(("a", None)), st.text(max_size=1)),
)


@given(st.sampled_from(FIELDS), JUNK)
def test_load_problem_any_value_passes_or_raises_one_line_error(name, value):
    message = "ownproblem.PROBLEM: "
    try:
        load(**{name: value})
    except SlipwayError as error:
        message = error.message
    assert re.fullmatch(r"ownproblem\.PROBLEM: .*", message)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("PROBLEM =", "invalid syntax"),
        ("1 / 0", r"ZeroDivisionError: division by zero \(ownbroken.py, line 1\)"),
        ("import no_such_module", "No module named 'no_such_module'"),
        (
            "from slipway.data.problem import Problem\nPROBLEM = Problem(name='a')",
            "TypeError: .*title",
        ),
        ("PROBLEM = {}", "must be a slipway.Problem"),
        ("", "must be a slipway.Problem"),
    ],
)
def test_load_problem_broken_module_raises_error_naming_place(
    code, expected, tmp_path, monkeypatch
):
    (tmp_path / "ownbroken.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "ownbroken", raising=False)
    with pytest.raises(SlipwayError, match=expected):
        load_problem("ownbroken")
