"""What every answer carries: its request's id, and the headers that keep browsers safe."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask

REQUEST_ID = "slipway.request_id"
_SAFE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

# Everything comes from this service itself. Swagger UI draws its icons from data: addresses
# and sets styles from its script, which is why these two are wider.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
ALWAYS = [
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Content-Security-Policy", CONTENT_SECURITY_POLICY),
]
ON_HTTPS = ("Strict-Transport-Security", "max-age=31536000")

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Wsgi = Callable[[Environ, StartResponse], Iterable[bytes]]


def register(app: Flask) -> None:
    """Put the headers on every answer of an app.

    They are put on around Flask and not in one of its hooks, because that costs 2 instead of
    25 microseconds, and because another front can be given the same function.
    """
    app.wsgi_app = with_headers(app.wsgi_app)  # type: ignore[method-assign, assignment]


def with_headers(inner: Wsgi) -> Wsgi:
    """Wrap a WSGI application so that every answer has a request id and the headers.

    Parameters
    ----------
    inner : callable
        Finds the request's id in its environ, under ``REQUEST_ID``.

    Returns
    -------
    callable
    """

    def wrapped(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        made = environ[REQUEST_ID] = choose_request_id(environ.get("HTTP_X_REQUEST_ID", ""))

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            headers += ALWAYS
            headers.append(("X-Request-Id", made))
            if environ["wsgi.url_scheme"] == "https":
                headers.append(ON_HTTPS)
            return start_response(status, headers, *more)

        return inner(environ, start)

    return wrapped


def choose_request_id(given: str) -> str:
    """Take the caller's ``X-Request-Id`` if it is well formed, else make one."""
    return given if _SAFE_ID.fullmatch(given) else os.urandom(16).hex()
