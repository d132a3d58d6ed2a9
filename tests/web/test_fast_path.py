"""The fast path and Flask's view: the same bytes for the same request."""

import io
import json
from functools import partial

import pytest
from flask import Flask
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from test_bad_input import BODIES

from slipway.core.errors import TakesLong
from slipway.core.settings import Settings
from slipway.web import create_app
from slipway.web.fast_path import with_fast_path
from slipway.web.headers import ON_LOOP, with_headers

ROOT_OF = {"wsgi.url_scheme": "http", "SERVER_NAME": "localhost", "SERVER_PORT": "80"}


def call(wsgi, body, **environ):
    """Call a WSGI application, and return its status, headers and body."""
    started = []
    environ_ = {
        **ROOT_OF,
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/predict",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_HOST": "localhost",
        "HTTP_X_REQUEST_ID": "the-same",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        **environ,
    }
    environ_ = {name: value for name, value in environ_.items() if value is not None}
    answer = b"".join(wsgi(environ_, lambda status, headers: started.append((status, headers))))
    return *started[0], answer


@pytest.fixture(scope="module")
def paths(settings):
    """Return the app with the fast path, Flask alone, and the paths passed on to Flask."""
    app = create_app(settings.model.parent, settings)
    passed_on = []

    def record(environ, start_response):
        passed_on.append(environ["PATH_INFO"])
        return Flask.wsgi_app(app, environ, start_response)

    fast = with_headers(with_fast_path(record, app))
    flask = with_headers(partial(Flask.wsgi_app, app))
    return fast, flask, passed_on


def call_both(paths, body, **environ):
    """Return the identical response of both paths, and whether the fast path served it."""
    fast, flask, passed_on = paths
    passed_on.clear()
    short = call(fast, body, **environ)
    assert short == call(flask, body, **environ)
    return short, not passed_on


VALUES = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    *(st.lists(st.integers(), max_size=2), st.sampled_from(["AA", "JFK", "1", "NaN", ""])),
)


@st.composite
def bodies(draw, example):
    """Draw records near the example, arrays of them, and invalid bytes."""
    record = dict(example)
    for name in draw(st.lists(st.sampled_from([*example, "other"]), max_size=3)):
        if draw(st.booleans()):
            record[name] = draw(VALUES)
        else:
            record.pop(name, None)
    text = json.dumps(draw(st.sampled_from([record, [record], [record, dict(example)], [], {}])))
    body = text.encode()
    spoil = draw(st.sampled_from(["no", "no", "cut", "insert", "double", "marked", "any"]))
    at = draw(st.integers(0, len(body)))
    return {
        "no": body,
        "cut": body[:at],
        "insert": body[:at] + draw(st.binary(max_size=4)) + body[at:],
        "double": body + body,
        "marked": b"\xef\xbb\xbf  " + body + b"\r\n",
        "any": draw(st.binary(max_size=64)),
    }[spoil]


HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "HTTP_ACCEPT": st.sampled_from(["*/*", "text/html", "application/json", "\xff", ""]),
        "HTTP_HOST": st.sampled_from(["localhost", "a b", "", "evil:99999", "\xff", None]),
        "HTTP_X_REQUEST_ID": st.sampled_from(["abc", "x" * 128]),
        "HTTP_CONTENT_ENCODING": st.sampled_from(["identity", "gzip", ""]),
        "HTTP_TRANSFER_ENCODING": st.sampled_from(["chunked", "identity"]),
        "HTTP_X_HTTP_METHOD_OVERRIDE": st.just("GET"),
        "HTTP_X_FORWARDED_PREFIX": st.just("/x"),
        "HTTP_COOKIE": st.just("session=forged"),
        "SCRIPT_NAME": st.sampled_from(["/late", ""]),
        "QUERY_STRING": st.sampled_from(["", "explain=true", "explain=maybe", "interval=0.9", "%"]),
        "CONTENT_TYPE": st.sampled_from(
            ["application/json", "application/json; charset=utf-8", "text/plain", "", None]
        ),
        "CONTENT_LENGTH": st.sampled_from(["0", "7", "-1", "+3", "²", "", "1e3", None, "9" * 12]),
        "PATH_INFO": st.sampled_from(
            ["/predict", "/predict/", "//predict", "/Predict", "/nothing"]
        ),
        "REQUEST_METHOD": st.sampled_from(["POST", "GET", "HEAD", "OPTIONS", "PUT"]),
        "wsgi.url_scheme": st.sampled_from(["http", "https"]),
    },
)


