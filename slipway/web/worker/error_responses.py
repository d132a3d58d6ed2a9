"""Error responses of the worker, with the service's security headers."""

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
from slipway.web.worker.timeouts import RequestTimeout


class ServiceBusy(SlipwayError):
    """The service has too many pending requests."""

    status = 503
    code = "busy"


class PathNotFound(SlipwayError):
    """The path is outside ``SCRIPT_NAME``."""

    status = 404
    code = "not_found"


@with_headers
def service_unavailable(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Reject a request that would wait too long."""
    error = ServiceBusy("the service is busy; try again later")
    return _start_error(
        environ, start_response, error, "503 SERVICE UNAVAILABLE", [("Retry-After", "1")]
    )


@with_headers
def request_timeout(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Reject a request that takes too long to arrive."""
    return _start_error(environ, start_response, RequestTimeout(), "408 REQUEST TIMEOUT", [])


@with_headers
def _not_found(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Reject a path outside ``SCRIPT_NAME``."""
    return _start_error(
        environ,
        start_response,
        PathNotFound("there is nothing at this address"),
        "404 NOT FOUND",
        [],
    )


def request_timeout_bytes() -> bytes:
    """Return the bytes of the response ``request_timeout``, for threads."""
    return _build_response(
        request_timeout, {REQUEST_ID: os.urandom(16).hex(), "wsgi.url_scheme": "http"}
    )[1]


def path_not_found(worker: Any, req: Any, client: Any, addr: Any) -> bytes:
    """Return the response to a path outside ``SCRIPT_NAME``, and log it."""
    environ = default_environ(req, client, worker.cfg) | {"wsgi.url_scheme": req.scheme}
    environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = addr[0], str(addr[1])
    environ |= {f"HTTP_{name.replace('-', '_')}": value for name, value in req.headers}
    response, data = _build_response(_not_found, environ)
    worker.log.access(response, req, environ, timedelta(0))
    return data


def _build_response(app: Wsgi, environ: Environ) -> tuple[Response, bytes]:
    """Call a WSGI application, and return its response and all bytes of it."""
    response = Response()
    body = response.build_body(b"", iter(app(environ, response.start_response)))
    head = response.build_head(Request(environ, 0, 0, 1, False), keep=False)
    return response, head if environ.get("REQUEST_METHOD") == "HEAD" else head + body


class SocketRecorder:
    """A socket that records the bytes that Gunicorn sends."""

    def __init__(self) -> None:
        self._data = b""

    def gettimeout(self) -> float:
        """Return 0, because a recorder never blocks."""
        return 0.0

    def sendall(self, data: bytes) -> None:
        """Record bytes."""
        self._data += data

    def add_headers(self) -> bytes:
        """Return the recorded response with the service's security headers."""
        response = Response()
        _start_security_headers({"wsgi.url_scheme": "http"}, response.start_response)
        lines = "".join(f"{name}: {value}\r\n" for name, value in response.headers)
        status, _, rest = self._data.partition(b"\r\n")
        return b"%b\r\n%b%b" % (status, lines.encode("latin-1"), rest)


@with_headers
def _start_security_headers(_environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Start a response with the security headers only."""
    start_response("400 BAD REQUEST", [])
    return []


def _start_error(
    environ: Environ,
    start_response: StartResponse,
    error: SlipwayError,
    status: str,
    headers: list[tuple[str, str]],
) -> Iterable[bytes]:
    body = encode_error(error, environ[REQUEST_ID])
    start_response(
        status,
        [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *headers],
    )
    return [body]
