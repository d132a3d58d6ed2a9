"""Error responses of the worker and of Gunicorn, with the security headers."""

import json
import re

import pytest
from clients import asked, exchanged
from conftest import GUNICORN, running

from slipway.web.headers import SECURITY_HEADERS

pytest_plugins = ["served"]
pytestmark = pytest.mark.slow

HOST = b"Host: a\r\n\r\n"
REJECTED = {
    "method": (400, b"G\x00T / HTTP/1.1\r\n" + HOST),
    "version": (400, b"GET / HTTP/9.9\r\n" + HOST),
    "header name": (400, b"GET / HTTP/1.1\r\n(A): b\r\n" + HOST),
    "no colon": (400, b"GET / HTTP/1.1\r\nA\r\n" + HOST),
    "two lengths": (400, b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n" + HOST),
    "long target": (414, b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n" + HOST),
    "expectation": (417, b"POST / HTTP/1.1\r\nExpect: tea\r\nContent-Length: 0\r\n" + HOST),
    "long header": (431, b"GET / HTTP/1.1\r\nA: " + b"b" * 9000 + b"\r\n" + HOST),
    "many headers": (431, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 105 + HOST),
    "transfer coding": (400, b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n" + HOST),
}


@pytest.fixture(scope="module")
def prefixed_service():
    """Yield the URL of a service under a path prefix, without the prefix."""
    with running(*GUNICORN, prefix="/late", SCRIPT_NAME="/late") as (base, _):
        yield base.removesuffix("/late")


def is_complete(answer):
    """Return whether the response has each security header once, and a complete body."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")[1:]
    length = int(re.search(rb"Content-Length: (\d+)", head)[1])
    ids = [line for line in lines if re.fullmatch(r"X-Request-Id: [0-9a-f]{32}", line)]
    has_headers = all(lines.count(f"{name}: {value}") == 1 for name, value in SECURITY_HEADERS)
    return has_headers and len(ids) == 1 and length == len(body)


@pytest.mark.parametrize(("status", "sent"), REJECTED.values(), ids=REJECTED)
def test_worker_request_rejected_by_gunicorn_has_security_headers(prefixed_service, status, sent):
    answer = exchanged(prefixed_service, sent)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"<html>" in answer
    assert is_complete(answer), answer


CHUNKED = b"Transfer-Encoding: chunked\r\nContent-Type: application/json\r\n" + HOST
BROKEN = {
    "size": b"g\r\n{}\r\n0\r\n\r\n",
    "negative size": b"-1\r\n\r\n",
    "long size line": b"0" * 9000,
    "extension": b"2;\x00\r\n{}\r\n0\r\n\r\n",
    "terminator": b"2\r\n{}x0\r\n\r\n",
    "trailer": b"2\r\n{}\r\n0\r\nA\r\n\r\n",
    "many trailers": b"2\r\n{}\r\n0\r\n" + b"A: b\r\n" * 200_000 + b"\r\n",
    "no end": b"2\r\n{}\r\n",
    "cut off": b"10\r\n{}",
    "small chunks": b"1\r\n \r\n" * 600_000 + b"0\r\n\r\n",
    "long extensions": (b"1;" + b"x" * 8000 + b"\r\n \r\n") * 400 + b"0\r\n\r\n",
}


@pytest.mark.parametrize("rest", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("path", [b"/predict", b"/predict_file", b"/"])
def test_worker_broken_chunks_return_400_and_close_connection(prefixed_service, path, rest):
    answer = exchanged(prefixed_service, b"POST /late%b HTTP/1.1\r\n" % path + CHUNKED + rest)
    assert answer.startswith(b"HTTP/1.1 4"), answer
    # If the application does not read the body, its error must not cause a second response.
    assert answer.count(b"HTTP/1.1 ") == 1
    assert is_complete(answer), answer


def test_worker_broken_chunks_of_prediction_are_reported(prefixed_service):
    answer = exchanged(
        prefixed_service, b"POST /late/predict HTTP/1.1\r\n" + CHUNKED + BROKEN["size"]
    )
    error = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (error["code"], "chunks" in error["message"]) == ("bad_request", True)
    assert b"Connection: close" in answer


@pytest.mark.parametrize("size", [1, 5, 1000, 70_000, 2**20 + 1])
def test_worker_chunks_of_any_size_are_joined(prefixed_service, body, size):
    record = body + b" " * (size * 4 if size > 1 else 50_000)
    pieces = (record[at : at + size] for at in range(0, len(record), size))
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    answer = exchanged(
        prefixed_service, b"POST /late/predict HTTP/1.1\r\n" + CHUNKED + chunks + b"0\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["label"]


@pytest.mark.parametrize("path", ["/predict", "/", "/later", "/latepredict", "/lat", "//late/"])
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "PUT"])
def test_worker_path_outside_script_name_returns_404(prefixed_service, method, path):
    status, headers, body = asked(prefixed_service, method, path, X_Request_Id="mine")
    assert status == 404
    assert dict(SECURITY_HEADERS).items() <= headers.items()
    assert headers["X-Request-Id"] == "mine"
    if method == "HEAD":
        assert body == b""
    else:
        assert json.loads(body) == {
            "code": "not_found",
            "message": "there is nothing at this address",
            "request_id": "mine",
            "errors": [],
        }


def test_worker_path_outside_script_name_is_logged(tmp_path):
    log = tmp_path / "access.log"
    arguments = (*GUNICORN, f"--access-logfile={log}", "--log-level=warning")
    with running(*arguments, prefix="/late", SCRIPT_NAME="/late") as (base, _):
        assert asked(base.removesuffix("/late"), "GET", "/elsewhere")[0] == 404
    (line,) = [line for line in log.read_text().splitlines() if "elsewhere" in line]
    assert line.startswith("127.0.0.1 ")
    assert '"GET /elsewhere HTTP/1.1" 404 ' in line


@pytest.mark.parametrize("path", ["/late", "/late/", "/late/livez"])
def test_worker_path_inside_script_name_is_served(prefixed_service, path):
    assert asked(prefixed_service, "GET", path)[0] in (200, 308)
