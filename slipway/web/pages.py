"""The pages: the form and its answer, the file upload, and the model."""

from __future__ import annotations

import csv
import json
import random
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

from flask import Blueprint, Response, abort, render_template, request, url_for

from slipway import charts, learningplots
from slipway.body import read_form
from slipway.cells import added_columns
from slipway.errors import BadInput, FieldError, ModelError, WrongMediaType
from slipway.report import TEMPLATES, read_report
from slipway.serving import Live
from slipway.signature import Feature, Record, Signature
from slipway.terms import score_unit, sum_cards
from slipway.web.api import FORM
from slipway.web.context import live, request_id
from slipway.web.shown import Shown, show
from slipway.words import FILTERS, sentence, short, value_name, value_text

pages = Blueprint("pages", __name__, template_folder=str(TEMPLATES))
for _write in FILTERS:
    pages.add_app_template_filter(_write)


@dataclass(frozen=True)
class Field:
    """One input of the form: what it asks for, what stands in it, and what is wrong with that."""

    id: str
    feature: Feature
    text: str
    error: str | None

    @property
    def choices(self) -> list[tuple[str, str]]:
        """The options of a drop-down as values and names; none where any value may be given."""
        feature = self.feature
        known = (True, False) if feature.kind == "flag" else feature.categories
        made = [(value_text(value), value_name(feature, value)) for value in known]
        if not made:
            return []
        if self.text and self.text not in dict(made):
            made.insert(0, (self.text, f"{self.text} (not in the list)"))
        if feature.nullable or not self.text:
            made.insert(0, ("", "not known" if feature.nullable else "choose one"))
        return made

    @property
    def keyboard(self) -> str:
        """The keyboard that a phone shows; those for numbers may lack the minus sign."""
        feature = self.feature
        if feature.kind == "category" or feature.minimum is None or feature.minimum < 0:
            return "text"
        return "numeric" if feature.kind == "integer" else "decimal"


@pages.get("/")
def form() -> str:
    """Show the form, filled in with an example."""
    service = live()
    golden = service.model.manifest.golden
    examples = {str(number): row.record for number, row in enumerate(golden, start=1)}
    number = request.args.get("example")
    if number is None:
        given = {feature.name: feature.example for feature in service.signature.features}
    elif number in examples:
        given = examples[number]
    else:
        abort(404)
    texts = {name: value_text(value) for name, value in given.items()}
    return _form_page(service, texts, example=number)


@pages.post("/")
def answer() -> tuple[str, int]:
    """Answer the form, or say what is wrong with it."""
    if request.mimetype != FORM:
        raise WrongMediaType(f"send {FORM}")
    service = live()
    texts = read_form(request.get_data(cache=False))
    checked = service.signature.check_text(texts)
    explain = service.model.manifest.scorecard is not None
    try:
        prediction = service.predict(checked, explain=explain)
    except BadInput as error:
        return _form_page(service, texts, errors=error.errors), 422
    shown = show(service.model, checked[0], prediction)
    curl = _curl(service.signature, checked[0])
    return _form_page(service, texts, shown=shown, curl=curl), 200


@pages.get("/file")
def file() -> str:
    """Show the upload of a CSV file."""
    service = live()
    return render_template(
        "file.html",
        manifest=service.model.manifest,
        features=service.signature.features,
        added=added_columns(service.signature),
        max_bytes=service.settings.max_file_bytes,
    )


@pages.get("/sample.csv")
def sample() -> Response:
    """Give a small CSV file to try the upload with."""
    service = live()
    made = StringIO(newline="")
    writer = csv.writer(made)
    writer.writerow(service.signature.names)
    for row in service.model.manifest.golden:
        writer.writerow(value_text(row.record.get(name)) for name in service.signature.names)
    response = Response(made.getvalue(), mimetype="text/csv")
    response.headers["Content-Disposition"] = 'attachment; filename="sample.csv"'
    return response


@pages.get("/model")
def model() -> str:
    """Tell what the model is, how good it is, and where it came from."""
    service = live()
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
    service = live()
    content = read_report(service.path, service.version)
    return abort(404) if content is None else Response(content, mimetype="text/html")


@pages.app_context_processor
def _shared() -> dict[str, Any]:
    """Give every template, that of an error too, the version and the id in its footer."""
    try:
        version = live().model.manifest.version
    except ModelError:
        version = None
    return {"model_version": version, "request_id": request_id()}


def _form_page(
    service: Live,
    texts: Mapping[str, str],
    errors: Sequence[FieldError] = (),
    example: str | None = None,
    shown: Shown | None = None,
    curl: str = "",
) -> str:
    """Render the form with what stands in it, and with the answer where there is one."""
    wrong = {error.field: sentence(error.message) for error in errors}
    fields = [
        Field(f"field-{i}", feature, texts.get(feature.name, ""), wrong.get(feature.name))
        for i, feature in enumerate(service.signature.features, start=1)
    ]
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


def _another(count: int, example: str | None) -> int | None:
    """Choose the number of an example that is not the one on the page."""
    others = [i for i in range(1, count + 1) if str(i) != example]
    return random.choice(others) if others else None  # noqa: S311


def _curl(signature: Signature, record: Record) -> str:
    """Write the same request for a shell."""
    values = dict(zip(signature.names, map(short, record), strict=True))
    parts = (
        f"curl -s {shlex.quote(url_for('api.predict', _external=True))}",
        "-H 'Content-Type: application/json'",
        f"-d {shlex.quote(json.dumps(values))}",
    )
    return " \\\n  ".join(parts)
