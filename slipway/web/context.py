"""What every request can reach: the live model, and the request's id."""

from __future__ import annotations

from flask import current_app, request

from slipway.errors import ModelError
from slipway.serving import Live
from slipway.web.headers import REQUEST_ID


def live() -> Live:
    """Give the live model of this process.

    Raises
    ------
    ModelError
        There is none, because the app was made to train the first one.
    """
    loaded: Live | None = current_app.extensions["slipway"]
    if loaded is None:
        raise ModelError("no model has been loaded; train one with `flask train`")
    return loaded


def request_id() -> str:
    """Give the request's id, which is also in the answer's ``X-Request-Id``."""
    made: str = request.environ[REQUEST_ID]
    return made
