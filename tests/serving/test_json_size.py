"""Test the time and the memory that POST /predict uses for hostile JSON."""

import json
import subprocess
import sys
import time

import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.core.errors import SlipwayError, TooLarge
from slipway.models.suggestions import NameIndex
from slipway.serving.json_size import require_places, require_values

JSON = "application/json"
MIB = 2**20


def fill(before, piece, after):
    """Repeat a piece until the body has 15 MiB, a little below the limit."""
    return before + piece * (15 * MIB // len(piece)) + after


HUGE = {
    "zeros": (fill(b"[", b"0,", b"0]"), 413, "too_many_records"),
    "arrays": (fill(b"[", b"[],", b"[]]"), 413, "too_many_records"),
    "objects": (fill(b"[", b"{},", b"{}]"), 413, "too_many_records"),
    "texts": (fill(b"[", b'"",', b'""]'), 413, "too_many_records"),
    "commas": (fill(b"[", b",", b"]"), 413, "too_many_records"),
    "array in a field": (fill(b'{"carrier":[', b"1,", b"1]}"), 413, "too_many_values"),
    "objects in a record": (fill(b'[{"a":[', b"{},", b"{}]}]"), 413, "too_many_values"),
    "records of objects": (
        fill(b"[", b'{"a":[' + b"{}," * 3000 + b"{}]},", b"{}]"),
        413,
        "too_many_values",
    ),
    "fields": (fill(b"{", b'"a":1,', b'"b":1}'), 413, "too_many_values"),
    "deep": (b"[" * 15 * MIB, 400, "json_too_deep"),
    "deep in an array": (b"[{}," + b"[" * 15 * MIB, 400, "json_too_deep"),
    "deep fields": (fill(b"", b'{"a":', b""), 400, "json_too_deep"),
    "integer": (b'{"distance":' + b"1" * 15 * MIB + b"}", 400, "not_json"),
    "text": (b'{"carrier":"' + b"x" * 15 * MIB + b'"}', 422, "invalid_input"),
    "name": (b'{"' + b"x" * 15 * MIB + b'":1}', 422, "invalid_input"),
    "open text": (b"[" + b"{}," * 9_999 + b'{"' + b'\\"' * 7 * MIB, 400, "not_json"),
    "open text of fields": (b"{" + b'"a":1,' * 9_000 + b'"' + b'\\"' * 7 * MIB, 400, "not_json"),
    "open text of many": (
        b"{" + b'"a":1,' * 20_000 + b'"' + b'\\"' * 7 * MIB,
        413,
        "too_many_values",
    ),
    "texts with marks": (b'{"a":"' + b"[," * 7 * MIB + b'"}', 422, "invalid_input"),
    "blanks behind": (b"[" + b"[[]]," * 9_999 + b" " * 14 * MIB, 400, "not_json"),
    "blanks": (b"[" + b" " * 15 * MIB + b"]", 422, "invalid_input"),
}
PEAK = """
import resource, sys
from pathlib import Path
from slipway.core.settings import Settings
from slipway.core.errors import SlipwayError
from slipway.serving.service import PredictionService
sys.path[:0] = ["tests", "tests/helpers", "tests/serving"]
from test_json_size import HUGE
live = PredictionService(Settings(model=Path("model.pkl")))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name, (body, _, _) in HUGE.items():
    try:
        live.predict_json(body)
    except SlipwayError:
        pass
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(name, (most - before) // 1024)
"""


@pytest.mark.parametrize(("body", "status", "code"), HUGE.values(), ids=HUGE)
def test_predict_huge_json_is_rejected_within_half_a_second(client, body, status, code):
    started = time.thread_time()
    answer = client.post("/predict", data=body, content_type=JSON)
    assert time.thread_time() - started < 0.5
    assert (answer.status_code, answer.json["code"]) == (status, code)


def test_predict_huge_json_uses_little_memory():
    done = subprocess.run(
        [sys.executable, "-c", PEAK], cwd=ROOT, capture_output=True, text=True, check=True
    )
    peaks = {line.rpartition(" ")[0]: int(line.split()[-1]) for line in done.stdout.splitlines()}
    assert peaks.keys() == HUGE.keys()
    assert max(peaks.values()) < 100, peaks


def test_predict_array_over_the_limit_is_rejected(client, example):
    limit = client.application.extensions["slipway"].settings.max_records
    for record in (example, example | {"carrier": 'a,"}]['}, example | {"seats": {"a": [1, 2]}}):
        text = json.dumps(record)
        for n_records in (limit, limit + 1):
            body = f"[{', '.join([text] * n_records)}]"
            answer = client.post("/predict", data=body, content_type=JSON)
            assert (answer.status_code == 413) == (n_records > limit)
            if n_records == limit:
                assert len(answer.json) == limit


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text('ab,"\\[]{}:', max_size=6)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text('a,"]', max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=300)
@given(places=st.lists(values, max_size=12), limit=st.integers(1, 12), indent=st.booleans())
def test_require_places_array_over_the_limit_raises(places, limit, indent):
    body = json.dumps(places, indent=1 if indent else None).encode()
    if len(places) > limit:
        with pytest.raises(TooLarge):
            require_places(body, limit)
    else:
        require_places(body, limit)


@settings(deadline=None, max_examples=300)
@given(body=st.binary(max_size=60).map(lambda noise: b"[" + noise))
def test_require_places_and_values_any_bytes_return_or_raise(body):
    for count in (require_places, require_values):
        try:
            count(body, 1)
        except SlipwayError as error:
            assert error.status in (400, 413)  # noqa: PT017


def test_predict_many_unknown_fields_lists_the_first(client, example):
    unknown = {f"departures_in_hou{i}": 1 for i in range(1900)}
    body = json.dumps(example | unknown)
    started = time.thread_time()
    answer = client.post("/predict", data=body, content_type=JSON)
    assert time.thread_time() - started < 0.05
    errors = answer.json["errors"]
    assert [error["field"] for error in errors] == [*list(unknown)[:10], None]
    assert ["did you mean departures_in_hour?" in e["message"] for e in errors] == (
        [True] * 3 + [False] * 8
    )
    assert errors[-1]["message"] == "1890 more fields are unknown"


def test_predict_form_of_many_similar_names_is_fast(client):
    form = {f"distanc{i}": "x" for i in range(990)}
    started = time.thread_time()
    answer = client.post("/predict", data=form)
    assert time.thread_time() - started < 0.05
    assert answer.status_code == 422


def test_predict_array_of_misspelt_records_is_fast(client):
    body = ",".join(f'{{"precipitation_6{i}":1}}' for i in range(2000))
    started = time.thread_time()
    answer = client.post("/predict", data=f"[{body}]", content_type=JSON)
    assert time.thread_time() - started < 0.2
    assert answer.status_code == 207
    assert "did you mean precipitation_6h?" in answer.json[7]["errors"][0]["message"]


NAMES = ("temperature", "precipitation_6h", "departure_hour", "day_of_week", "Age", "aged")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("temprature", "temperature"),
        ("Temperature", "temperature"),
        (" temperature ", "temperature"),
        ("dep_hour", "departure_hour"),
        ("age", "Age"),
        ("day of week", "day_of_week"),
        ("colour", None),
        ("", None),
    ],
)
def test_hints_nearest_misspelt_name_returns_the_name(given, expected):
    assert NameIndex(NAMES).nearest(given) == expected
    many = NameIndex((*NAMES, *(f"zz_{i}" for i in range(1000))))
    assert many.nearest(given) == expected


@given(name=st.text(max_size=200))
def test_hints_nearest_any_text_returns_a_name_or_none(name):
    assert NameIndex(NAMES).nearest(name) in (*NAMES, None)
