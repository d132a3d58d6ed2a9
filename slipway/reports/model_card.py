"""A model version on a card, for people at a terminal and, as JSON, for programs.

All of it comes from the manifest, so nothing is unpickled.
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
from slipway.reports.feature_texts import accepted_values, remarks, takes_unseen
from slipway.reports.formatting import EMPTY_TEXT, meaning

_SAMPLES = 10
_MOST_PLACES = 12
_MOST_TERMS = 40
_NEVER_SEEN = "\0never seen"
_FACTS = ("title", "name", "version", "created", "sha256", "estimator", "threshold", "base_rate")


class Place(msgspec.Struct, frozen=True):
    """A value or an interval in words, and what a term adds there: None if it has no answer."""

    text: str
    points: float | None


class TermCard(msgspec.Struct, frozen=True):
    """What one feature adds to one score.

    Attributes
    ----------
    feature, label : str
        The label is the class or the target whose score it is.
    low, high, reach : float
        The least and the most that it adds, and how far they are apart.
    slope : float, optional
        What one unit more adds, where that is everywhere the same.
    places : tuple of Place
        Every level, every interval, or numbers along a curve; a missing and an unseen value.
    """

    feature: str
    label: str
    low: float
    high: float
    reach: float
    slope: float | None
    places: tuple[Place, ...]


class Card(msgspec.Struct, frozen=True):
    """A model version.

    Attributes
    ----------
    about, made_from : dict
        Facts by name; it was made from data, and with versions of libraries.
    features : tuple of Feature
    intercepts : dict of str to float
        Where each sum starts, by its label; empty without a scorecard.
    terms : tuple of TermCard
        Those with the largest reach come first.
    evaluations : dict of str to Evaluation
    """

    about: dict[str, Any]
    features: tuple[Feature, ...]
    intercepts: dict[str, float]
    terms: tuple[TermCard, ...]
    evaluations: dict[str, Evaluation]
    made_from: dict[str, Any]


def describe_card(manifest: Manifest) -> Card:
    """Put a model version on a card."""
    return Card(
        about=_about(manifest),
        features=manifest.signature.features,
        intercepts={label: each.intercept for label, each in sums_of(manifest).items()},
        terms=_term_cards(manifest),
        evaluations=manifest.evaluations,
        made_from=_made_from(manifest),
    )


def sums_of(manifest: Manifest) -> dict[str, LinearPredictor]:
    """Give the sums of a scorecard by the class or the target that each is the score of."""
    if manifest.scorecard is None:
        return {}
    target, sums = manifest.signature.target, manifest.scorecard.sums
    labels = target.classes if len(sums) > 1 else (target.positive or target.name,)
    return dict(zip(labels, sums, strict=True))


def places(
    feature: Feature, terms: Sequence[Term], golden: Iterable[GoldenRow]
) -> dict[Value, str]:
    """Choose where to look at terms of a feature: values, with what they stand for in words.

    A curve is looked at between the numbers that training and golden rows have.
    """
    tables = [term for term in terms if isinstance(term, TableTerm)]
    found: dict[Value, str] = {
        level: feature.labels.get(str(level))
        or (EMPTY_TEXT if level == "" else format_value(level))
        for t in tables
        for level in t.levels
    }
    if any(not isinstance(term, TableTerm | StepTerm) for term in terms):
        steps = 1 if all(isinstance(term, SlopeTerm) for term in terms) else _SAMPLES
        found |= {number: format_value(number) for number in _samples(feature, golden, steps)}
    edges = {edge for term in terms if isinstance(term, StepTerm) for edge in term.edges}
    if edges or not found:
        found |= _intervals(sorted(edges))
    if feature.nullable:
        found[None] = "missing"
    if tables and takes_unseen(feature):
        found[_NEVER_SEEN] = "never seen"
    return found


def points_at(term: Term, value: Value) -> float | None:
    """Look up what a term adds; None where it has no answer."""
    try:
        points = term.compile_points()(value)
    except TypeError:
        # Another version's feature of this name takes texts, and this one does not.
        return None
    return points if math.isfinite(points) else None


def _about(manifest: Manifest) -> dict[str, Any]:
    """Give by name what is said of a version as a whole."""
    target = msgspec.structs.asdict(manifest.signature.target)
    facts = {name: getattr(manifest, name) for name in _FACTS}
    facts["engine"] = "scorecard" if manifest.scorecard else f"pickle: {manifest.reason}"
    if manifest.scorecard is not None and manifest.scorecard.is_log_odds:
        facts["score"] = "log-odds"
    facts |= {f"target_{name}": value for name, value in target.items()}
    return facts | input_facts(manifest.signature)


def input_facts(signature: Signature) -> dict[str, Any]:
    """Give by name what a version takes as a whole, where that is not the ordinary."""
    facts: dict[str, Any] = {"input": signature.input, "ignored": sorted(signature.ignored)}
    if signature.missing != MISSING_TEXTS:
        facts["missing"] = [EMPTY_TEXT if text == "" else text for text in signature.missing]
    if signature.transform_output != "default":
        facts["transform_output"] = signature.transform_output
    return {name: fact for name, fact in facts.items() if fact}


def _made_from(manifest: Manifest) -> dict[str, Any]:
    """Give by name what a version was made from; of a learning curve only what it says."""
    facts = msgspec.structs.asdict(manifest.training)
    curve = facts.pop("learning_curve")
    told = {} if curve is None else {"rows_recommended": curve.recommended}
    return facts | told | manifest.libraries


def _samples(feature: Feature, golden: Iterable[GoldenRow], steps: int) -> list[float]:
    """Give numbers from the least to the greatest known one, in equal steps."""
    known = [*(feature.seen or ()), feature.example, *(r.record.get(feature.name) for r in golden)]
    numbers = [float(each) for each in known if isinstance(each, int | float)]
    if not numbers:
        return []
    low, high = min(numbers), max(numbers)
    return [*(low + (high - low) * i / steps for i in range(steps)), high]


def _intervals(edges: Sequence[float]) -> dict[Value, str]:
    """Give a number of each interval between edges: the one that it starts from."""
    if not edges:
        return {0.0: "any"}
    found: dict[Value, str] = {math.nextafter(edges[0], -math.inf): f"<{format_value(edges[0])}"}
    found |= {
        start: f"{format_value(start)} to <{format_value(end)}" for start, end in pairwise(edges)
    }
    return found | {edges[-1]: f"≥{format_value(edges[-1])}"}


def _term_cards(manifest: Manifest) -> tuple[TermCard, ...]:
    """Describe the terms, those with the largest reach first."""
    cards = [
        _term_card(label, feature, term, manifest.golden)
        for label, each in sums_of(manifest).items()
        for feature, term in zip(manifest.signature.features, each.terms, strict=True)
    ]
    return tuple(sorted(cards, key=lambda card: -card.reach))


def _term_card(label: str, feature: Feature, term: Term, golden: Sequence[GoldenRow]) -> TermCard:
    """Look at a term everywhere."""
    chosen = places(feature, [term], golden)
    looked_at = tuple(Place(text, points_at(term, value)) for value, text in chosen.items())
    points = [place.points for place in looked_at if place.points is not None]
    low, high = min(points, default=0.0), max(points, default=0.0)
    slope = term.slope if isinstance(term, SlopeTerm) else None
    return TermCard(feature.name, label, low, high, high - low, slope, looked_at)


def card_text(card: Card) -> str:
    """Write a card for a terminal of 100 columns."""
    return format_sections(
        {
            "MODEL VERSION": _facts(card.about),
            "FEATURES": format_table([_feature_row(feature) for feature in card.features]),
            "TERMS, the largest reach first": _terms_text(card),
            "METRICS": _metrics_text(card.evaluations),
            "MADE FROM": _facts(card.made_from),
        }
    )


def _facts(facts: dict[str, Any]) -> list[str]:
    """Write what is known, by name."""
    texts = [(name, format_value(value)) for name, value in facts.items()]
    return format_table([row for row in texts if row[1] != "none"])


def _feature_row(feature: Feature) -> tuple[str, ...]:
    """Say what a feature takes and means."""
    values = accepted_values(feature)
    missing = f"{';' if ':' in values else ','} or missing" if feature.nullable else ""
    missing += " with a warning" if feature.nullable and feature.complete else ""
    told = [values + missing, *filter(None, [meaning(feature)]), *remarks(feature)]
    return feature.name, feature.kind, ". ".join(text.removesuffix(".") for text in told)


def _terms_text(card: Card) -> list[str]:
    """Write where the sums start, and then the terms that make a difference."""
    if not card.terms:
        return []
    digits = decimal_places(end for term in card.terms for end in (term.low, term.high))
    starts = (
        f"{format_signed(start, digits)} for {label}" for label, start in card.intercepts.items()
    )
    lines = wrap_text("  ", f"the score starts at {', '.join(starts)}")
    told = [term for term in card.terms[:_MOST_TERMS] if term.reach]
    for term in told:
        name = f"{term.feature} for {term.label}" if len(card.intercepts) > 1 else term.feature
        slope = "" if term.slope is None else f", slope {term.slope:+.3g}"
        ends = f"{format_signed(term.low, digits)} to {format_signed(term.high, digits)}{slope}"
        lines += [
            *wrap_text("  ", f"{name}: {ends}"),
            *wrap_text("    ", _places_text(term, digits)),
        ]
    left = len(card.terms) - len(told)
    return [*lines, f"  and {left} of less reach, or of none: see --json"] if left else lines


def _places_text(term: TermCard, digits: int) -> str:
    """Write the places of a term; of many those with the most and the least points."""
    shown = [
        f"{truncate(place.text)} {format_signed(place.points, digits)}" for place in term.places
    ]
    if len(shown) > _MOST_PLACES:
        order = sorted(range(len(shown)), key=lambda i: -(term.places[i].points or 0.0))
        shown = [*(shown[i] for i in order[:4]), "…", *(shown[i] for i in order[-4:])]
    return "  ".join(text.replace(" ", "\N{NO-BREAK SPACE}") for text in shown)


def _metrics_text(evaluations: dict[str, Evaluation]) -> list[str]:
    """Write every evaluation as a table with a column for each model."""
    lines: list[str] = []
    for name, each in evaluations.items():
        rows = f"fitted on {each.rows_fit:,}, tested on {each.rows_test:,} rows"
        lines += wrap_text("  ", f"{name}: {each.description}; {rows}")
        models = [msgspec.structs.asdict(its) for its in each.scores.values()]
        scores = dict.fromkeys(score for its in models for score in its)
        cells = [[score, *(format_value(its.get(score)) for its in models)] for score in scores]
        lines += format_table([["", *each.scores], *cells])
    return lines
