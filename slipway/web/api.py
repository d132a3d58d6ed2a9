"""The API: thin views around ``slipway.serving.service``, documented in ``specs/``."""

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
from slipway.web.model_lifecycle import rollout_manager

api = Blueprint("api", __name__)

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
MAX_SPOOL_IN_MEMORY = 2**20
_FLAGS = {"true": True, "1": True, "false": False, "0": False}
# Variables with the git commit of the code; Heroku sets its own two with the dyno metadata.
_REVISION_VARIABLES = ("SLIPWAY_REVISION", "HEROKU_BUILD_COMMIT", "HEROKU_SLUG_COMMIT")


@api.post("/predict")
def predict() -> Response:
    """Return the prediction for a record, or those for an array of records."""
    media_type = _read_content_type()
    if media_type not in (JSON, FORM):
        raise WrongMediaType(f"send {JSON} or {FORM}")
    service = prediction_service()
    predict_body = service.predict_json if media_type == JSON else service.predict_form
    body = _read_body(service.settings.max_json_bytes)
    status, content = predict_body(body, _read_flag("explain"), _read_level())
    return Response(content, status, content_type=JSON)


@api.post("/predict_file")
def predict_file() -> Response:
    """Return a CSV file with a prediction in every row."""
    service = prediction_service()
    request.max_content_length = service.settings.max_file_bytes
    media_type = _read_content_type()
    counts = _read_flag("counts")
    if media_type == "text/csv":
        file, charset = _spool_body(), request.mimetype_params.get("charset", "")
    elif media_type == "multipart/form-data":
        file, charset = _read_upload()
    else:
        raise WrongMediaType("send text/csv, or multipart/form-data with the field 'file'")
    try:
        upload = open_upload(file, charset, service.settings.max_file_bytes)
        stream = predict_file_stream(upload, service, counts=counts)
    except BaseException:
        file.close()
        raise
    response = Response(stream, mimetype="text/csv")
    response.call_on_close(file.close)
    response.headers["Content-Disposition"] = 'attachment; filename="predictions.csv"'
    response.headers["X-Model-Version"] = service.version
    return response


@api.get("/metadata")
def metadata() -> Response:
    """Return the signature, the metrics and the engine of the model."""
    model = prediction_service().model
    manifest = model.manifest
    description = {
        "name": manifest.name,
        "title": manifest.title,
        "version": manifest.version,
        "created": manifest.created,
        "task": model.task,
        "engine": model.engine,
        "engine_reason": model.engine_reason,
        "estimator": manifest.estimator,
        # Ignored columns are in the OpenAPI document only.
        "signature": msgspec.structs.replace(manifest.signature, columns=()),
        "threshold": manifest.threshold,
        "golden": _find_example_row(manifest),
        "base_rate": manifest.base_rate,
        "evaluations": manifest.evaluations,
        "training": manifest.training,
        "libraries": manifest.libraries,
    }
    return Response(json.encode(description), content_type=JSON)


def _find_example_row(manifest: Manifest) -> GoldenRow | None:
    """Return the golden row of the features' examples, if the manifest has one.

    A client can compare its prediction with the one that the service returns. The other golden
    rows stay private, because those of older manifests may contain personal data.
    """
    examples = {feature.name: feature.example for feature in manifest.signature.features}
    return next((row for row in manifest.golden if row.record == examples), None)


@api.get("/version")
def version() -> Response:
    """Return the versions of the model and of Slipway, and the model version of each worker."""
    versions: dict[str, Any] = {
        "model_version": prediction_service().version,
        "slipway": __version__,
    }
    revision = next(filter(None, map(os.environ.get, _REVISION_VARIABLES)), None)
    if revision:
        versions["revision"] = revision
    manager = rollout_manager(current_app)
    if manager is not None:
        versions |= manager.describe()
    return Response(json.encode(versions), content_type=JSON)


@api.get("/livez")
def livez() -> Response:
    """Report that the process runs."""
    return Response(b'{"status":"alive"}', content_type=JSON)


