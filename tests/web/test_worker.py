"""The loop worker as a process: log, hooks and clients, compared with gthread."""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from clients import asked, post
from conftest import GUNICORN, running

pytest_plugins = ["served"]
pytestmark = pytest.mark.slow

HOOKS = """
def pre_request(worker, req):
    print("pre", req.method, req.path, flush=True)

def post_request(worker, req, environ, resp):
    print("post", resp.status, resp.sent, flush=True)
"""


def test_worker_log_and_hooks_get_each_request_once(tmp_path, body, capfd):
    config = tmp_path / "conf.py"
    config.write_text(f"import sys\nsys.path.insert(0, {os.getcwd()!r})\n" + HOOKS)
    log = tmp_path / "access.log"
    arguments = [
        f"--config={config}",
        "--worker-class=slipway.web.worker.LoopWorker",
        "--workers=1",
    ]
    with running(*GUNICORN, *arguments, f"--access-logfile={log}") as (base, _):
        assert post(base, body)[0] == 200
        assert post(base, b"{}")[0] == 422
        assert post(base, b"x", path="/predict_file", kind="text/csv")[0] == 422
    lines = [line.split('"')[1:3] for line in log.read_text().splitlines()]
    output = [line.split() for line in capfd.readouterr().out.splitlines()]
    output = [words for words in output if words[-1:] != ["/livez"]]
    assert [words[:3] for words in output if words[0] == "pre"] == [
        *[["pre", "POST", "/predict"]] * 2,
        ["pre", "POST", "/predict_file"],
    ]
    assert [words[1] for words in output if words[0] == "post"][-3:] == [
        "200",
        "422",
        "422",
    ]
    asked_for = [first for first, _ in lines if "livez" not in first]
    assert asked_for == ["POST /predict HTTP/1.1"] * 2 + ["POST /predict_file HTTP/1.1"]


@pytest.mark.parametrize(
    "name", ["SCRIPT_NAME", "PATH_INFO", "Script-Name", "X-Forwarded-Host", "X-Forwarded-Prefix"]
)
def test_worker_forged_header_is_ignored(services, body, name):
    forged = {"Content-Type": "application/json", name: "/evil"}
    for base, _ in services:
        status, _, answer = asked(base, "POST", "/predict", body, **forged)
        assert (status, answer) == post(base, body)
        page = asked(base, "GET", "/apidocs/", **forged)[2]
        assert b"evil" not in page
        assert page == asked(base, "GET", "/apidocs/")[2]


def test_worker_many_clients_receive_their_own_predictions(impatient, body):
    base, _ = impatient
    record = json.loads(body)

    def own(number):
        sent = [record] * (number % 40 + 1)
        status, answer = post(base, json.dumps(sent).encode())
        return status, len(json.loads(answer)) == len(sent)

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(own, range(200))) == {(200, True)}


@pytest.fixture(scope="module")
def services(tmp_path_factory):
    """Yield URLs and access logs of the service behind a proxy, with the loop and with gthread."""
    folder = tmp_path_factory.mktemp("logs")
    logs = [folder / "loop.log", folder / "threads.log"]
    arguments = [(*GUNICORN, "--workers=1", f"--access-logfile={log}") for log in logs]
    # Flask lists the methods in the order of a set, which differs between processes.
    both = {"FORWARDED_ALLOW_IPS": "*", "PYTHONHASHSEED": "0"}
    with (
        running(*arguments[0], SLIPWAY_LANE="1", **both) as (loop, _),
        running(*arguments[1], SLIPWAY_LANE="0", **both) as (threads, _),
    ):
        yield [(loop, logs[0]), (threads, logs[1])]


VARY = ("Date", "Connection")


def request_both(services, method, path, body=None, **headers):
    """Send a request to both services, and return their identical response."""
    responses = []
    for base, _ in services:
        status, response_headers, answer = asked(
            base, method, path, body, X_Request_Id="the-same", **headers
        )
        responses.append(
            (status, {k: v for k, v in response_headers.items() if k not in VARY}, answer)
        )
    assert responses[0] == responses[1]
    return responses[0]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"])
def test_worker_wrong_method_returns_allowed_methods(services, method):
    status, headers, answer = request_both(services, method, "/predict")
    assert status == 405
    assert headers["Allow"] == "OPTIONS, POST"
    assert "X-Content-Type-Options" in headers
    if method == "HEAD":
        assert answer == b""
        assert int(headers["Content-Length"]) > 0
    else:
        error = json.loads(answer)
        assert (error["code"], error["request_id"]) == ("method_not_allowed", "the-same")


