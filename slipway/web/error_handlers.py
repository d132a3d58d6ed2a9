"""One place that turns every exception into an answer: JSON for programs, HTML for people."""

from __future__ import annotations

from flask import Flask, Response, current_app, render_template, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge, SecurityError

from slipway.core.errors import SlipwayError, encode_error
from slipway.web.context import request_id

# Werkzeug's own texts speak of URLs and servers; these speak to who called the service.
_MESSAGES = {
    400: "the request cannot be understood",
    404: "there is nothing at this address",
    405: "this address does not take this method",
    408: "the request took too long to arrive",
    413: "the body is over the limit",
    415: "this address does not take this content type",
}
_WRONG_HOST = "the service does not answer to this name (SLIPWAY_TRUSTED_HOSTS)"


def register(app: Flask) -> None:
    """Register the handlers of an app."""
    app.register_error_handler(SlipwayError, answer_error)
    app.register_error_handler(HTTPException, _answer_http)
    app.register_error_handler(Exception, _answer_unexpected)


def answer_error(error: SlipwayError) -> Response:
    """Answer an exception of ours in the caller's form."""
    return _render(error, error.status)


def _answer_http(error: HTTPException) -> Response:
    """Answer what Flask or Werkzeug raised: an unknown address, a wrong method, a redirect."""
    status = error.code or 500
    if status < 400:
        return error.get_response(request.environ)  # type: ignore[return-value]
    if isinstance(error, RequestEntityTooLarge):
        made = SlipwayError(_MESSAGES[413], code="too_large")
    else:
        name = (error.name or "error").lower().replace(" ", "_")
        wrong_host = isinstance(error, SecurityError)
        message = _WRONG_HOST if wrong_host else _MESSAGES.get(status, "the request failed")
        made = SlipwayError(message, code=name)
    answer = _render(made, status)
    if status == 405:
        answer.headers["Allow"] = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
    return answer


def _answer_unexpected(error: Exception) -> Response:
    """Answer a fault of ours; its traceback goes to the log alone, under the request's id."""
    current_app.logger.error("request %s failed", request_id(), exc_info=error)
    return _render(SlipwayError("the service failed; the fault was logged"), 500)


def _render(error: SlipwayError, status: int) -> Response:
    """Choose HTML where a page was asked for, else JSON."""
    accepts = request.accept_mimetypes
    wants_page = accepts["text/html"] > accepts["application/json"]
    if wants_page and request.blueprint in (None, "pages") and "pages" in current_app.blueprints:
        page = render_template("error.html", error=error, status=status, request_id=request_id())
        return Response(page, status)
    return Response(encode_error(error, request_id()), status, content_type="application/json")
