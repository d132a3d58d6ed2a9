"""Responses to invalid input: JSON errors, the right status, and never a 5xx."""

import gzip
import json
import time

import pytest
from conftest import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slipway.core.settings import Settings
from slipway.web import create_app

JSON = "application/json"


def reject_constant(name):
    raise AssertionError(f"{name} is not JSON")


def parse_strict_json(response):
    return json.loads(response.data, parse_constant=reject_constant)


def assert_error_shape(response):
    body = parse_strict_json(response)
    assert response.mimetype == JSON
    assert set(body) == {"code", "message", "request_id", "errors"}
    assert body["request_id"] == response.headers["X-Request-Id"]
    for error in body["errors"]:
        assert set(error) == {"field", "row", "code", "message"}
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    return body


BODIES = {
    "deep": (b"[" * 100_000, 400, "json_too_deep"),
    "deep in a record": (b'{"carrier":' * 100_000, 400, "json_too_deep"),
    "nan": (b'{"distance": NaN}', 400, "not_json"),
    "infinity": (b'{"distance": -Infinity}', 400, "not_json"),
    "nan in an array": (b'[{"distance": NaN}]', 400, "not_json"),
    "5000 digits": (b'{"distance": ' + b"1" * 5000 + b"}", 400, "not_json"),
    "twice": (b'{"distance": 1, "distance": 2}', 400, "duplicate_key"),
    "utf-16": ('{"distance": 1}'.encode("utf-16"), 400, "not_utf8"),
    "utf-16 without mark": ('{"distance": 1}'.encode("utf-16-le"), 400, "not_json"),
    "latin-1": ('{"carrier": "é"}'.encode("latin-1"), 400, "not_utf8"),
    "latin-1 in an array": ('[{"carrier": "é"}]'.encode("latin-1"), 400, "not_utf8"),
    "empty": (b"", 400, "empty_body"),
    "blank": (b" \n", 400, "empty_body"),
    "null": (b"null", 422, "invalid_input"),
    "number": (b"5", 422, "invalid_input"),
    "text": (b'"x"', 422, "invalid_input"),
    "empty array": (b"[]", 422, "invalid_input"),
    "empty object": (b"{}", 422, "invalid_input"),
    "cut off": (b'{"carrier": "U', 400, "not_json"),
    "cut off array": (b'[{"carrier": "UA"}', 400, "not_json"),
    "two values": (b"{} {}", 400, "not_json"),
    "leading zero": (b'{"distance": 01}', 400, "not_json"),
    "single quotes": (b"{'distance': 1}", 400, "not_json"),
    "script": (b'{"carrier": <script>alert(1)</script>}', 400, "not_json"),
    "nul": (b"\0", 400, "not_json"),
}


@pytest.mark.parametrize(("body", "status", "code"), BODIES.values(), ids=BODIES)
def test_json_invalid_body_returns_error_code(client, body, status, code):
    # CPU time, so that other processes do not count.
    started = time.thread_time()
    response = client.post("/predict", data=body, content_type=JSON)
    assert time.thread_time() - started < 0.5
    assert (response.status_code, assert_error_shape(response)["code"]) == (status, code)


VALUES = {
    "400 digits": ("distance", "1" * 400, "out_of_range"),
    "1e400": ("distance", "1e400", "not_finite"),
    "1e308": ("distance", "1e308", "out_of_range"),
    "true": ("distance", "true", "not_a_number"),
    "text": ("distance", '"1"', "not_a_number"),
    "object": ("distance", "{}", "not_a_number"),
    "fraction": ("day_of_week", "1.5", "not_an_integer"),
    "surrogate": ("carrier", '"\\ud800"', "not_a_text"),
    "number for a text": ("carrier", "1", "not_a_text"),
    "long": ("carrier", '"' + "x" * 70_000 + '"', "too_long"),
    "null": ("carrier", "null", "missing_field"),
}


@pytest.mark.parametrize(("field", "spelled", "code"), VALUES.values(), ids=VALUES)
@pytest.mark.parametrize("in_array", [False, True], ids=["one", "array"])
def test_json_invalid_value_returns_field_error(client, example, field, spelled, code, in_array):
    others = {name: value for name, value in example.items() if name != field}
    body = f'{json.dumps(others)[:-1]}, "{field}": {spelled}}}'
    sent = f"[{body}]" if in_array else body
    response = client.post("/predict", data=sent, content_type=JSON)
    assert response.status_code == (207 if in_array else 422)
    errors = (
        parse_strict_json(response)[0]["errors"]
        if in_array
        else assert_error_shape(response)["errors"]
    )
    assert [(e["field"], e["code"]) for e in errors] == [(field, code)]


@pytest.mark.parametrize("in_array", [False, True], ids=["one", "array"])
def test_json_latin_1_record_returns_error(client, example, in_array):
    body = json.dumps(example | {"carrier": "é"}, ensure_ascii=False).encode("latin-1")
    response = client.post(
        "/predict", data=b"[" + body + b"]" if in_array else body, content_type=JSON
    )
    assert response.status_code == 400
    assert assert_error_shape(response)["code"] == "not_utf8"


def test_json_byte_order_mark_is_accepted(client, example):
    body = b"\xef\xbb\xbf" + json.dumps(example).encode()
    assert client.post("/predict", data=body, content_type=JSON).status_code == 200