def test_worker_options_returns_methods(services):
    status, headers, answer = request_both(services, "OPTIONS", "/predict")
    assert (status, answer) == (200, b"")
    assert set(headers["Allow"].split(", ")) == {"OPTIONS", "POST"}


@pytest.mark.parametrize("path", ["/file", "/livez", "/version", "/model", "/nothing"])
def test_worker_head_returns_headers_of_get_without_body(services, path):
    status, headers, answer = request_both(services, "HEAD", path)
    response_headers = request_both(services, "GET", path)
    assert answer == b""
    assert response_headers[2] != b""
    assert (status, headers) == response_headers[:2]


FORWARDED = {
    "one client": ({"X_Forwarded_For": "198.51.100.7"}, "198.51.100.7", False),
    "invented left": ({"X_Forwarded_For": "6.6.6.6, 198.51.100.7"}, "198.51.100.7", False),
    "no address": ({"X_Forwarded_For": '6.6.6.6, x" evil'}, "127.0.0.1", False),
    "empty": ({"X_Forwarded_For": "6.6.6.6,"}, "127.0.0.1", False),
    "address of IPv6": ({"X_Forwarded_For": "2001:db8::7"}, "2001:db8::7", False),
    "https": ({"X_Forwarded_Proto": "https"}, "127.0.0.1", True),
    "http": ({"X_Forwarded_Proto": "http"}, "127.0.0.1", False),
    "https invented": ({"X_Forwarded_Proto": "https, http"}, "127.0.0.1", False),
    "http invented": ({"X_Forwarded_Proto": "http, https"}, "127.0.0.1", True),
    "no scheme": ({"X_Forwarded_Proto": "javascript"}, "127.0.0.1", False),
    "all": (
        {
            "X_Forwarded_For": "6.6.6.6, 198.51.100.8",
            "X_Forwarded_Proto": "https",
            "X_Forwarded_Host": "evil.example",
            "X_Forwarded_Prefix": "/evil",
            "X_Forwarded_Port": "666",
        },
        *("198.51.100.8", True),
    ),
}


def logged_client(log, request):
    """Return the client that a log has for a request.

    The line is written when the answer has been sent, so that it can come after that.
    """
    deadline = time.monotonic() + 30
    while True:
        lines = [line for line in log.read_text().splitlines() if request in line]
        if lines:
            return lines[-1].split()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(("headers", "client", "is_https"), FORWARDED.values(), ids=FORWARDED)
def test_worker_behind_proxy_reads_client_and_scheme(services, body, headers, client, is_https):
    for _, log in services:
        os.truncate(log, 0)
    responses = [
        request_both(
            services, "POST", "/predict", body, Content_Type="application/json", **headers
        ),
        request_both(services, "GET", "/model", **headers),
        request_both(services, "GET", "/apidocs/", **headers),
    ]
    for status, response_headers, answer in responses:
        assert status == 200
        assert ("Strict-Transport-Security" in response_headers) == is_https
        assert b"evil" not in answer
    assert [logged_client(log, "GET /apidocs/") for _, log in services] == [client] * 2
    assert [logged_client(log, "POST /predict") for _, log in services] == [client] * 2


def test_worker_untrusted_proxy_headers_are_ignored(tmp_path, body):
    for fast_path in ("0", "1"):
        log = tmp_path / f"{fast_path}.log"
        arguments = (*GUNICORN, "--workers=1", f"--access-logfile={log}")
        with running(*arguments, SLIPWAY_LANE=fast_path, FORWARDED_ALLOW_IPS="192.0.2.1") as (
            base,
            _,
        ):
            forged = {"X_Forwarded_For": "6.6.6.6", "X_Forwarded_Proto": "https"}
            _, headers, _ = asked(
                base, "POST", "/predict", body, Content_Type="application/json", **forged
            )
        assert "Strict-Transport-Security" not in headers
        assert log.read_text().splitlines()[-1].startswith("127.0.0.1 ")


def test_worker_trusts_proxies_of_gunicorn_setting(body):
    arguments = (*GUNICORN, "--workers=1", "--forwarded-allow-ips=192.0.2.1")
    with running(*arguments) as (base, _):
        headers = asked(base, "GET", "/livez", X_Forwarded_Proto="https")[1]
    assert "Strict-Transport-Security" not in headers
