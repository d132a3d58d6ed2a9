"""What every request can reach: the live model, and the request's id."""

from __future__ import annotations

from flask import current_app, g, request

from slipway.core.errors import ModelError
from slipway.serving.service import PredictionService
from slipway.web.headers import REQUEST_ID


def prediction_service() -> PredictionService:
    """Give the model that answers this request: the same one from its beginning to its end.

    Raises
    ------
    ModelError
        There is none, because the app was made to train the first one.
    """
    if "live" not in g:
        g.live = current_app.extensions["slipway"]
    loaded: PredictionService | None = g.live
    if loaded is None:
        raise ModelError("no model has been loaded; train one with `slipway train`")
    return loaded


def request_id() -> str:
    """Give the request's id, which is also in the answer's ``X-Request-Id``."""
    made: str = request.environ[REQUEST_ID]
    return made
