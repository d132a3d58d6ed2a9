"""The fast lane and Flask's own view: the same bytes for the same request."""

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


def asked(wsgi, body, **environ):
    """Call a WSGI application; its status, headers and body."""
    told = []
    given = {
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
    given = {name: value for name, value in given.items() if value is not None}
    answer = b"".join(wsgi(given, lambda status, headers: told.append((status, headers))))
    return *told[0], answer


@pytest.fixture(scope="module")
def ways(settings):
    """The app with its lane, Flask's own dispatch without, and what the lane let through."""
    app = create_app(settings.model.parent, settings)
    through = []

    def counted(environ, start_response):
        through.append(environ["PATH_INFO"])
        return Flask.wsgi_app(app, environ, start_response)

    with_it = with_headers(with_fast_path(counted, app))
    without = with_headers(partial(Flask.wsgi_app, app))
    return with_it, without, through


def same(ways, body, **environ):
    """Ask both ways, hold them to be the same, and tell the answer and whether the lane gave it."""
    with_it, without, through = ways
    through.clear()
    short = asked(with_it, body, **environ)
    assert short == asked(without, body, **environ)
    return short, not through


VALUES = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    *(st.lists(st.integers(), max_size=2), st.sampled_from(["AA", "JFK", "1", "NaN", ""])),
)


@st.composite
def bodies(draw, example):
    """Records near the example, arrays of them, and bytes that are none."""
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
def test_lane_any_request_gives_the_bytes_of_flask(ways, example, data):
    environ = data.draw(HEADERS) if data.draw(st.booleans()) else {}
    same(ways, data.draw(bodies(example)), **environ)


@pytest.mark.parametrize(("body", "status", "code"), BODIES.values(), ids=BODIES)
def test_lane_bad_body_is_refused_in_the_words_of_flask(ways, body, status, code):
    answer, by_lane = same(ways, body)
    assert by_lane
    assert answer[0].startswith(str(status))
    assert json.loads(answer[2])["code"] == code


@pytest.mark.parametrize("script_name", ["", "/late"])
def test_lane_plain_prediction_does_not_pass_through_flask(ways, example, script_name):
    answer, by_lane = same(ways, json.dumps(example).encode(), SCRIPT_NAME=script_name)
    assert (answer[0], by_lane) == ("200 OK", True)


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
def test_lane_other_request_is_left_to_flask(ways, example, environ):
    _, by_lane = same(ways, json.dumps(example).encode(), **environ)
    assert not by_lane


def test_lane_fault_of_ours_is_answered_and_logged_once_by_flask(settings, example, caplog):
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
def test_takes_long_any_but_short_requests_is_true(settings, method, path, by_pickle, by_scorecard):
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
def test_lane_request_for_flask_on_a_loop_raises_takes_long(ways, example, environ):
    with pytest.raises(TakesLong):
        asked(ways[0], json.dumps(example).encode(), **environ, **{ON_LOOP: True})


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
def test_lane_long_body_on_a_loop_raises_takes_long(ways, example, make, is_long):
    body = json.dumps(make(example)).encode()
    answered, _ = same(ways, body)
    if is_long:
        with pytest.raises(TakesLong):
            asked(ways[0], body, **{ON_LOOP: True})
    else:
        assert asked(ways[0], body, **{ON_LOOP: True}) == answered


def test_warm_up_asks_the_model(settings):
    app = create_app(settings.model.parent, settings)
    model = app.extensions["slipway"].model
    score, asked_for = model.score, []
    model.score = lambda records: asked_for.extend(records) or score(records)
    app.warm_up()
    assert len(asked_for) == len(model.manifest.golden)
    app.extensions["slipway"] = None
    app.warm_up()


def test_lane_without_a_model_leaves_the_answer_to_flask(tmp_path, monkeypatch, settings):
    monkeypatch.setenv("FLASK_RUN_FROM_CLI", "true")
    app = create_app(settings.model.parent, Settings(model=tmp_path / "none.pkl"))
    assert app.test_client().post("/predict", json={}).status_code == 503
