"""What the loop says by itself: small applications, with the headers that every answer has."""

from __future__ import annotations

import os
from collections.abc import Iterable

from slipway.errors import SlipwayError, error_body
from slipway.web.headers import REQUEST_ID, Environ, StartResponse, with_headers
from slipway.worker.answer import Answer
from slipway.worker.clients import TooSlow
from slipway.worker.request import Request


class Busy(SlipwayError):
    """There is more to do than can be done soon."""

    status = 503
    code = "busy"


@with_headers
def busy(environ: Environ, start: StartResponse) -> Iterable[bytes]:
    """Refuse a request that would have to wait too long."""
    error = Busy("the service is busy; try again in a moment")
    return _refuse(environ, start, error, "503 SERVICE UNAVAILABLE", [("Retry-After", "1")])


@with_headers
def late(environ: Environ, start: StartResponse) -> Iterable[bytes]:
    """Refuse a request that takes too long to arrive."""
    return _refuse(environ, start, TooSlow(), "408 REQUEST TIMEOUT", [])


def too_slow() -> bytes:
    """Give the whole of ``late`` as it is sent, for where there is no loop to send it."""
    answer = Answer()
    environ = {REQUEST_ID: os.urandom(16).hex(), "wsgi.url_scheme": "http"}
    body = answer.body(b"", iter(late(environ, answer.start)))
    return answer.head(Request(environ, 0, 0, 1, False), keep=False) + body


def _refuse(
    environ: Environ,
    start: StartResponse,
    error: SlipwayError,
    status: str,
    headers: list[tuple[str, str]],
) -> Iterable[bytes]:
    body = error_body(error, environ[REQUEST_ID])
    start(
        status,
        [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *headers],
    )
    return [body]