@api.get("/readyz")
def readyz() -> Response:
    """Report whether the model reproduces its golden rows and is the intended version."""
    reason = prediction_service().not_ready
    if reason:
        state = {"status": "not ready", "reason": reason}
        return Response(json.encode(state), 503, content_type=JSON)
    manager = rollout_manager(current_app)
    problem, pinned = (manager.problem, manager.pinned) if manager else ("", "")
    # Not a 503: the service has a model, and a restart would not help.
    state = {"status": "degraded", "reason": problem} if problem else {"status": "ready"}
    if pinned:
        state["pinned"] = pinned
    return Response(json.encode(state), content_type=JSON)


@api.get("/metrics")
def metrics() -> Response:
    """Return metrics in the Prometheus text format."""
    # Imported on the first request, because the import takes 90 ms.
    from slipway.monitoring.prometheus import CONTENT_TYPE, ModelMetrics

    service, manager = prediction_service(), rollout_manager(current_app)
    state = (manager.problem, manager.pinned) if manager else ("", "")
    rows = manager.workers() if manager else [WorkerStatus(os.getpid(), service.version, "")]
    return Response(ModelMetrics(service.not_ready, *state, rows).text(), content_type=CONTENT_TYPE)


def _read_flag(name: str) -> bool:
    """Return a query parameter that is true or false."""
    if not request.environ.get("QUERY_STRING"):
        return False
    text = request.args.get(name, "false")
    if text not in _FLAGS:
        message = "must be true or false"
        raise BadInput(
            "invalid query parameter",
            errors=[FieldError(name, None, "not_a_flag", message)],
        )
    return _FLAGS[text]


def _read_level() -> float | None:
    """Return the query parameter ``interval``, or None if the request has none."""
    if not request.environ.get("QUERY_STRING") or "interval" not in request.args:
        return None
    from slipway.models.intervals import parse_level

    return parse_level(request.args["interval"])


def _read_content_type() -> str:
    """Return the content type of the body, and reject a compressed body."""
    environ = request.environ
    if environ.get("HTTP_CONTENT_ENCODING", "identity").lower() != "identity":
        raise WrongMediaType("the body has a content encoding; send it without one")
    content_type = environ.get("CONTENT_TYPE", "")
    # Parsing with Werkzeug takes longer than a prediction.
    return content_type if content_type == JSON else request.mimetype


def _read_body(limit: int) -> bytes:
    """Return the whole body.

    A body of known length is read in one call. Flask reads 64 KiB at a time, and Gunicorn then
    copies the rest of its buffer every time.
    """
    length = request.environ.get("CONTENT_LENGTH", "")
    if not (length.isascii() and length.isdigit()):
        return request.get_data(cache=False)
    if int(length) > limit:
        raise TooLarge("the body is over the limit")
    body: bytes = request.environ["wsgi.input"].read(int(length))
    return body


def _read_upload() -> tuple[BinaryIO, str]:
    """Return the file of a multipart form, and the charset of its part."""
    upload = request.files.get("file")
    if upload is None:
        message = "no file was sent; send the file as the form field 'file'"
        raise BadInput(message, errors=[FieldError("file", None, "missing_field", message)])
    # Flask closes the files of a form when the view returns; the stream is read later.
    file, upload.stream = upload.stream, BytesIO()
    return cast(BinaryIO, file), upload.mimetype_params.get("charset", "")


def _spool_body() -> BinaryIO:
    """Return the body as a file, on disk if it is longer than ``MAX_SPOOL_IN_MEMORY``.

    The response must not begin before the whole body has arrived. A client that sends everything
    before it reads would otherwise block forever.
    """
    file = tempfile.SpooledTemporaryFile(max_size=MAX_SPOOL_IN_MEMORY)  # noqa: SIM115
    while chunk := request.stream.read(2**20):
        file.write(chunk)
    file.seek(0)
    return cast(BinaryIO, file)
