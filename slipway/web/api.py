"""The API: thin views around ``slipway.serving.service``; their documents are in ``specs/``."""

from __future__ import annotations

import os
import tempfile
from io import BytesIO
from typing import Any, BinaryIO, cast

import msgspec
from flask import Blueprint, Response, current_app, request
from msgspec import json

from slipway.core.errors import BadInput, FieldError, TooLarge, WrongMediaType
from slipway.core.version import __version__
from slipway.models.manifest import GoldenRow, Manifest
from slipway.serving.batch.csv_stream import predict_file as predict_file_stream
from slipway.serving.batch.upload import open_upload
from slipway.serving.rollout.worker_status import WorkerStatus
from slipway.web.context import prediction_service
from slipway.web.model_lifecycle import following

api = Blueprint("api", __name__)

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
SPOOL_IN_MEMORY = 2**20
_FLAGS = {"true": True, "1": True, "false": False, "0": False}
# The git commit that the code is of; Heroku's own names for it come with its dyno metadata.
_REVISION = ("SLIPWAY_REVISION", "HEROKU_BUILD_COMMIT", "HEROKU_SLUG_COMMIT")


@api.post("/predict")
def predict() -> Response:
    """Predict for one record, or for an array of records."""
    kind = _content_type()
    if kind not in (JSON, FORM):
        raise WrongMediaType(f"send {JSON} or {FORM}")
    model = prediction_service()
    answer_body = model.predict_json if kind == JSON else model.predict_form
    status, answer = answer_body(_body(model.settings.max_json_bytes), _flag("explain"), _level())
    return Response(answer, status, content_type=JSON)


@api.post("/predict_file")
def predict_file() -> Response:
    """Predict for every row of a CSV file."""
    model = prediction_service()
    request.max_content_length = model.settings.max_file_bytes
    kind = _content_type()
    counts = _flag("counts")
    if kind == "text/csv":
        file, charset = _spooled(), request.mimetype_params.get("charset", "")
    elif kind == "multipart/form-data":
        file, charset = _uploaded()
    else:
        raise WrongMediaType("send text/csv, or multipart/form-data with a field called file")
    try:
        opened = open_upload(file, charset, model.settings.max_file_bytes)
        stream = predict_file_stream(opened, model, counts=counts)
    except BaseException:
        file.close()
        raise
    answer = Response(stream, mimetype="text/csv")
    answer.call_on_close(file.close)
    answer.headers["Content-Disposition"] = 'attachment; filename="predictions.csv"'
    answer.headers["X-Model-Version"] = model.version
    return answer


@api.get("/metadata")
def metadata() -> Response:
    """Describe the model: what it takes and gives, how good it is, and what answers."""
    model = prediction_service().model
    manifest = model.manifest
    described = {
        "name": manifest.name,
        "title": manifest.title,
        "version": manifest.version,
        "created": manifest.created,
        "task": model.task,
        "engine": model.engine,
        "engine_reason": model.engine_reason,
        "estimator": manifest.estimator,
        # Only what the model reads; the API document names what clients may send along.
        "signature": msgspec.structs.replace(manifest.signature, columns=()),
        "threshold": manifest.threshold,
        "golden": _example_answered(manifest),
        "base_rate": manifest.base_rate,
        "evaluations": manifest.evaluations,
        "training": manifest.training,
        "libraries": manifest.libraries,
    }
    return Response(json.encode(described), content_type=JSON)


def _example_answered(manifest: Manifest) -> GoldenRow | None:
    """Give the examples with the pipeline's own answer; None where it was not asked about them.

    Whoever asks from outside can see with it that answers arrive as the pipeline gave them. The
    other golden rows are not given out here: those of older manifests may be somebody's.
    """
    examples = {feature.name: feature.example for feature in manifest.signature.features}
    return next((row for row in manifest.golden if row.record == examples), None)


@api.get("/version")
def version() -> Response:
    """Say which model version and which Slipway answer, and which version each worker has."""
    versions: dict[str, Any] = {
        "model_version": prediction_service().version,
        "slipway": __version__,
    }
    revision = next(filter(None, map(os.environ.get, _REVISION)), None)
    if revision:
        versions["revision"] = revision
    followed = following(current_app)
    if followed is not None:
        versions |= followed.describe()
    return Response(json.encode(versions), content_type=JSON)