def test_json_unknown_field_error_suggests_nearest_name(client, example):
    response = client.post("/predict", json=example | {"temprature": 1})
    assert response.status_code == 422
    error = assert_error_shape(response)["errors"][0]
    assert (error["field"], error["code"]) == ("temprature", "unknown_field")
    assert "did you mean temperature?" in error["message"]


def test_json_script_in_field_is_returned_as_json_only(client, example):
    response = client.post("/predict", json=example | {"<script>alert(1)</script>": 1})
    assert response.status_code == 422
    assert_error_shape(response)


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "", "image/png"])
@pytest.mark.parametrize("path", ["/predict", "/predict_file"])
def test_content_type_unsupported_returns_415(client, path, kind):
    response = client.post(path, data=b"{}", content_type=kind)
    assert response.status_code == 415
    assert "send" in assert_error_shape(response)["message"]


@pytest.mark.parametrize("path", ["/predict", "/predict_file"])
def test_content_encoding_compressed_returns_415(client, example, path):
    body = gzip.compress(json.dumps(example).encode())
    headers = {"Content-Encoding": "gzip", "Content-Type": JSON}
    response = client.post(path, data=body, headers=headers)
    assert response.status_code == 415
    assert "content encoding" in assert_error_shape(response)["message"]


def test_body_over_limit_returns_413(example):
    body = json.dumps(example).encode()
    exact = Settings(model=ROOT / "model.pkl", max_json_bytes=len(body), max_file_bytes=len(body))
    client = create_app(ROOT, exact).test_client()
    assert client.post("/predict", data=body, content_type=JSON).status_code == 200
    for path, kind in (("/predict", JSON), ("/predict_file", "text/csv")):
        response = client.post(path, data=body + b" ", content_type=kind)
        assert response.status_code == 413
        assert assert_error_shape(response)["code"] == "too_large"


@pytest.mark.parametrize("path", ["/predict", "/predict_file"])
@pytest.mark.parametrize("method", ["get", "put", "delete", "patch"])
def test_method_not_allowed_returns_allowed_methods(client, path, method):
    response = getattr(client, method)(f"{path}?carrier=UA")
    assert response.status_code == 405
    assert "POST" in response.headers["Allow"]
    assert assert_error_shape(response)["code"] == "method_not_allowed"


def test_unknown_address_returns_json_or_page_by_accept_header(client):
    assert assert_error_shape(client.get("/nothing"))["code"] == "not_found"
    page = client.get("/nothing", headers={"Accept": "text/html"})
    assert page.status_code == 404
    assert page.mimetype == "text/html"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "empty_body"),
        (b"carrier=%ff", "not_utf8"),
        ("carrier=é".encode("latin-1"), "not_utf8"),
        (b"carrier=UA&carrier=DL", "duplicate_key"),
        (b"nothing", "not_a_form"),
        (b"&".join(b"a=1" for _ in range(2000)), "not_a_form"),
    ],
)
def test_form_invalid_body_returns_error_code(client, body, code):
    response = client.post("/predict", data=body, content_type="application/x-www-form-urlencoded")
    assert response.status_code == 400
    assert assert_error_shape(response)["code"] == code


def test_form_empty_required_field_returns_missing_value_error(client):
    response = client.post("/predict", data={"carrier": ""})
    assert response.status_code == 422
    errors = assert_error_shape(response)["errors"]
    assert ("carrier", "missing_field") in [(e["field"], e["code"]) for e in errors]


def test_request_id_malformed_is_replaced(client):
    kept = client.get("/livez", headers={"X-Request-Id": "abc-1.2_3"})
    assert kept.headers["X-Request-Id"] == "abc-1.2_3"
    for bad in ("a b", "x" * 129, "é", "a;b", ""):
        request_id = client.get("/livez", headers={"X-Request-Id": bad}).headers["X-Request-Id"]
        assert request_id != bad
        assert len(request_id) == 32


def test_internal_error_is_logged_and_hides_details(settings, caplog):
    app = create_app(ROOT, settings)
    secret = "a detail of the inside"

    @app.get("/broken")
    def broken():
        raise RuntimeError(secret)

    response = app.test_client().get("/broken")
    assert response.status_code == 500
    body = assert_error_shape(response)
    assert secret not in response.text
    assert secret in caplog.text
    assert body["request_id"] in caplog.text


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_hostile_json_returns_strict_json_without_5xx(client, example, data):
    names = st.sampled_from([*example, "other"])
    changes = data.draw(st.dictionaries(names, json_values, max_size=3))
    sent = data.draw(
        st.one_of(
            st.just(example | changes),
            st.just([example, example | changes]),
            json_values,
        )
    )
    response = client.post("/predict", data=json.dumps(sent), content_type=JSON)
    assert response.status_code in (200, 207, 400, 422)
    parse_strict_json(response)


kinds = st.sampled_from([JSON, "application/x-www-form-urlencoded"])


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=st.binary(max_size=200), kind=kinds, cut=st.integers(0, 400))
def test_hostile_bytes_return_no_5xx(client, example, body, kind, cut):
    whole = json.dumps(example).encode()
    for sent in (body, whole[:cut] + body, whole[:cut] + body[:3] + whole[cut:]):
        response = client.post("/predict", data=sent, content_type=kind)
        assert response.status_code in (200, 207, 400, 422)
        parse_strict_json(response)
