"""Validation by the signature, and its agreement with the fast decoder."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.models.features import Feature, Target
from slipway.models.signature import Signature
from slipway.models.validation import MAX_TEXT, MISSING_TEXTS
from slipway.serving.record_decoder import fast_record

SIGNATURE = Signature(
    (
        Feature("speed", "number", "How fast", 1.5, unit="m/s", minimum=0, maximum=100),
        Feature("count", "integer", "How many", 3, minimum=0, nullable=True),
        Feature("colour", "category", "Which", "red", categories=("red", "green")),
        Feature("day", "integer", "When", 1, minimum=1, maximum=7, categories=(1, 2, 3)),
        Feature("new", "flag", "Whether", True),
        Feature("name", "category", "Any text", "x", nullable=True),
    ),
    Target("late", "Late", ("no", "yes"), "yes"),
)
FAST = msgspec.json.Decoder(fast_record(SIGNATURE))
GOOD = {"speed": 1.5, "count": 3, "colour": "red", "day": 1, "new": True, "name": "x"}


def only_error(changes):
    _, errors, _ = SIGNATURE.check(GOOD | changes)
    assert len(errors) == 1, errors
    return errors[0]


def test_check_valid_record_returns_values_in_order():
    assert SIGNATURE.check(GOOD) == ((1.5, 3, "red", 1, True, "x"), [], [])


def test_check_missing_nullable_returns_none():
    given = {name: value for name, value in GOOD.items() if name not in ("count", "name")}
    record, errors, warnings = SIGNATURE.check(given)
    assert record == (1.5, None, "red", 1, True, None)
    assert errors == warnings == []


def test_check_integer_valued_float_is_an_integer():
    record, errors, _ = SIGNATURE.check(GOOD | {"count": 4.0, "speed": 2})
    assert record[:2] == (2.0, 4)
    assert [type(value) for value in record[:2]] == [float, int]
    assert errors == []


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({"speed": True}, "speed", "not_a_number"),
        ({"speed": "1"}, "speed", "not_a_number"),
        ({"speed": [1]}, "speed", "not_a_number"),
        ({"speed": float("nan")}, "speed", "not_finite"),
        ({"speed": float("inf")}, "speed", "not_finite"),
        ({"speed": 1e308}, "speed", "out_of_range"),
        ({"speed": 10**400}, "speed", "out_of_range"),
        ({"speed": -0.001}, "speed", "out_of_range"),
        ({"speed": None}, "speed", "missing_field"),
        ({"count": 1.5}, "count", "not_an_integer"),
        ({"count": False}, "count", "not_an_integer"),
        ({"count": 10**400}, "count", "out_of_range"),
        ({"count": 2**53 + 2}, "count", "out_of_range"),
        ({"day": 8}, "day", "out_of_range"),
        ({"colour": 1}, "colour", "not_a_text"),
        ({"colour": "x" * (MAX_TEXT + 1)}, "colour", "too_long"),
        ({"colour": "\ud800"}, "colour", "not_a_text"),
        ({"name": "a\0b"}, "name", "not_a_text"),
        ({"new": 1}, "new", "not_a_flag"),
        ({"new": "true"}, "new", "not_a_flag"),
    ],
)
def test_check_invalid_value_is_rejected_with_its_field(changes, field, code):
    error = only_error(changes)
    assert (error.field, error.code) == (field, code)


def test_check_unknown_field_suggests_the_nearest():
    error = only_error({"sped": 1})
    assert (error.field, error.code) == ("sped", "unknown_field")
    assert "did you mean speed?" in error.message


def test_check_several_faults_are_all_reported():
    _, errors, _ = SIGNATURE.check({"speed": "1", "day": 9, "colour": "red", "what": 1})
    assert [error.field for error in errors] == ["what", "speed", "day", "new"]


@pytest.mark.parametrize("given", [None, 1, "x", [], [GOOD]])
def test_check_not_an_object_is_rejected(given):
    _, errors, _ = SIGNATURE.check(given)
    assert [error.code for error in errors] == ["not_an_object"]


def test_check_unseen_category_returns_a_warning():
    record, errors, warnings = SIGNATURE.check(GOOD | {"colour": "blue", "day": 7})
    assert errors == []
    assert (record[2], record[3]) == ("blue", 7)
    assert [(w.field, w.code) for w in warnings] == [
        ("colour", "unseen_category"),
        ("day", "unseen_category"),
    ]


def test_check_text_valid_texts_are_parsed():
    given = {"speed": "1.5", "count": "3.0", "colour": "red", "day": "1", "new": "True", "name": ""}
    assert SIGNATURE.check_text(given) == ((1.5, 3, "red", 1, True, None), [], [])


@pytest.mark.parametrize("text", [" 1.5", "1.5 ", "\t1.5"])
def test_check_text_whitespace_around_a_number_is_ignored(text):
    given = {"speed": text, "count": "3", "colour": "red", "day": "1", "new": "true"}
    record, errors, _ = SIGNATURE.check_text(given)
    assert (record[0], errors) == (1.5, [])


@pytest.mark.parametrize("text", MISSING_TEXTS)
def test_check_text_missing_marker_of_pandas_is_missing(text):
    given = {"speed": text, "count": text, "colour": "red", "day": "1", "new": "true"}
    record, errors, _ = SIGNATURE.check_text(given)
    assert record[1] is None
    assert [(error.field, error.code) for error in errors] == [("speed", "missing_field")]


@pytest.mark.parametrize("text", ["1_0", "0x1", "inf", "１", "1,5", "one", "true"])
def test_check_text_invalid_number_is_rejected(text):
    given = {"speed": text, "count": "3", "colour": "red", "day": "1", "new": "true"}
    _, errors, _ = SIGNATURE.check_text(given)
    assert [(error.field, error.code) for error in errors] == [("speed", "not_a_number")]


def test_check_text_number_too_large_for_a_float_is_not_finite():
    given = {"speed": "1e400", "colour": "red", "day": "1", "new": "false"}
    _, errors, _ = SIGNATURE.check_text(given)
    assert [(error.field, error.code) for error in errors] == [("speed", "not_finite")]


values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.integers(0, 8),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["red", "green", "blue", "", "\0", "1"]),
    st.text(max_size=300),
)
records = st.fixed_dictionaries({name: st.one_of(st.just(v), values) for name, v in GOOD.items()})


@given(records)
def test_fast_record_accepts_only_records_without_errors_and_warnings(given):
    """Compare both checks on JSON bodies."""
    body = json.dumps(given).encode()
    record, errors, warnings = SIGNATURE.check(json.loads(body))
    try:
        fast = msgspec.structs.astuple(FAST.decode(body))
    except msgspec.DecodeError:
        return
    assert (fast, [], []) == (record, errors, warnings)


@pytest.mark.parametrize("body", [json.dumps(GOOD), json.dumps(GOOD | {"count": None})])
def test_fast_record_accepts_an_ordinary_record(body):
    assert FAST.decode(body.encode())
