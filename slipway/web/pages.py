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
from slipway.errors import BadInput, FieldError, ModelError, WrongMediaType
from slipway.manifest import Manifest
from slipway.scorecard import Table, Term
from slipway.serving import Live, Prediction, read_form
from slipway.signature import Feature, Record, Signature, Value
from slipway.web import charts
from slipway.web.api import FORM
from slipway.web.context import live, request_id

pages = Blueprint("pages", __name__)

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
        made = [(_text(value), value_name(feature, value)) for value in known]
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
    texts = {name: _text(value, tidy=True) for name, value in given.items()}
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
        writer.writerow(_text(row.record.get(name)) for name in service.signature.names)
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


@pages.app_template_filter("percent")
def percent(share: float) -> str:
    """Write a share for people, without making almost all into all or hardly any into none."""
    if 0 < share < 0.005:
        return "<1%"
    return ">99%" if 0.995 <= share < 1 else f"{share:.0%}"


@pages.app_template_filter("signed")
def signed(number: float) -> str:
    """Write a number with its sign, the typographic minus."""
    return f"{number:+.2f}".replace("-", "\N{MINUS SIGN}")


@pages.app_template_filter("sentence")
def sentence(message: str) -> str:
    """Make a message into a sentence."""
    return f"{message[:1].upper()}{message[1:].rstrip('.')}."


@pages.app_template_filter("byte_count")
def byte_count(number: float) -> str:
    """Write a number of bytes for people."""
    for unit in ("bytes", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.4g} {unit}"
        number /= 1024
    return f"{number:.4g} GiB"


@pages.app_template_filter("title_of")
def title_of(name: str) -> str:
    """Make the name of a feature into words."""
    words = name.replace("_", " ").strip()
    return f"{words[:1].upper()}{words[1:]}"


@pages.app_template_filter("value_name")
def value_name(value_of: Feature | None, value: Value) -> str:
    """Write a value for people: with the name of a category, or with a unit.

    Parameters
    ----------
    value_of : Feature, optional
        None for a feature that the model no longer has.
    value : float, int, str, bool or None

    Returns
    -------
    str
    """
    if value is None:
        return "missing"
    text = _text(value, tidy=True)
    if value_of is None:
        return text
    label = value_of.labels.get(text, "")
    if label:
        return label if value_of.kind == "integer" or label == text else f"{text} — {label}"
    return f"{text} {value_of.unit}" if value_of.unit else text


def compared(probability: float, base_rate: float) -> str:
    """Say in words how a probability stands to the base rate."""
    ratio = probability / base_rate if base_rate else 1.0
    if 0.95 <= ratio < 1.05:
        return "about as likely as the average"
    if ratio < 0.1:
        return "less than a tenth as likely as the average"
    return f"{ratio:.1f} times as likely as the average"


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
    ranked = sorted(
        zip(signature.features, record, contributions.values(), strict=True),
        key=lambda each: -abs(each[2]),
    )
    rows = [(title_of(f.name), value_name(f, v), points) for f, v, points in ranked]
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
            cards.append(TermCard(feature, term, [], charts.term_plot(term, values, low, high)))
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
    values = dict(zip(signature.names, map(_short, record), strict=True))
    parts = (
        f"curl -s {shlex.quote(url_for('api.predict', _external=True))}",
        "-H 'Content-Type: application/json'",
        f"-d {shlex.quote(json.dumps(values))}",
    )
    return " \\\n  ".join(parts)


def _short(value: Value) -> Value:
    """Write a float without a fraction as an integer, which reads the same."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _text(value: Value, *, tidy: bool = False) -> str:
    """Write a value as a form or a CSV file gives it.

    Tidied, ``6.599999999999909`` is ``6.6``: an example that people are to read and change
    need not keep the noise of a measurement's arithmetic.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    value = _short(value)
    return f"{value:.12g}" if tidy and isinstance(value, float) else str(value)
