"""Error responses for all exceptions: JSON for programs, HTML pages for browsers."""

from __future__ import annotations

from flask import Flask, Response, current_app, render_template, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge, SecurityError

from slipway.core.errors import SlipwayError, encode_error
from slipway.web.context import request_id

# These replace Werkzeug's messages, which contain HTML and address a browser's user.
_MESSAGES = {
    400: "the request is malformed",
    404: "there is nothing at this address",
    405: "this address does not accept this method",
    408: "the request took too long to arrive",
    413: "the body is over the limit",
    415: "this address does not accept this content type",
}
_UNTRUSTED_HOST = "the host name is not trusted; list it in SLIPWAY_TRUSTED_HOSTS"


def register(app: Flask) -> None:
    """Register the error handlers of an application."""
    app.register_error_handler(SlipwayError, handle_slipway_error)
    app.register_error_handler(HTTPException, _handle_http_error)
    app.register_error_handler(Exception, _handle_unexpected_error)


def handle_slipway_error(error: SlipwayError) -> Response:
    """Return the response to an error of Slipway."""
    return _render(error, error.status)


def _handle_http_error(error: HTTPException) -> Response:
    """Return the response to an exception of Flask or Werkzeug, such as 404, 405 or a redirect."""
    status = error.code or 500
    if status < 400:
        return error.get_response(request.environ)  # type: ignore[return-value]
    if isinstance(error, RequestEntityTooLarge):
        slipway_error = SlipwayError(_MESSAGES[413], code="too_large")
    else:
        code = (error.name or "error").lower().replace(" ", "_")
        untrusted_host = isinstance(error, SecurityError)
        message = _UNTRUSTED_HOST if untrusted_host else _MESSAGES.get(status, "the request failed")
        slipway_error = SlipwayError(message, code=code)
    response = _render(slipway_error, status)
    if status == 405:
        response.headers["Allow"] = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
    return response


def _handle_unexpected_error(error: Exception) -> Response:
    """Return a 500, and log the traceback with the request ID."""
    current_app.logger.error("request %s failed", request_id(), exc_info=error)
    return _render(SlipwayError("internal error; the service has logged the traceback"), 500)


def _render(error: SlipwayError, status: int) -> Response:
    """Return HTML if the client prefers a page, otherwise JSON."""
    accepts = request.accept_mimetypes
    wants_page = accepts["text/html"] > accepts["application/json"]
    if wants_page and request.blueprint in (None, "pages") and "pages" in current_app.blueprints:
        page = render_template("error.html", error=error, status=status, request_id=request_id())
        return Response(page, status)
    return Response(encode_error(error, request_id()), status, content_type="application/json")
