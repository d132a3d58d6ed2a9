"""Request IDs, security headers, and the trusted headers of proxies.

The fast path, Flask and the worker's error responses all pass through ``with_headers``. They
therefore have the same client address, scheme and headers.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any

from flask import Flask

REQUEST_ID = "slipway.request_id"
# The worker sets this key when it calls the application on the loop that all clients share.
ON_LOOP = "slipway.on_loop"
FORWARDED_FOR, FORWARDED_PROTO = "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO"
_SAFE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

# All resources come from this service. Swagger UI needs the two exceptions, for icons in data:
# URLs and for styles that its script sets.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
SECURITY_HEADERS = [
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Content-Security-Policy", CONTENT_SECURITY_POLICY),
]
HTTPS_HEADER = ("Strict-Transport-Security", "max-age=31536000")

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Wsgi = Callable[[Environ, StartResponse], Iterable[bytes]]


def register(app: Flask) -> None:
    """Add the headers to every response of an app.

    A WSGI wrapper takes 2 microseconds, a hook of Flask 25. The worker's error responses use the
    same wrapper.
    """
    app.wsgi_app = with_headers(app.wsgi_app)  # type: ignore[method-assign, assignment]


def with_headers(inner: Wsgi) -> Wsgi:
    """Wrap a WSGI application so that every response has a request ID and the headers.

    Parameters
    ----------
    inner : callable
        A WSGI application. Its environ has the request ID under ``REQUEST_ID``.

    Returns
    -------
    callable
    """

    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if FORWARDED_FOR in environ or FORWARDED_PROTO in environ:
            apply_forwarded_headers(environ)
        request_id = environ[REQUEST_ID] = choose_request_id(environ.get("HTTP_X_REQUEST_ID", ""))

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            headers += SECURITY_HEADERS
            headers.append(("X-Request-Id", request_id))
            if environ["wsgi.url_scheme"] == "https":
                headers.append(HTTPS_HEADER)
            return start_response(status, headers, *more)

        return inner(environ, start)

    return application


def apply_forwarded_headers(environ: Environ) -> None:
    """Set client and scheme from the ``X-Forwarded-*`` headers of a trusted proxy.

    A proxy appends its own value on the right, and a client may have forged the values before it.
    ``X-Forwarded-Host`` and ``X-Forwarded-Prefix`` are never read. Heroku's router does not send
    them, so only a client could have set them.

    Parameters
    ----------
    environ : dict
        A WSGI environ, whose ``REMOTE_ADDR`` and ``wsgi.url_scheme`` are set.
    """
    if not _is_proxy(environ.get("REMOTE_ADDR", "")):
        return
    client = _last_value(environ.get(FORWARDED_FOR, ""))
    scheme = _last_value(environ.get(FORWARDED_PROTO, "")).lower()
    if _is_address(client):
        environ["REMOTE_ADDR"] = client
    if scheme in ("http", "https"):
        environ["wsgi.url_scheme"] = scheme


def _last_value(values: str) -> str:
    return values.rpartition(",")[2].strip(" \t")


@lru_cache(maxsize=512)
def _is_address(text: str) -> bool:
    try:
        return "%" not in str(ip_address(text))
    except ValueError:
        return False


@lru_cache(maxsize=512)
def _is_proxy(address: str) -> bool:
    """Return whether an address is in ``FORWARDED_ALLOW_IPS``, which Gunicorn reads too."""
    allowed = os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1,::1").split(",")
    # Clients of a Unix socket have no address; only a proxy uses one.
    if not address or "*" in map(str.strip, allowed):
        return True
    try:
        client = ip_address(address)
        networks = (ip_network(text.strip(), strict=False) for text in allowed if text)
        return any(client in network for network in networks)
    except ValueError:
        return False


def choose_request_id(given: str) -> str:
    """Return the client's ``X-Request-Id`` if it is well formed, otherwise a random one."""
    return given if _SAFE_ID.fullmatch(given) else os.urandom(16).hex()
