"""Responses of the worker itself, with the headers that every response has."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from gunicorn.http.wsgi import default_environ

from slipway.core.errors import SlipwayError, encode_error
from slipway.web.headers import REQUEST_ID, Environ, StartResponse, Wsgi, with_headers
from slipway.web.worker.connection import Request
from slipway.web.worker.response import Response
from slipway.web.worker.timeouts import TooSlow


class Busy(SlipwayError):
    """There is more to do than can be done soon."""

    status = 503
    code = "busy"


class NotHere(SlipwayError):
    """The path is outside ``SCRIPT_NAME``."""

    status = 404
    code = "not_found"


@with_headers
def service_unavailable(environ: Environ, start: StartResponse) -> Iterable[bytes]:
    """Refuse a request that would have to wait too long."""
    error = Busy("the service is busy; try again in a moment")
    return _refuse(environ, start, error, "503 SERVICE UNAVAILABLE", [("Retry-After", "1")])


@with_headers
def request_timeout(environ: Environ, start: StartResponse) -> Iterable[bytes]:
    """Refuse a request that takes too long to arrive."""
    return _refuse(environ, start, TooSlow(), "408 REQUEST TIMEOUT", [])


@with_headers
def _outside(environ: Environ, start: StartResponse) -> Iterable[bytes]:
    """Reject a path outside ``SCRIPT_NAME``."""
    return _refuse(environ, start, NotHere("there is nothing at this address"), "404 NOT FOUND", [])


def request_timeout_bytes() -> bytes:
    """Return the whole response of ``request_timeout``, for where there is no loop to send it."""
    return _whole(request_timeout, {REQUEST_ID: os.urandom(16).hex(), "wsgi.url_scheme": "http"})[1]


def path_not_found(worker: Any, req: Any, client: Any, addr: Any) -> bytes:
    """Return the response to a path outside ``SCRIPT_NAME``, and write it to the access log."""
    environ = default_environ(req, client, worker.cfg) | {"wsgi.url_scheme": req.scheme}
    environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = addr[0], str(addr[1])
    environ |= {f"HTTP_{name.replace('-', '_')}": value for name, value in req.headers}
    answer, whole = _whole(_outside, environ)
    worker.log.access(answer, req, environ, timedelta(0))
    return whole


def _whole(app: Wsgi, environ: Environ) -> tuple[Response, bytes]:
    """Let a small application answer, and return all bytes of its response."""
    answer = Response()
    body = answer.body(b"", iter(app(environ, answer.start)))
    head = answer.head(Request(environ, 0, 0, 1, False), keep=False)
    return answer, head if environ.get("REQUEST_METHOD") == "HEAD" else head + body


class Recorder:
    """A socket that keeps what Gunicorn writes to it."""

    def __init__(self) -> None:
        self._data = b""

    def gettimeout(self) -> float:
        """Return 0: a recorder never blocks."""
        return 0.0

    def sendall(self, data: bytes) -> None:
        """Keep a piece."""
        self._data += data

    def with_headers(self) -> bytes:
        """Return the response with the headers that every response of the service has."""
        answer = Response()
        _headers_alone({"wsgi.url_scheme": "http"}, answer.start)
        lines = "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
        status, _, rest = self._data.partition(b"\r\n")
        return b"%b\r\n%b%b" % (status, lines.encode("latin-1"), rest)


@with_headers
def _headers_alone(_environ: Environ, start: StartResponse) -> Iterable[bytes]:
    """Answer with nothing but the headers of every response."""
    start("400 BAD REQUEST", [])
    return []


def _refuse(
    environ: Environ,
    start: StartResponse,
    error: SlipwayError,
    status: str,
    headers: list[tuple[str, str]],
) -> Iterable[bytes]:
    body = encode_error(error, environ[REQUEST_ID])
    start(
        status,
        [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *headers],
    )
    return [body]
