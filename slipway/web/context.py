"""The prediction service and the ID of the current request."""

from __future__ import annotations

from typing import cast

from flask import current_app, g, request

from slipway.core.errors import ModelError
from slipway.serving.service import PredictionService
from slipway.web.headers import REQUEST_ID


def prediction_service() -> PredictionService:
    """Return the service of this request, which stays the same until the request ends.

    Raises
    ------
    ModelError
        No model is loaded, because the application was created to train the first one.
    """
    if "service" not in g:
        g.service = current_app.extensions["slipway"]
    service: PredictionService | None = g.service
    if service is None:
        raise ModelError("no model has been loaded; train one with `slipway train`")
    return service


def request_id() -> str:
    """Return the request ID, which is also in the response header ``X-Request-Id``."""
    return cast(str, request.environ[REQUEST_ID])
