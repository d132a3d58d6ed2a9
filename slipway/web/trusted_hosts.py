"""Host names that a service accepts, from ``SLIPWAY_TRUSTED_HOSTS``.

Flask checks them on every route, and the fast path calls the same function. ``/livez`` and
``/readyz`` accept any name, because container runtimes and load balancers use IP addresses. Their
responses do not depend on the name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from flask import Flask

from slipway.web.headers import Environ, StartResponse, Wsgi

HEALTH_PATHS = ("/livez", "/readyz")
_NAME_AND_PORT = re.compile(r"([^:\[\]]+?|\[[^\]]*\])\.?(:\d*)?", re.ASCII)


def register(app: Flask, trusted: Sequence[str]) -> None:
    """Make an app reject untrusted host names. Call this after ``fast_path.register``."""
    if trusted:
        app.config["TRUSTED_HOSTS"] = list(trusted)
        app.wsgi_app = with_normalized_host(app.wsgi_app, trusted[0].removeprefix("."))  # type: ignore[method-assign, assignment]


def with_normalized_host(inner: Wsgi, trusted: str) -> Wsgi:
    """Wrap a WSGI application so that each host name has one spelling.

    Parameters
    ----------
    inner : callable
    trusted : str
        The host name that replaces any other in health checks.

    Returns
    -------
    callable
    """

    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO") in HEALTH_PATHS:
            environ["HTTP_HOST"] = trusted
        elif "HTTP_HOST" in environ:
            environ["HTTP_HOST"] = normalize_host(environ["HTTP_HOST"])
        return inner(environ, start_response)

    return application


@lru_cache(maxsize=512)
def normalize_host(host: str) -> str:
    """Return a ``Host`` in lower case, without the dot at a name's end and without an empty port.

    These do not distinguish names (RFC 9110, RFC 3986). Invalid names stay unchanged, and Werkzeug
    rejects them.
    """
    match = _NAME_AND_PORT.fullmatch(host) if host.isascii() else None
    return (match[1].lower() + (match[2] or "")).removesuffix(":") if match else host
