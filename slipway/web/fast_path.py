"""The fast path: plain JSON predictions that bypass Flask's dispatch.

Flask's dispatch takes about thirty times as long as a prediction. The fast path passes all other
requests on to Flask, which also reports their errors. Both call the same
``PredictionService.predict_json``.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from flask import Flask
from werkzeug.http import HTTP_STATUS_CODES
from werkzeug.sansio.utils import host_is_trusted

from slipway.core.errors import SlipwayError, TakesLong, encode_error
from slipway.web.headers import ON_LOOP, REQUEST_ID, Environ, StartResponse, Wsgi

if TYPE_CHECKING:
    from slipway.serving.service import PredictionService

PREDICT_PATH = "/predict"
# The other paths take up to 12 ms, or longer for a file.
SHORT_PATHS = frozenset({"/livez", "/version", "/metadata"})
JSON = "application/json"


def register(app: Flask) -> None:
    """Wrap an app in the fast path. Call this before ``headers.register``."""
    app.wsgi_app = with_fast_path(app.wsgi_app, app)  # type: ignore[method-assign, assignment]
    # The worker calls these two if an application has them.
    app.needs_thread = partial(needs_thread, app)  # type: ignore[attr-defined]
    app.warm_up = partial(warm_up, app)  # type: ignore[attr-defined]


def warm_up(app: Flask) -> None:
    """Predict the golden rows, because a model's first predictions are slow."""
    service: PredictionService | None = app.extensions["slipway"]
    if service is not None:
        service.model.replay()


def needs_thread(app: Flask, environ: Environ) -> bool:
    """Return whether a request takes so long that a thread must serve it.

    The worker's loop serves three short paths and the predictions of a scorecard. The fast path
    still raises ``TakesLong`` for requests that need Flask or more than the record decoder.

    Parameters
    ----------
    app : Flask
    environ : dict
        A WSGI environ.

    Returns
    -------
    bool
    """
    if environ["REQUEST_METHOD"] == "GET":
        return environ["PATH_INFO"] not in SHORT_PATHS
    service: PredictionService | None = app.extensions["slipway"]
    return (
        environ["PATH_INFO"] != PREDICT_PATH
        or service is None
        or service.model.engine != "scorecard"
    )


def with_fast_path(inner: Wsgi, app: Flask) -> Wsgi:
    """Wrap a WSGI application so that plain JSON predictions do not pass through it.

    Parameters
    ----------
    inner : callable
        Serves all other requests, and logs and reports unexpected errors of the fast path.
    app : Flask
        Has the service in its extensions.

    Returns
    -------
    callable
    """

    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        service: PredictionService | None = app.extensions["slipway"]
        if service is None or not _is_plain(environ) or not _is_trusted(environ, app):
            if ON_LOOP in environ and environ["REQUEST_METHOD"] == "POST":
                raise TakesLong
            return inner(environ, start_response)
        length = environ.get("CONTENT_LENGTH", "")
        if not (length.isascii() and length.isdigit()):
            return inner(environ, start_response)
        if int(length) > service.settings.max_json_bytes:
            return inner(environ, start_response)
        body = environ["wsgi.input"].read(int(length))
        try:
            status, content = _predict(service, body, environ)
        except TakesLong:
            raise
        except Exception:
            # Repeat the request in Flask, whose handler logs the error with its context.
            environ["wsgi.input"] = io.BytesIO(body)
            return inner(environ, start_response)
        headers = [("Content-Type", JSON), ("Content-Length", str(len(content)))]
        start_response(_format_status_line(status), headers)
        return [content]

    return application


def _predict(service: PredictionService, body: bytes, environ: Environ) -> tuple[int, bytes]:
    """Return status and body of a prediction, or of the JSON error that Flask would return."""
    try:
        return service.predict_json(body, soon=ON_LOOP in environ)
    except SlipwayError as error:
        return error.status, encode_error(error, environ[REQUEST_ID])


def _is_plain(environ: Environ) -> bool:
    """Return whether a request is a JSON prediction without options."""
    return (
        environ["REQUEST_METHOD"] == "POST"
        and environ.get("PATH_INFO") == PREDICT_PATH
        and environ.get("CONTENT_TYPE") == JSON
        and not environ.get("QUERY_STRING")
        and "HTTP_CONTENT_ENCODING" not in environ
        and "HTTP_TRANSFER_ENCODING" not in environ
    )


def _is_trusted(environ: Environ, app: Flask) -> bool:
    """Return whether Flask would accept the request's ``Host``."""
    trusted = app.config["TRUSTED_HOSTS"]
    return trusted is None or host_is_trusted(environ.get("HTTP_HOST"), trusted)


@lru_cache
def _format_status_line(status: int) -> str:
    """Return a status line in Werkzeug's format."""
    return f"{status} {HTTP_STATUS_CODES[status].upper()}"
