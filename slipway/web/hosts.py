"""The names that a service answers to, where ``SLIPWAY_TRUSTED_HOSTS`` says them.

Flask checks them on every route, and the lane by the same function. Whoever asks a machine whether
it is well, a container or a load balancer, knows its address alone, so that those two answers are
given under any name. They say nothing that depends on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flask import Flask

from slipway.web.headers import Environ, StartResponse, Wsgi

HEALTH = ("/livez", "/readyz")


def register(app: Flask, trusted: Sequence[str]) -> None:
    """Let an app answer to some names alone; to be called after ``lane.register``."""
    if trusted:
        app.config["TRUSTED_HOSTS"] = list(trusted)
        app.wsgi_app = with_health_by_any_name(app.wsgi_app, trusted[0].removeprefix("."))  # type: ignore[method-assign, assignment]


def with_health_by_any_name(inner: Wsgi, trusted: str) -> Wsgi:
    """Wrap a WSGI application so that questions about its health come under a trusted name."""

    def wrapped(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO") in HEALTH:
            environ["HTTP_HOST"] = trusted
        return inner(environ, start_response)

    return wrapped
