"""What has changed from one model version to another, the largest effect first.

Both versions' terms are looked up in the same places: those where either is looked at on its
card. The effect of a change is the largest difference that it makes there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from slipway.core.text_tables import (
    decimal_places,
    format_sections,
    format_signed,
    format_table,
    format_value,
)
from slipway.models.features import Feature, Value
from slipway.models.manifest import GoldenRow, Manifest
from slipway.models.scorecard import Term
from slipway.models.signature import Signature
from slipway.reports.formatting import EMPTY_TEXT
from slipway.reports.model_card import Card, describe_card, places, points_at, sums_of

_FACTS = (
    *("unit", "minimum", "maximum", "seen", "closed", "nullable"),
    *("dtype", "ordered", "complete", "whole", "infinite", "answered"),
)

Pair = tuple[Term | None, Term | None]


class Change(msgspec.Struct, frozen=True):
    """A fact that is not the same; None where a version does not have it."""

    what: str
    before: Any
    after: Any


class TermChange(msgspec.Struct, frozen=True):
    """A term that adds something else.

    Attributes
    ----------
    feature, label : str
        The label is the class or the target whose score it is.
    effect : float
        The largest difference.
    where : str
        The place of it, in words.
    before, after : float, optional
        What both versions add there; None where one has no such term, or no answer.
    """

    feature: str
    label: str
    effect: float
    where: str
    before: float | None
    after: float | None


class Difference(msgspec.Struct, frozen=True):
    """All that differs between two versions, the largest effect first.

    Attributes
    ----------
    verdict : {"same", "equal", "different"}
        The same file; equal answers to golden rows and equal terms, as far as there are any;
        or neither.
    golden : int
        How many golden rows have an answer from both.
    moved : float
        How far their answers lie apart at most.
    about, features, metrics, made_from : tuple of Change
    terms : tuple of TermChange, optional
        The intercept is one of them. None where they cannot be compared.
    """

    verdict: str
    golden: int
    moved: float
    about: tuple[Change, ...]
    terms: tuple[TermChange, ...] | None
    features: tuple[Change, ...]
    metrics: tuple[Change, ...]
    made_from: tuple[Change, ...]


def compare(a: Manifest, b: Manifest) -> Difference:
    """Compare two model versions, as a rule an earlier and a later one."""
    one, other = describe_card(a), describe_card(b)
    about = _changes(one.about, other.about)
    changed = {change.what for change in about}
    same_target = not changed & {"target_classes", "target_positive"}
    moves = _moves(a, b) if same_target else []
    terms = _terms(a, b) if same_target else None
    nothing_known = "sha256" in changed and not moves and terms is None
    differs = any(moves) or terms or "threshold" in changed or not same_target or nothing_known
    metrics = _changes(_metrics(one), _metrics(other))
    return Difference(
        verdict="different" if differs else "equal" if "sha256" in changed else "same",
        golden=len(moves),
        moved=max(moves, default=0.0),
        about=about,
        terms=terms,
        features=_feature_changes(a.signature, b.signature),
        metrics=tuple(sorted(metrics, key=lambda each: -_apart(each.before, each.after))),
        made_from=_changes(one.made_from, other.made_from),
    )


def _apart(x: float | None, y: float | None) -> float:
    """Give the distance of two numbers, zero but for their last bits; what is not there is 0."""
    x, y = x or 0.0, y or 0.0
    return 0.0 if math.isclose(x, y, rel_tol=1e-9, abs_tol=1e-12) else abs(x - y)


def _moves(a: Manifest, b: Manifest) -> list[float]:
    """Say of each golden row that has answers from both how far they lie apart."""
    ours, theirs = _answers(a, b.golden), _answers(b, a.golden)
    return [max(map(_apart, ours[row], theirs[row])) for row in ours if row in theirs]


def _answers(manifest: Manifest, others: Iterable[GoldenRow]) -> dict[Any, tuple[float, ...]]:
    """Give the answers to a version's own golden rows and, by its scorecard, to the other's."""
    answers = []
    if manifest.scorecard is not None:
        answer = manifest.scorecard.compile_answers()
        for row in others:
            record, errors, _ = manifest.signature.check(row.record)
            answers += [] if errors else [(row.record, answer([record])[0])]
    answers += [(row.record, row.answer) for row in manifest.golden]
    tuples = ((row, each if isinstance(each, tuple) else (each,)) for row, each in answers)
    return {frozenset(row.items()): each for row, each in tuples if all(map(math.isfinite, each))}


def _terms(a: Manifest, b: Manifest) -> tuple[TermChange, ...] | None:
    """Hold the terms of every sum against each other, if both lead to the same kind of answer."""
    cards = [each.scorecard for each in (a, b) if each.scorecard is not None]
    links = [(each.softmax, *(total.link for total in each.sums)) for each in cards]
    if len(links) < 2 or links[0] != links[1]:
        return None
    changes = []
    for (label, new), old in zip(sums_of(b).items(), sums_of(a).values(), strict=True):
        ends = old.intercept, new.intercept
        changes.append(TermChange("intercept", label, _apart(*ends), "every value", *ends))
        before, after = ({term.feature: term for term in each.terms} for each in (old, new))
        for name in before | after:
            features = [m.signature.by_name[name] for m in (a, b) if name in m.signature.by_name]
            pair = before.get(name), after.get(name)
            changes.append(_term(label, features, pair, (*a.golden, *b.golden)))
    moved = (change for change in changes if change.effect)
    return tuple(sorted(moved, key=lambda change: -change.effect))


def _term(
    label: str, features: list[Feature], pair: Pair, golden: Sequence[GoldenRow]
) -> TermChange:
    """Find the place where two terms of a feature lie the furthest apart."""
    terms = [term for term in pair if term is not None]
    found = []
    for value, where in (item for f in features for item in places(f, terms, golden).items()):
        before, after = (None if term is None else points_at(term, value) for term in pair)
        effect = _apart(before, after)
        found.append(TermChange(features[0].name, label, effect, where, before, after))
    return max(found, key=lambda change: change.effect)


def _changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Change, ...]:
    """Give what is not the same under the same name."""
    names = dict.fromkeys((*a, *b))
    return tuple(Change(n, a.get(n), b.get(n)) for n in names if a.get(n) != b.get(n))


def _feature_changes(a: Signature, b: Signature) -> tuple[Change, ...]:
    """Compare what the versions take; of categories only those that one version knows."""
    kinds = ({each.name: each.kind for each in signature.features} for signature in (a, b))
    changes = list(_changes(*kinds))
    for old, new in ((a.by_name[name], b.by_name[name]) for name in a.names if name in b.by_name):
        before, after = ({f"{new.name}, {k}": getattr(f, k) for k in _FACTS} for f in (old, new))
        changes += [*_changes(before, after), *_category_changes(old, new)]
    return tuple(changes)


def _category_changes(old: Feature, new: Feature) -> list[Change]:
    """Compare the known values, and their order where that counts."""
    gone = tuple(_named(each) for each in old.categories if each not in new.known)
    come = tuple(_named(each) for each in new.categories if each not in old.known)
    if gone or come:
        return [Change(f"{new.name}, categories", gone, come)]
    if old.ordered and new.ordered and old.categories != new.categories:
        return [Change(f"{new.name}, order of categories", old.categories, new.categories)]
    return []


def _named(category: Value) -> Value:
    """Name a category; the empty text would look like none."""
    return EMPTY_TEXT if category == "" else category


def _metrics(card: Card) -> dict[str, Any]:
    """Give this model's own scores, by evaluation and name."""
    return {
        f"{name}, {score}": value
        for name, each in card.evaluations.items()
        if "model" in each.scores
        for score, value in msgspec.structs.asdict(each.scores["model"]).items()
    }


