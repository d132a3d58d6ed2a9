"""The model card of a version, as text for a terminal and as JSON.

All contents come from the manifest, so nothing is unpickled.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import msgspec

from slipway.core.text_tables import (
    decimal_places,
    format_sections,
    format_signed,
    format_table,
    format_value,
    truncate,
    wrap_text,
)
from slipway.models.features import Feature, Value
from slipway.models.manifest import Evaluation, GoldenRow, Manifest
from slipway.models.scorecard import LinearPredictor, SlopeTerm, StepTerm, TableTerm, Term
from slipway.models.signature import Signature
from slipway.models.validation import MISSING_TEXTS
from slipway.reports.feature_texts import accepted_values, accepts_unseen, remarks
from slipway.reports.formatting import EMPTY_TEXT, meaning

_SAMPLES = 10
_MAX_VALUES = 12
_MAX_TERMS = 40
_NEVER_SEEN = "\0never seen"
_FACTS = ("title", "name", "version", "created", "sha256", "estimator", "threshold", "base_rate")


class TermValue(msgspec.Struct, frozen=True):
    """A value or an interval as text, and the points of a term for it; None if undefined."""

    text: str
    points: float | None


class TermSummary(msgspec.Struct, frozen=True):
    """The contribution of one feature to one score.

    Attributes
    ----------
    feature, label : str
        The label is the class or the target of the score.
    low, high, reach : float
        The smallest and largest contribution, and their difference.
    slope : float, optional
        The contribution per unit, if it is constant.
    places : tuple of TermValue
        All levels, all intervals, or numbers along a curve; a missing and an unseen value.
    """

    feature: str
    label: str
    low: float
    high: float
    reach: float
    slope: float | None
    places: tuple[TermValue, ...]


class Card(msgspec.Struct, frozen=True):
    """The card of a model version.

    Attributes
    ----------
    about, made_from : dict
        Facts by name: on the version, and on its data and libraries.
    features : tuple of Feature
    intercepts : dict of str to float
        The intercept of each sum, by its label; empty without a scorecard.
    terms : tuple of TermSummary
        Sorted by reach, the largest first.
    evaluations : dict of str to Evaluation
    """

    about: dict[str, Any]
    features: tuple[Feature, ...]
    intercepts: dict[str, float]
    terms: tuple[TermSummary, ...]
    evaluations: dict[str, Evaluation]
    made_from: dict[str, Any]


def describe_card(manifest: Manifest) -> Card:
    """Build the card of a model version."""
    return Card(
        about=_list_version_facts(manifest),
        features=manifest.signature.features,
        intercepts={
            name: predictor.intercept for name, predictor in predictors_by_label(manifest).items()
        },
        terms=_summarize_terms(manifest),
        evaluations=manifest.evaluations,
        made_from=_list_origin_facts(manifest),
    )


def predictors_by_label(manifest: Manifest) -> dict[str, LinearPredictor]:
    """Return the sums of a scorecard by their labels: the classes or the target."""
    if manifest.scorecard is None:
        return {}
    target, sums = manifest.signature.target, manifest.scorecard.sums
    labels = target.classes if len(sums) > 1 else (target.positive or target.name,)
    return dict(zip(labels, sums, strict=True))


def choose_values(
    feature: Feature, terms: Sequence[Term], golden: Iterable[GoldenRow]
) -> dict[Value, str]:
    """Choose the values at which to evaluate the terms of a feature, with their texts.

    A curve is sampled between the extremes of the training range and the golden rows.
    """
    tables = [term for term in terms if isinstance(term, TableTerm)]
    values: dict[Value, str] = {
        level: feature.labels.get(str(level))
        or (EMPTY_TEXT if level == "" else format_value(level))
        for table_term in tables
        for level in table_term.levels
    }
    if any(not isinstance(term, TableTerm | StepTerm) for term in terms):
        steps = 1 if all(isinstance(term, SlopeTerm) for term in terms) else _SAMPLES
        values |= {
            number: format_value(number) for number in _sample_numbers(feature, golden, steps)
        }
    edges = {edge for term in terms if isinstance(term, StepTerm) for edge in term.edges}
    if edges or not values:
        values |= _list_intervals(sorted(edges))
    if feature.nullable:
        values[None] = "missing"
    if tables and accepts_unseen(feature):
        values[_NEVER_SEEN] = "never seen"
    return values


def evaluate_term(term: Term, value: Value) -> float | None:
    """Evaluate a term for a value; None if it is undefined."""
    try:
        points = term.compile_points()(value)
    except TypeError:
        # In the other version, the feature of this name is a text.
        return None
    return points if math.isfinite(points) else None


def _list_version_facts(manifest: Manifest) -> dict[str, Any]:
    """Return the facts on a version."""
    target = msgspec.structs.asdict(manifest.signature.target)
    facts = {name: getattr(manifest, name) for name in _FACTS}
    facts["engine"] = "scorecard" if manifest.scorecard else f"pickle: {manifest.reason}"
    if manifest.scorecard is not None and manifest.scorecard.is_log_odds:
        facts["score"] = "log-odds"
    facts |= {f"target_{name}": value for name, value in target.items()}
    return facts | list_input_facts(manifest.signature)


def list_input_facts(signature: Signature) -> dict[str, Any]:
    """Return the facts on the inputs of a version that differ from the defaults."""
    facts: dict[str, Any] = {"input": signature.input, "ignored": sorted(signature.ignored)}
    if signature.missing != MISSING_TEXTS:
        facts["missing"] = [EMPTY_TEXT if text == "" else text for text in signature.missing]
    if signature.transform_output != "default":
        facts["transform_output"] = signature.transform_output
    return {name: fact for name, fact in facts.items() if fact}


def _list_origin_facts(manifest: Manifest) -> dict[str, Any]:
    """Return the facts on data and libraries; of a learning curve only the recommendation."""
    facts = msgspec.structs.asdict(manifest.training)
    curve = facts.pop("learning_curve")
    recommendation = {} if curve is None else {"rows_recommended": curve.recommended}
    return facts | recommendation | manifest.libraries


def _sample_numbers(feature: Feature, golden: Iterable[GoldenRow], steps: int) -> list[float]:
    """Return numbers from the smallest to the largest known number, in equal steps."""
    known = [*(feature.seen or ()), feature.example, *(r.record.get(feature.name) for r in golden)]
    numbers = [float(value) for value in known if isinstance(value, int | float)]
    if not numbers:
        return []
    low, high = min(numbers), max(numbers)
    return [*(low + (high - low) * i / steps for i in range(steps)), high]


def _list_intervals(edges: Sequence[float]) -> dict[Value, str]:
    """Return the start of each interval between edges, with a text."""
    if not edges:
        return {0.0: "any"}
    starts: dict[Value, str] = {math.nextafter(edges[0], -math.inf): f"<{format_value(edges[0])}"}
    starts |= {
        start: f"{format_value(start)} to <{format_value(end)}" for start, end in pairwise(edges)
    }
    return starts | {edges[-1]: f"≥{format_value(edges[-1])}"}


def _summarize_terms(manifest: Manifest) -> tuple[TermSummary, ...]:
    """Summarize the terms, the largest reach first."""
    cards = [
        _summarize_term(label, feature, term, manifest.golden)
        for label, predictor in predictors_by_label(manifest).items()
        for feature, term in zip(manifest.signature.features, predictor.terms, strict=True)
    ]
    return tuple(sorted(cards, key=lambda card: -card.reach))


def _summarize_term(
    label: str, feature: Feature, term: Term, golden: Sequence[GoldenRow]
) -> TermSummary:
    """Summarize a term by its points at the chosen values."""
    values = choose_values(feature, [term], golden)
    evaluated = tuple(TermValue(text, evaluate_term(term, value)) for value, text in values.items())
    points = [entry.points for entry in evaluated if entry.points is not None]
    low, high = min(points, default=0.0), max(points, default=0.0)
    slope = term.slope if isinstance(term, SlopeTerm) else None
    return TermSummary(feature.name, label, low, high, high - low, slope, evaluated)


def card_text(card: Card) -> str:
    """Format a card for a terminal of 100 columns."""
    return format_sections(
        {
            "MODEL VERSION": _format_facts(card.about),
            "FEATURES": format_table([_feature_row(feature) for feature in card.features]),
            "TERMS, largest reach first": _format_terms(card),
            "METRICS": _format_metrics(card.evaluations),
            "MADE FROM": _format_facts(card.made_from),
        }
    )


def _format_facts(facts: dict[str, Any]) -> list[str]:
    """Format facts, and skip empty ones."""
    texts = [(name, format_value(value)) for name, value in facts.items()]
    return format_table([row for row in texts if row[1] != "none"])


def _feature_row(feature: Feature) -> tuple[str, ...]:
    """Return the name, the kind and the description of a feature."""
    values = accepted_values(feature)
    missing = f"{';' if ':' in values else ','} or missing" if feature.nullable else ""
    missing += " with a warning" if feature.nullable and feature.complete else ""
    sentences = [values + missing, *filter(None, [meaning(feature)]), *remarks(feature)]
    return feature.name, feature.kind, ". ".join(text.removesuffix(".") for text in sentences)


def _format_terms(card: Card) -> list[str]:
    """Format the intercepts, then the terms that have an effect."""
    if not card.terms:
        return []
    digits = decimal_places(limit for term in card.terms for limit in (term.low, term.high))
    starts = (
        f"{format_signed(start, digits)} for {label}" for label, start in card.intercepts.items()
    )
    lines = wrap_text("  ", f"the score starts at {', '.join(starts)}")
    selected = [term for term in card.terms[:_MAX_TERMS] if term.reach]
    for term in selected:
        name = f"{term.feature} for {term.label}" if len(card.intercepts) > 1 else term.feature
        slope = "" if term.slope is None else f", slope {term.slope:+.3g}"
        limits = f"{format_signed(term.low, digits)} to {format_signed(term.high, digits)}{slope}"
        lines += [
            *wrap_text("  ", f"{name}: {limits}"),
            *wrap_text("    ", _format_points(term, digits)),
        ]
    left = len(card.terms) - len(selected)
    return [*lines, f"  and {left} with less or no reach: see --json"] if left else lines


def _format_points(term: TermSummary, digits: int) -> str:
    """Format the points of a term; of many values only the highest and lowest points."""
    texts = [
        f"{truncate(entry.text)} {format_signed(entry.points, digits)}" for entry in term.places
    ]
    if len(texts) > _MAX_VALUES:
        order = sorted(range(len(texts)), key=lambda i: -(term.places[i].points or 0.0))
        texts = [*(texts[i] for i in order[:4]), "…", *(texts[i] for i in order[-4:])]
    return "  ".join(text.replace(" ", "\N{NO-BREAK SPACE}") for text in texts)


def _format_metrics(evaluations: dict[str, Evaluation]) -> list[str]:
    """Format each evaluation as a table with one column per model."""
    lines: list[str] = []
    for name, evaluation in evaluations.items():
        rows = f"fitted on {evaluation.rows_fit:,}, tested on {evaluation.rows_test:,} rows"
        lines += wrap_text("  ", f"{name}: {evaluation.description}; {rows}")
        models = [msgspec.structs.asdict(model) for model in evaluation.scores.values()]
        scores = dict.fromkeys(score for model in models for score in model)
        cells = [[score, *(format_value(model.get(score)) for model in models)] for score in scores]
        lines += format_table([["", *evaluation.scores], *cells])
    return lines
