"""The fast lane: a plain JSON prediction is answered before Flask's dispatch.

Flask takes about thirty times as long to find the view as the view takes to answer. What the
lane does not know at a glance goes to Flask, so that the lane never has to say what is wrong
with a request; both call the same ``PredictionService.predict_json``.
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

PATH = "/predict"
# All other addresses take up to 12 ms, or as long as a file is.
SHORT = frozenset({"/livez", "/version", "/metadata"})
JSON = "application/json"


def register(app: Flask) -> None:
    """Put the lane before an app's own dispatch; to be called before ``headers.register``."""
    app.wsgi_app = with_fast_path(app.wsgi_app, app)  # type: ignore[method-assign, assignment]
    # A worker uses these of any application that has them; the two know no more of each other.
    app.takes_long = partial(needs_thread, app)  # type: ignore[attr-defined]
    app.warm_up = partial(warm_up, app)  # type: ignore[attr-defined]


def warm_up(app: Flask) -> None:
    """Let the model answer its golden rows, so that no client is the first to ask."""
    live: PredictionService | None = app.extensions["slipway"]
    if live is not None:
        live.model.replay()


def needs_thread(app: Flask, environ: Environ) -> bool:
    """Whether a thread must serve a request, because all clients of the loop would wait for it.

    The loop serves three short addresses, and the predictions of a scorecard. Of those, the lane
    still raises ``TakesLong`` for what Flask must answer, and for what needs more than a decoder.

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
        return environ["PATH_INFO"] not in SHORT
    live: PredictionService | None = app.extensions["slipway"]
    return environ["PATH_INFO"] != PATH or live is None or live.model.engine != "scorecard"


def with_fast_path(inner: Wsgi, app: Flask) -> Wsgi:
    """Wrap a WSGI application so that plain JSON predictions do not pass through it.

    Parameters
    ----------
    inner : callable
        Gets every other request, and those that end in a fault of ours, which it answers and
        logs.
    app : Flask
        Holds the live model and the settings.

    Returns
    -------
    callable
    """

    def wrapped(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        live: PredictionService | None = app.extensions["slipway"]
        if live is None or not _is_plain(environ) or not _is_trusted(environ, app):
            if ON_LOOP in environ and environ["REQUEST_METHOD"] == "POST":
                raise TakesLong
            return inner(environ, start_response)
        length = environ.get("CONTENT_LENGTH", "")
        if not (length.isascii() and length.isdigit()):
            return inner(environ, start_response)
        if int(length) > live.settings.max_json_bytes:
            return inner(environ, start_response)
        body = environ["wsgi.input"].read(int(length))
        try:
            status, answer = _predict(live, body, environ)
        except TakesLong:
            raise
        except Exception:
            # Flask's handler answers and logs it, with all that it knows of the request.
            environ["wsgi.input"] = io.BytesIO(body)
            return inner(environ, start_response)
        headers = [("Content-Type", JSON), ("Content-Length", str(len(answer)))]
        start_response(_status_line(status), headers)
        return [answer]

    return wrapped


def _predict(live: PredictionService, body: bytes, environ: Environ) -> tuple[int, bytes]:
    """Predict a body; an error gets the JSON that Flask's error handlers return."""
    try:
        return live.predict_json(body, soon=ON_LOOP in environ)
    except SlipwayError as error:
        return error.status, encode_error(error, environ[REQUEST_ID])


def _is_plain(environ: Environ) -> bool:
    """Whether a request is a JSON prediction and asks for nothing else."""
    return (
        environ["REQUEST_METHOD"] == "POST"
        and environ.get("PATH_INFO") == PATH
        and environ.get("CONTENT_TYPE") == JSON
        and not environ.get("QUERY_STRING")
        and "HTTP_CONTENT_ENCODING" not in environ
        and "HTTP_TRANSFER_ENCODING" not in environ
    )


def _is_trusted(environ: Environ, app: Flask) -> bool:
    """Whether Flask would take the request's ``Host``."""
    trusted = app.config["TRUSTED_HOSTS"]
    return trusted is None or host_is_trusted(environ.get("HTTP_HOST"), trusted)


@lru_cache
def _status_line(status: int) -> str:
    """Write a status as Werkzeug does."""
    return f"{status} {HTTP_STATUS_CODES[status].upper()}"