@api.get("/livez")
def livez() -> Response:
    """Say that the process runs."""
    return Response(b'{"status":"alive"}', content_type=JSON)


@api.get("/readyz")
def readyz() -> Response:
    """Say whether the model reproduces its golden rows, and whether it is the one that is meant."""
    reason = prediction_service().not_ready
    if reason:
        state = {"status": "not ready", "reason": reason}
        return Response(json.encode(state), 503, content_type=JSON)
    followed = following(current_app)
    problem, pinned = (followed.problem, followed.pinned) if followed else ("", "")
    # It does serve, and another start would serve no better.
    state = {"status": "degraded", "reason": problem} if problem else {"status": "ready"}
    if pinned:
        state["pinned"] = pinned
    return Response(json.encode(state), content_type=JSON)


@api.get("/metrics")
def metrics() -> Response:
    """Tell how the model stands, in the form that Prometheus reads."""
    # The library takes 90 ms to import, which only those pay who ask.
    from slipway.monitoring.prometheus import CONTENT_TYPE, ModelMetrics

    model, followed = prediction_service(), following(current_app)
    told = (followed.problem, followed.pinned) if followed else ("", "")
    rows = followed.workers() if followed else [WorkerStatus(os.getpid(), model.version, "")]
    return Response(ModelMetrics(model.not_ready, *told, rows).text(), content_type=CONTENT_TYPE)


def _flag(name: str) -> bool:
    """Read a query parameter that is true or false."""
    if not request.environ.get("QUERY_STRING"):
        return False
    text = request.args.get(name, "false")
    if text not in _FLAGS:
        message = "must be true or false"
        raise BadInput(
            "the query is not understood",
            errors=[FieldError(name, None, "not_a_flag", message)],
        )
    return _FLAGS[text]


def _level() -> float | None:
    """Read the query parameter ``interval``."""
    if not request.environ.get("QUERY_STRING") or "interval" not in request.args:
        return None
    from slipway.models.intervals import parse_level

    return parse_level(request.args["interval"])


def _content_type() -> str:
    """Give the body's content type; a compressed body is refused before it is read."""
    environ = request.environ
    if environ.get("HTTP_CONTENT_ENCODING", "identity").lower() != "identity":
        raise WrongMediaType("send the body as it is, without a content encoding")
    given = environ.get("CONTENT_TYPE", "")
    # Werkzeug's parser takes longer than a whole prediction.
    return given if given == JSON else request.mimetype


def _body(limit: int) -> bytes:
    """Read the whole body.

    A body of known length is read in one call: Flask asks for 64 KiB at a time, and Gunicorn
    then copies what it holds beyond that, again and again.
    """
    length = request.environ.get("CONTENT_LENGTH", "")
    if not (length.isascii() and length.isdigit()):
        return request.get_data(cache=False)
    if int(length) > limit:
        raise TooLarge("the body is over the limit")
    body: bytes = request.environ["wsgi.input"].read(int(length))
    return body


def _uploaded() -> tuple[BinaryIO, str]:
    """Take the file out of a multipart form, with the charset of its part."""
    upload = request.files.get("file")
    if upload is None:
        message = "no file was sent; the form's field is called file"
        raise BadInput(message, errors=[FieldError("file", None, "missing_field", message)])
    # Flask closes what is in the form when the view returns, which is before it is read.
    file, upload.stream = upload.stream, BytesIO()
    return cast(BinaryIO, file), upload.mimetype_params.get("charset", "")


def _spooled() -> BinaryIO:
    """Take in a whole raw body, on disk when it is long.

    A client that sends all before it reads would wait for ever if the answer began earlier.
    """
    file = tempfile.SpooledTemporaryFile(max_size=SPOOL_IN_MEMORY)  # noqa: SIM115
    while chunk := request.stream.read(2**20):
        file.write(chunk)
    file.seek(0)
    return cast(BinaryIO, file)
