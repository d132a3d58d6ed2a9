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

from slipway.batch import ADDED
from slipway.body import read_form
from slipway.errors import BadInput, FieldError, ModelError, WrongMediaType
from slipway.manifest import Manifest
from slipway.scorecard import Table, Term
from slipway.serving import Live, Prediction
from slipway.signature import Feature, Record, Signature
from slipway.web import charts, words
from slipway.web.api import FORM
from slipway.web.context import live, request_id
from slipway.web.words import compared, sentence, short, title_of, value_name, value_text

pages = Blueprint("pages", __name__)
for _write in (
    words.byte_count,
    words.inner,
    words.percent,
    words.sentence,
    words.signed,
    words.title_of,
    words.value_name,
):
    pages.add_app_template_filter(_write)

MOST_BARS = 12
MOST_ORDERED_BARS = 24


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


@dataclass(frozen=True)
class Push:
    """What one feature, or all the small ones together, did to an answer."""

    name: str
    value: str
    bar: charts.Bar


@dataclass(frozen=True)
class TermCard:
    """What one feature can do to answers: bars by level, or a plot over its values."""

    feature: Feature
    term: Term
    bars: list[tuple[str, charts.Bar]]
    plot: charts.Plot | None

    @property
    def left_out(self) -> int:
        """How many levels have no bar."""
        return len(self.term.points) - len(self.bars) if isinstance(self.term, Table) else 0


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
    manifest = service.model.manifest
    shown: dict[str, Any] = {
        "prediction": prediction,
        "compared": compared(prediction.probability, manifest.base_rate),
        "pushes": _pushes(service.signature, checked[0], prediction),
        "curl": _curl(service.signature, checked[0]),
    }
    return _form_page(service, texts, **shown), 200


@pages.get("/file")
def file() -> str:
    """Show the upload of a CSV file."""
    service = live()
    return render_template(
        "file.html",
        manifest=service.model.manifest,
        features=service.signature.features,
        added=ADDED,
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
    served = live().model
    features = {feature.name: feature for feature in served.manifest.signature.features}
    return render_template(
        "model.html",
        manifest=served.manifest,
        engine=served.engine,
        features=features,
        terms=_term_cards(served.manifest),
        charts=charts,
    )


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
    **shown: Any,
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
        **shown,
    )


def _another(count: int, example: str | None) -> int | None:
    """Choose the number of an example that is not the one on the page."""
    others = [i for i in range(1, count + 1) if str(i) != example]
    return random.choice(others) if others else None  # noqa: S311


def _pushes(signature: Signature, record: Record, prediction: Prediction) -> list[Push]:
    """Sort the contributions by size; the smallest of many are added up."""
    contributions = prediction.contributions
    if not isinstance(contributions, dict):
        return []
    rows = [
        (title_of(feature.name), value_name(feature, value), contributions[feature.name])
        for feature, value in zip(signature.features, record, strict=True)
    ]
    rows.sort(key=lambda row: -abs(row[2]))
    if len(rows) > MOST_BARS + 1:
        rest = sum(points for _, _, points in rows[MOST_BARS:])
        rows[MOST_BARS:] = [(f"The other {len(rows) - MOST_BARS}", "together", rest)]
    largest = max((abs(points) for _, _, points in rows), default=0.0)
    bars = charts.bars((points for _, _, points in rows), largest)
    return [Push(name, value, bar) for (name, value, _), bar in zip(rows, bars, strict=True)]


def _term_cards(manifest: Manifest) -> list[TermCard]:
    """Draw the terms, those first that can move an answer the furthest."""
    if manifest.scorecard is None:
        return []
    features, terms = manifest.signature.features, manifest.scorecard.terms
    seen = [_seen(manifest, feature) for feature in features]
    reaches = [charts.reach(term, values) for term, values in zip(terms, seen, strict=True)]
    low, high = min(low for low, _ in reaches), max(high for _, high in reaches)
    cards = []
    for feature, term, values in zip(features, terms, seen, strict=True):
        if isinstance(term, Table):
            cards.append(TermCard(feature, term, _level_bars(feature, term, low, high), None))
        else:
            cards.append(
                TermCard(feature, term, [], charts.term_plot(term, feature, values, low, high))
            )
    ranked = sorted(zip(reaches, cards, strict=True), key=lambda pair: pair[0][0] - pair[0][1])
    return [card for _, card in ranked]


def _seen(manifest: Manifest, feature: Feature) -> list[float]:
    """Give the numbers that the golden rows have for a feature."""
    values = (row.record.get(feature.name) for row in manifest.golden)
    return [float(value) for value in values if isinstance(value, int | float)]


def _level_bars(
    feature: Feature, term: Table, low: float, high: float
) -> list[tuple[str, charts.Bar]]:
    """Draw a table's levels: numbers in their order, names by size, the largest of many."""
    levels = list(zip(term.levels, term.points, strict=True))
    if feature.kind == "category" or len(levels) > MOST_ORDERED_BARS:
        levels = sorted(levels, key=lambda level: -abs(level[1]))[:MOST_BARS]
        levels.sort(key=lambda level: -level[1])
    made = charts.bars((points for _, points in levels), max(-low, high))
    names = (value_name(feature, level) for level, _ in levels)
    return list(zip(names, made, strict=True))


def _curl(signature: Signature, record: Record) -> str:
    """Write the same request for a shell."""
    values = dict(zip(signature.names, map(short, record), strict=True))
    parts = (
        f"curl -s {shlex.quote(url_for('api.predict', _external=True))}",
        "-H 'Content-Type: application/json'",
        f"-d {shlex.quote(json.dumps(values))}",
    )
    return " \\\n  ".join(parts)
