"""What every request can reach: the live model, and the request's id."""

from __future__ import annotations

import re
from uuid import uuid4

from flask import current_app, g, request

from slipway.errors import ModelError
from slipway.serving import Live

_SAFE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


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
    """Give the request's id: the caller's ``X-Request-Id`` if it is well formed, else a new one."""
    made: str | None = g.get("request_id")
    if made is None:
        given = request.headers.get("X-Request-Id", "")
        made = g.request_id = given if _SAFE_ID.fullmatch(given) else uuid4().hex
    return made
