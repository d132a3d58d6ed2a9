"""Services with one fault each, which a deployment must detect."""

from __future__ import annotations

from slipway.web.headers import Environ, StartResponse


def through_a_proxy(environ: Environ, start_response: StartResponse) -> object:
    """Fail only behind a proxy."""
    from app import app

    if "HTTP_X_FORWARDED_FOR" in environ:
        start_response("500 Internal Server Error", [])
        return [b""]
    return app.wsgi_app(environ, start_response)


def ready_alone(environ: Environ, start_response: StartResponse) -> list[bytes]:
    """Answer only /readyz."""
    ready = environ["PATH_INFO"] == "/readyz"
    start_response("200 OK" if ready else "404 Not Found", [("Content-Type", "application/json")])
    return [b'{"status":"ready"}']


def never_ready(environ: Environ, start_response: StartResponse) -> list[bytes]:
    """Answer that the service is not ready."""
    start_response("503 Service Unavailable", [("Content-Type", "application/json")])
    return [b'{"status":"not ready","reason":"it is a test"}']
