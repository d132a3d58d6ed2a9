"""The pages: the form with its prediction, the file upload and the model."""

from __future__ import annotations

import csv
import json
import math
import random
import shlex
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

from flask import Blueprint, Response, abort, render_template, request, url_for

from slipway.core.errors import BadInput, FieldError, ModelError, WrongMediaType
from slipway.models.features import Record, Value
from slipway.models.record_texts import drop_zero_fraction, missing_text, record_texts, value_text
from slipway.models.signature import Signature
from slipway.reports import feature_texts, learning_curve_charts, svg_charts
from slipway.reports.formatting import FILTERS, sentence
from slipway.reports.html import TEMPLATES, read_report
from slipway.reports.term_charts import score_unit, sum_cards
from slipway.serving.batch.output_columns import added_columns
from slipway.serving.request_body import read_form
from slipway.serving.service import PredictionService
from slipway.web.api import FORM
from slipway.web.context import prediction_service, request_id
from slipway.web.form_fields import (
    Field,
    describe_column,
    without_browser_line_ends,
)
from slipway.web.prediction_view import PredictionView, build_view

pages = Blueprint("pages", __name__, template_folder=str(TEMPLATES))
for _filter in (*FILTERS, *feature_texts.FILTERS):
    pages.add_app_template_filter(_filter)


@pages.get("/")
def form() -> str:
    """Return the form, filled in with an example."""
    service = prediction_service()
    golden = service.model.manifest.golden
    examples = {str(number): row.record for number, row in enumerate(golden, start=1)}
    number = request.args.get("example")
    if number is None:
        record = {feature.name: feature.example for feature in service.signature.features}
    elif number in examples:
        record = examples[number]
    else:
        abort(404)
    texts = record_texts(service.signature, record)
    return _render_form_page(service, texts, example=number)


@pages.post("/")
def submit_form() -> tuple[str, int]:
    """Return the form with its prediction, or with its errors."""
    if request.mimetype != FORM:
        raise WrongMediaType(f"send {FORM}")
    service = prediction_service()
    texts = without_browser_line_ends(service.signature, read_form(request.get_data(cache=False)))
    checked = service.signature.check_text(texts)
    explain = service.model.manifest.scorecard is not None
    try:
        prediction = service.predict(checked, explain=explain)
    except BadInput as error:
        return _render_form_page(service, texts, errors=error.errors), 422
    view = build_view(service.model, checked[0], prediction)
    curl = _format_curl(service.signature, checked[0])
    return _render_form_page(service, texts, view=view, curl=curl), 200


@pages.get("/file")
def file() -> str:
    """Return the page with the upload of a CSV file."""
    service = prediction_service()
    return render_template(
        "file.html",
        manifest=service.model.manifest,
        rows=[
            describe_column(feature, service.signature) for feature in service.signature.features
        ],
        missing=[text for text in service.signature.missing if text],
        empty_is_missing="" in service.signature.missing,
        signature=service.signature,
        added=added_columns(service.signature),
        max_bytes=service.settings.max_file_bytes,
    )


@pages.get("/sample.csv")
def sample() -> Response:
    """Return a small CSV file for a trial of the upload."""
    service = prediction_service()
    buffer = StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(service.signature.names)
    for row in service.model.manifest.golden:
        texts = record_texts(service.signature, row.record)
        if len(texts) == len(service.signature.features):
            writer.writerow(texts.values())
    response = Response(buffer.getvalue(), mimetype="text/csv")
    response.headers["Content-Disposition"] = 'attachment; filename="sample.csv"'
    return response


@pages.get("/model")
def model() -> str:
    """Return the page with the model's metrics, terms, features and origin."""
    service = prediction_service()
    served = service.model
    manifest = served.manifest
    return render_template(
        "model.html",
        manifest=manifest,
        engine=served.engine,
        features=manifest.signature.by_name,
        engine_reason=served.engine_reason,
        sums=sum_cards(manifest),
        unit=score_unit(manifest),
        svg_charts=svg_charts,
        learning_curve_charts=learning_curve_charts,
        has_report=read_report(service.path, manifest.version) is not None,
    )


@pages.get("/model/report")
def report() -> Response:
    """Return the report of the served version, or a 404 if the version has no report."""
    service = prediction_service()
    content = read_report(service.path, service.version)
    return abort(404) if content is None else Response(content, mimetype="text/html")


@pages.app_context_processor
def _build_footer_context() -> dict[str, Any]:
    """Return the variables of the footer, for all templates."""
    try:
        version = prediction_service().model.manifest.version
    except ModelError:
        version = None
    return {"model_version": version, "request_id": request_id()}


def _render_form_page(
    service: PredictionService,
    texts: Mapping[str, str],
    errors: Sequence[FieldError] = (),
    example: str | None = None,
    view: PredictionView | None = None,
    curl: str = "",
) -> str:
    """Render the form with its texts, its errors and its prediction."""
    messages = {error.field: sentence(error.message) for error in errors}
    fields = _build_fields(service.signature, texts, messages)
    return render_template(
        "form.html",
        manifest=service.model.manifest,
        fields=fields,
        ids={field.feature.name: field.id for field in fields},
        errors=errors,
        other_example=_choose_example(len(service.model.manifest.golden), example),
        example=example,
        view=view,
        curl=curl,
    )


def _build_fields(
    signature: Signature, texts: Mapping[str, str], messages: Mapping[str | None, str]
) -> list[Field]:
    """Return the form's fields with their texts and errors."""
    fields = []
    for i, feature in enumerate(signature.features, start=1):
        missing = missing_text(feature, signature.missing) or ""
        text = texts.get(feature.name, missing)
        error = messages.get(feature.name)
        fields.append(Field(f"field-{i}", feature, text, error, signature.missing))
    return fields


def _choose_example(count: int, example: str | None) -> int | None:
    """Return the random number of another example; None if the model has no other one."""
    others = [i for i in range(1, count + 1) if str(i) != example]
    return random.choice(others) if others else None  # noqa: S311


def _format_curl(signature: Signature, record: Record) -> str:
    """Return the curl command of the same request."""
    values = dict(zip(signature.names, map(_json_value, record), strict=True))
    parts = (
        f"curl -s {shlex.quote(url_for('api.predict', _external=True))}",
        "-H 'Content-Type: application/json'",
        f"-d {shlex.quote(json.dumps(values))}",
    )
    return " \\\n  ".join(parts)


def _json_value(value: Value) -> Value:
    """Return a value for JSON, with infinities as texts."""
    if isinstance(value, float) and math.isinf(value):
        return value_text(value)
    return drop_zero_fraction(value)