def difference_text(difference: Difference) -> str:
    """Write a difference for a terminal of 100 columns."""
    golden = f"{difference.golden} golden rows compared, moved by {difference.moved:.3g} at most"
    return format_sections(
        {
            difference.verdict.upper(): [f"  {golden}"],
            "VERSION": _lines(difference.about),
            "TERMS": _term_lines(difference.terms),
            "FEATURES": _lines(difference.features),
            "METRICS": _lines(difference.metrics),
            "MADE FROM": _lines(difference.made_from),
        }
    )


def _lines(changes: Iterable[Change]) -> list[str]:
    """Write facts of both versions and, of numbers, by how much they differ."""
    rows = []
    for each in changes:
        numbers = all(type(value) in (int, float) for value in (each.before, each.after))
        by = f" ({each.after - each.before:+.6g})" if numbers else ""
        rows.append((each.what, f"{format_value(each.before)} → {format_value(each.after)}{by}"))
    return format_table(rows)


def _term_lines(terms: Sequence[TermChange] | None) -> list[str]:
    """Write the terms that add something else."""
    if terms is None:
        return ["  cannot be compared"]
    digits = decimal_places(each.effect for each in terms)
    rows = []
    for each in terms:
        ends = (
            "none" if x is None else format_signed(x, digits) for x in (each.before, each.after)
        )
        effect = f"by {each.effect:.3g}"
        rows.append((each.feature, each.label, effect, " → ".join(ends), f"at {each.where}"))
    return format_table(rows)
