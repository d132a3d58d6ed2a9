"""What every request is told of its client, and what every answer carries.

Both lanes and the worker's own refusals pass through ``with_headers``, so that none of them can
see another client, another scheme or other headers than the rest.
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
# A worker sets this key where it calls the application on a loop that all its clients share.
ON_LOOP = "slipway.on_loop"
FORWARDED_FOR, FORWARDED_PROTO = "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO"
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
        if FORWARDED_FOR in environ or FORWARDED_PROTO in environ:
            apply_forwarded_headers(environ)
        made = environ[REQUEST_ID] = choose_request_id(environ.get("HTTP_X_REQUEST_ID", ""))

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            headers += ALWAYS
            headers.append(("X-Request-Id", made))
            if environ["wsgi.url_scheme"] == "https":
                headers.append(ON_HTTPS)
            return start_response(status, headers, *more)

        return inner(environ, start)

    return wrapped


def apply_forwarded_headers(environ: Environ) -> None:
    """Take client and scheme from the proxy before the service, if it is a trusted one.

    A proxy adds what it saw on the right; what stands left of that may be the client's invention.
    ``X-Forwarded-Host`` and ``X-Forwarded-Prefix`` are never read: the router does not send them,
    so that they could only be forged.

    Parameters
    ----------
    environ : dict
        ``REMOTE_ADDR``, which the access log shows, and ``wsgi.url_scheme`` are set.
    """
    if not _is_proxy(environ.get("REMOTE_ADDR", "")):
        return
    client = _last(environ.get(FORWARDED_FOR, ""))
    scheme = _last(environ.get(FORWARDED_PROTO, "")).lower()
    if _is_address(client):
        environ["REMOTE_ADDR"] = client
    if scheme in ("http", "https"):
        environ["wsgi.url_scheme"] = scheme


def _last(values: str) -> str:
    return values.rpartition(",")[2].strip(" \t")


@lru_cache(maxsize=512)
def _is_address(text: str) -> bool:
    try:
        return "%" not in str(ip_address(text))
    except ValueError:
        return False


@lru_cache(maxsize=512)
def _is_proxy(address: str) -> bool:
    """Whether an address is in ``FORWARDED_ALLOW_IPS``, which is Gunicorn's setting too."""
    allowed = os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1,::1").split(",")
    # Who comes by a Unix socket has no address, and is a proxy.
    if not address or "*" in map(str.strip, allowed):
        return True
    try:
        own = ip_address(address)
        return any(own in ip_network(each.strip(), strict=False) for each in allowed if each)
    except ValueError:
        return False


def choose_request_id(given: str) -> str:
    """Take the caller's ``X-Request-Id`` if it is well formed, else make one."""
    return given if _SAFE_ID.fullmatch(given) else os.urandom(16).hex()
