"""The names that a service answers to, where ``SLIPWAY_TRUSTED_HOSTS`` lists them.

Flask checks them on every route, and the lane by the same function. A container runtime or a load
balancer knows a machine by its address alone, so ``/livez`` and ``/readyz`` are answered under any
name. Their responses do not depend on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from flask import Flask

from slipway.web.headers import Environ, StartResponse, Wsgi

HEALTH = ("/livez", "/readyz")
_NAME_AND_PORT = re.compile(r"([^:\[\]]+?|\[[^\]]*\])\.?(:\d*)?", re.ASCII)


def register(app: Flask, trusted: Sequence[str]) -> None:
    """Let an app answer to some names alone; to be called after ``lane.register``."""
    if trusted:
        app.config["TRUSTED_HOSTS"] = list(trusted)
        app.wsgi_app = with_canonical_host(app.wsgi_app, trusted[0].removeprefix("."))  # type: ignore[method-assign, assignment]


def with_canonical_host(inner: Wsgi, trusted: str) -> Wsgi:
    """Wrap a WSGI application so that one name has one spelling.

    Parameters
    ----------
    inner : callable
    trusted : str
        The name under which requests for the service's health come.

    Returns
    -------
    callable
    """

    def wrapped(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO") in HEALTH:
            environ["HTTP_HOST"] = trusted
        elif "HTTP_HOST" in environ:
            environ["HTTP_HOST"] = canonical(environ["HTTP_HOST"])
        return inner(environ, start_response)

    return wrapped


@lru_cache(maxsize=512)
def canonical(host: str) -> str:
    """Return a ``Host`` in lower case, without the dot at a name's end and without an empty port.

    These do not distinguish names (RFC 9110, RFC 3986). Anything else stays as it is, for Werkzeug
    to reject.
    """
    found = _NAME_AND_PORT.fullmatch(host) if host.isascii() else None
    return (found[1].lower() + (found[2] or "")).removesuffix(":") if found else host
