"""The pages: the form and its answer, the file upload, and the model."""

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
from slipway.reports import feature_texts
from slipway.reports import learning_curve_charts as learningplots
from slipway.reports import svg_charts as charts
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
    column_row,
    without_browser_line_ends,
)
from slipway.web.prediction_view import PredictionView, build_view

pages = Blueprint("pages", __name__, template_folder=str(TEMPLATES))
for _write in (*FILTERS, *feature_texts.FILTERS):
    pages.add_app_template_filter(_write)


@pages.get("/")
def form() -> str:
    """Show the form, filled in with an example."""
    service = prediction_service()
    golden = service.model.manifest.golden
    examples = {str(number): row.record for number, row in enumerate(golden, start=1)}
    number = request.args.get("example")
    if number is None:
        given = {feature.name: feature.example for feature in service.signature.features}
    elif number in examples:
        given = examples[number]
    else:
        abort(404)
    texts = record_texts(service.signature, given)
    return _form_page(service, texts, example=number)


@pages.post("/")
def answer() -> tuple[str, int]:
    """Answer the form, or say what is wrong with it."""
    if request.mimetype != FORM:
        raise WrongMediaType(f"send {FORM}")
    service = prediction_service()
    texts = without_browser_line_ends(service.signature, read_form(request.get_data(cache=False)))
    checked = service.signature.check_text(texts)
    explain = service.model.manifest.scorecard is not None
    try:
        prediction = service.predict(checked, explain=explain)
    except BadInput as error:
        return _form_page(service, texts, errors=error.errors), 422
    shown = build_view(service.model, checked[0], prediction)
    curl = _curl(service.signature, checked[0])
    return _form_page(service, texts, shown=shown, curl=curl), 200


@pages.get("/file")
def file() -> str:
    """Show the upload of a CSV file."""
    service = prediction_service()
    return render_template(
        "file.html",
        manifest=service.model.manifest,
        rows=[column_row(feature, service.signature) for feature in service.signature.features],
        missing=[text for text in service.signature.missing if text],
        empty_is_missing="" in service.signature.missing,
        signature=service.signature,
        added=added_columns(service.signature),
        max_bytes=service.settings.max_file_bytes,
    )


@pages.get("/sample.csv")
def sample() -> Response:
    """Give a small CSV file to try the upload with."""
    service = prediction_service()
    made = StringIO(newline="")
    writer = csv.writer(made)
    writer.writerow(service.signature.names)
    for row in service.model.manifest.golden:
        texts = record_texts(service.signature, row.record)
        if len(texts) == len(service.signature.features):
            writer.writerow(texts.values())
    response = Response(made.getvalue(), mimetype="text/csv")
    response.headers["Content-Disposition"] = 'attachment; filename="sample.csv"'
    return response


@pages.get("/model")
def model() -> str:
    """Tell what the model is, how good it is, and where it came from."""
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
        charts=charts,
        learningplots=learningplots,
        has_report=read_report(service.path, manifest.version) is not None,
    )


@pages.get("/model/report")
def report() -> Response:
    """Give the report of the version that is served, if it has one."""
    service = prediction_service()
    content = read_report(service.path, service.version)
    return abort(404) if content is None else Response(content, mimetype="text/html")


@pages.app_context_processor
def _shared() -> dict[str, Any]:
    """Give every template, that of an error too, the version and the id in its footer."""
    try:
        version = prediction_service().model.manifest.version
    except ModelError:
        version = None
    return {"model_version": version, "request_id": request_id()}


def _form_page(
    service: PredictionService,
    texts: Mapping[str, str],
    errors: Sequence[FieldError] = (),
    example: str | None = None,
    shown: PredictionView | None = None,
    curl: str = "",
) -> str:
    """Render the form with what stands in it, and with the answer where there is one."""
    wrong = {error.field: sentence(error.message) for error in errors}
    fields = _fields(service.signature, texts, wrong)
    return render_template(
        "form.html",
        manifest=service.model.manifest,
        fields=fields,
        ids={field.feature.name: field.id for field in fields},
        errors=errors,
        surprise=_another(len(service.model.manifest.golden), example),
        example=example,
        shown=shown,
        curl=curl,
    )


def _fields(
    signature: Signature, texts: Mapping[str, str], wrong: Mapping[str | None, str]
) -> list[Field]:
    """Make the fields of the form, with what stands in them."""
    fields = []
    for i, feature in enumerate(signature.features, start=1):
        gap = missing_text(feature, signature.missing) or ""
        text = texts.get(feature.name, gap)
        error = wrong.get(feature.name)
        fields.append(Field(f"field-{i}", feature, text, error, signature.missing))
    return fields


def _another(count: int, example: str | None) -> int | None:
    """Choose the number of an example that is not the one on the page."""
    others = [i for i in range(1, count + 1) if str(i) != example]
    return random.choice(others) if others else None  # noqa: S311


def _curl(signature: Signature, record: Record) -> str:
    """Write the same request for a shell."""
    values = dict(zip(signature.names, map(_json_value, record), strict=True))
    parts = (
        f"curl -s {shlex.quote(url_for('api.predict', _external=True))}",
        "-H 'Content-Type: application/json'",
        f"-d {shlex.quote(json.dumps(values))}",
    )
    return " \\\n  ".join(parts)


def _json_value(value: Value) -> Value:
    """Return a value as JSON carries it, which has no infinities."""
    if isinstance(value, float) and math.isinf(value):
        return value_text(value)
    return drop_zero_fraction(value)
