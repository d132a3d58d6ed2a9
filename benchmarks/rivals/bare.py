"""A constant instead of a prediction: the cost of the server and of Flask alone."""

from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask, Response

ANSWER = (
    b'{"label":"on time","probability":0.2512345678901234,"threshold":0.25,'
    b'"model_version":"20260101T000000Z-01234567"}'
)
HEADERS = [("Content-Type", "application/json"), ("Content-Length", str(len(ANSWER)))]


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Return a constant without a framework."""
    start_response("200 OK", HEADERS)
    return [ANSWER]


flask = Flask(__name__)


@flask.post("/predict")
def predict() -> Response:
    """Return a constant from a Flask route."""
    return Response(ANSWER, mimetype="application/json")