@hypothesis_settings(
    max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_fast_path_any_request_returns_bytes_of_flask(paths, example, data):
    environ = data.draw(HEADERS) if data.draw(st.booleans()) else {}
    call_both(paths, data.draw(bodies(example)), **environ)


@pytest.mark.parametrize(("body", "status", "code"), BODIES.values(), ids=BODIES)
def test_fast_path_invalid_body_returns_error_of_flask(paths, body, status, code):
    answer, is_fast = call_both(paths, body)
    assert is_fast
    assert answer[0].startswith(str(status))
    assert json.loads(answer[2])["code"] == code


@pytest.mark.parametrize("script_name", ["", "/late"])
def test_fast_path_plain_prediction_bypasses_flask(paths, example, script_name):
    answer, is_fast = call_both(paths, json.dumps(example).encode(), SCRIPT_NAME=script_name)
    assert (answer[0], is_fast) == ("200 OK", True)


@pytest.mark.parametrize(
    "environ",
    [
        {"REQUEST_METHOD": "GET"},
        {"QUERY_STRING": "explain=true"},
        {"CONTENT_TYPE": "application/json; charset=utf-8"},
        {"HTTP_CONTENT_ENCODING": "identity"},
        {"CONTENT_LENGTH": None},
        {"CONTENT_LENGTH": "99999999"},
        {"PATH_INFO": "/predict_file"},
    ],
    ids=lambda environ: next(iter(environ)),
)
def test_fast_path_other_request_passes_to_flask(paths, example, environ):
    _, is_fast = call_both(paths, json.dumps(example).encode(), **environ)
    assert not is_fast


def test_fast_path_internal_error_is_logged_once_by_flask(settings, example, caplog):
    app = create_app(settings.model.parent, settings)

    def fail(*_, **__):
        raise ZeroDivisionError

    app.extensions["slipway"].predict_json = fail
    answer = app.test_client().post("/predict", json=example)
    assert (answer.status_code, answer.json["code"]) == (500, "internal_error")
    assert [record.exc_info[0] for record in caplog.records] == [ZeroDivisionError]


@pytest.mark.parametrize(
    ("method", "path", "by_pickle", "by_scorecard"),
    [
        ("POST", "/predict", True, False),
        ("POST", "/", True, True),
        ("POST", "/predict_file", True, True),
        ("POST", "/version", True, True),
        ("GET", "/readyz", True, True),
        ("GET", "/", True, True),
        ("GET", "/model", True, True),
        ("GET", "/nothing", True, True),
        ("GET", "/version", False, False),
        ("GET", "/livez", False, False),
    ],
)
def test_needs_thread_all_but_short_requests_returns_true(
    settings, method, path, by_pickle, by_scorecard
):
    app = create_app(settings.model.parent, settings)
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path}
    assert app.needs_thread(environ) is by_scorecard
    app.extensions["slipway"].model.engine = "pickle"
    assert app.needs_thread(environ) is by_pickle
    app.extensions["slipway"] = None
    assert app.needs_thread(environ) is (method == "POST" or by_scorecard)


@pytest.mark.parametrize(
    "environ", [{"QUERY_STRING": "explain=true"}, {"CONTENT_TYPE": "application/json; q=1"}]
)
def test_fast_path_request_for_flask_on_loop_raises_takes_long(paths, example, environ):
    with pytest.raises(TakesLong):
        call(paths[0], json.dumps(example).encode(), **environ, **{ON_LOOP: True})


WRONG = {f"x{number}": 1 for number in range(1000)}


@pytest.mark.parametrize(
    ("make", "is_long"),
    [
        (lambda example: example, False),
        (lambda example: example | {"other": 1}, False),
        (lambda example: [example] * 100, False),
        (lambda example: [example] * 101, True),
        (lambda example: [example, {}], True),
        (lambda example: [{"x": 1}], True),
        (lambda example: example | WRONG, True),
        (lambda example: ["x" * 5000], True),
        (lambda example: "x" * 5000, True),
    ],
)
def test_fast_path_long_body_on_loop_raises_takes_long(paths, example, make, is_long):
    body = json.dumps(make(example)).encode()
    answered, _ = call_both(paths, body)
    if is_long:
        with pytest.raises(TakesLong):
            call(paths[0], body, **{ON_LOOP: True})
    else:
        assert call(paths[0], body, **{ON_LOOP: True}) == answered


def test_warm_up_predicts_golden_rows(settings):
    app = create_app(settings.model.parent, settings)
    model = app.extensions["slipway"].model
    score, asked_for = model.score, []
    model.score = lambda records: asked_for.extend(records) or score(records)
    app.warm_up()
    assert len(asked_for) == len(model.manifest.golden)
    app.extensions["slipway"] = None
    app.warm_up()


def test_fast_path_without_model_returns_503(tmp_path, monkeypatch, settings):
    monkeypatch.setenv("FLASK_RUN_FROM_CLI", "true")
    app = create_app(settings.model.parent, Settings(model=tmp_path / "none.pkl"))
    assert app.test_client().post("/predict", json={}).status_code == 503
