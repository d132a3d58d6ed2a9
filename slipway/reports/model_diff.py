"""Differences between two model versions, the largest effect first.

The terms of both versions are evaluated at the same values: those on the card of either version.
The effect of a change is the largest difference at these values.
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
from slipway.reports.model_card import (
    Card,
    choose_values,
    describe_card,
    evaluate_term,
    predictors_by_label,
)

_FEATURE_FACTS = (
    *("unit", "minimum", "maximum", "seen", "closed", "nullable"),
    *("dtype", "ordered", "complete", "whole", "infinite", "answered"),
)

Pair = tuple[Term | None, Term | None]


class Change(msgspec.Struct, frozen=True):
    """A changed fact; None where a version does not have it."""

    what: str
    before: Any
    after: Any


class TermChange(msgspec.Struct, frozen=True):
    """A changed term.

    Attributes
    ----------
    feature, label : str
        The label is the class or the target of the score.
    effect : float
        The largest difference.
    where : str
        The value with this difference, as text.
    before, after : float, optional
        The points of both versions there; None where the term does not exist or is undefined.
    """

    feature: str
    label: str
    effect: float
    where: str
    before: float | None
    after: float | None


class Difference(msgspec.Struct, frozen=True):
    """The differences between two versions, the largest effect first.

    Attributes
    ----------
    verdict : {"same", "equal", "different"}
        ``same`` for the same file; ``equal`` for equal terms and equal predictions of golden rows,
        as far as these exist; otherwise ``different``.
    golden : int
        The number of golden rows that both versions have a prediction for.
    moved : float
        The largest distance between these predictions.
    about, features, metrics, made_from : tuple of Change
    terms : tuple of TermChange, optional
        Includes the intercept. None if the terms cannot be compared.
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
    """Compare two model versions, usually an earlier and a later one."""
    one, other = describe_card(a), describe_card(b)
    about = _list_changes(one.about, other.about)
    changed = {change.what for change in about}
    same_target = not changed & {"target_classes", "target_positive"}
    distances = _measure_golden_rows(a, b) if same_target else []
    terms = _compare_terms(a, b) if same_target else None
    nothing_known = "sha256" in changed and not distances and terms is None
    differs = any(distances) or terms or "threshold" in changed or not same_target or nothing_known
    metrics = _list_changes(_list_metrics(one), _list_metrics(other))
    return Difference(
        verdict="different" if differs else "equal" if "sha256" in changed else "same",
        golden=len(distances),
        moved=max(distances, default=0.0),
        about=about,
        terms=terms,
        features=_compare_features(a.signature, b.signature),
        metrics=tuple(sorted(metrics, key=lambda change: -_distance(change.before, change.after))),
        made_from=_list_changes(one.made_from, other.made_from),
    )


def _distance(x: float | None, y: float | None) -> float:
    """Return the distance of two numbers, ignoring rounding; None counts as 0."""
    x, y = x or 0.0, y or 0.0
    return 0.0 if math.isclose(x, y, rel_tol=1e-9, abs_tol=1e-12) else abs(x - y)


def _measure_golden_rows(a: Manifest, b: Manifest) -> list[float]:
    """Return the distance between the predictions of each golden row that has two."""
    first, second = _predict_golden_rows(a, b.golden), _predict_golden_rows(b, a.golden)
    return [max(map(_distance, first[row], second[row])) for row in first if row in second]


def _predict_golden_rows(
    manifest: Manifest, others: Iterable[GoldenRow]
) -> dict[Any, tuple[float, ...]]:
    """Return the predictions of a version's golden rows and, by its scorecard, of the others."""
    predictions = []
    if manifest.scorecard is not None:
        predict = manifest.scorecard.compile_answers()
        for row in others:
            record, errors, _ = manifest.signature.check(row.record)
            predictions += [] if errors else [(row.record, predict([record])[0])]
    predictions += [(row.record, row.answer) for row in manifest.golden]
    tuples = ((row, p if isinstance(p, tuple) else (p,)) for row, p in predictions)
    return {frozenset(row.items()): p for row, p in tuples if all(map(math.isfinite, p))}


def _compare_terms(a: Manifest, b: Manifest) -> tuple[TermChange, ...] | None:
    """Compare the terms of every sum; None if the links of the two versions differ."""
    cards = [m.scorecard for m in (a, b) if m.scorecard is not None]
    links = [(card.softmax, *(predictor.link for predictor in card.sums)) for card in cards]
    if len(links) < 2 or links[0] != links[1]:
        return None
    changes = []
    for (label, new), old in zip(
        predictors_by_label(b).items(), predictors_by_label(a).values(), strict=True
    ):
        intercepts = old.intercept, new.intercept
        changes.append(
            TermChange("intercept", label, _distance(*intercepts), "every value", *intercepts)
        )
        before, after = ({term.feature: term for term in sums.terms} for sums in (old, new))
        for name in before | after:
            features = [m.signature.by_name[name] for m in (a, b) if name in m.signature.by_name]
            pair = before.get(name), after.get(name)
            changes.append(_compare_term(label, features, pair, (*a.golden, *b.golden)))
    effective = (change for change in changes if change.effect)
    return tuple(sorted(effective, key=lambda change: -change.effect))


def _compare_term(
    label: str, features: list[Feature], pair: Pair, golden: Sequence[GoldenRow]
) -> TermChange:
    """Return the largest difference between two terms of a feature."""
    terms = [term for term in pair if term is not None]
    changes = []
    for value, where in (
        item for f in features for item in choose_values(f, terms, golden).items()
    ):
        before, after = (None if term is None else evaluate_term(term, value) for term in pair)
        effect = _distance(before, after)
        changes.append(TermChange(features[0].name, label, effect, where, before, after))
    return max(changes, key=lambda change: change.effect)


def _list_changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Change, ...]:
    """Return the facts that differ, by name."""
    names = dict.fromkeys((*a, *b))
    return tuple(Change(n, a.get(n), b.get(n)) for n in names if a.get(n) != b.get(n))


def _compare_features(a: Signature, b: Signature) -> tuple[Change, ...]:
    """Compare the features; of categories only those that one version lacks."""
    kinds = ({feature.name: feature.kind for feature in signature.features} for signature in (a, b))
    changes = list(_list_changes(*kinds))
    for old, new in ((a.by_name[name], b.by_name[name]) for name in a.names if name in b.by_name):
        before, after = (
            {f"{new.name}, {k}": getattr(f, k) for k in _FEATURE_FACTS} for f in (old, new)
        )
        changes += [*_list_changes(before, after), *_compare_categories(old, new)]
    return tuple(changes)


def _compare_categories(old: Feature, new: Feature) -> list[Change]:
    """Compare the known categories, and their order if it matters."""
    removed = tuple(_display_category(value) for value in old.categories if value not in new.known)
    added = tuple(_display_category(value) for value in new.categories if value not in old.known)
    if removed or added:
        return [Change(f"{new.name}, categories", removed, added)]
    if old.ordered and new.ordered and old.categories != new.categories:
        return [Change(f"{new.name}, order of categories", old.categories, new.categories)]
    return []


def _display_category(category: Value) -> Value:
    """Return a category for display, with a text for the empty one."""
    return EMPTY_TEXT if category == "" else category


def _list_metrics(card: Card) -> dict[str, Any]:
    """Return the scores of the model itself, by evaluation and name."""
    return {
        f"{name}, {score}": value
        for name, evaluation in card.evaluations.items()
        if "model" in evaluation.scores
        for score, value in msgspec.structs.asdict(evaluation.scores["model"]).items()
    }


def difference_text(difference: Difference) -> str:
    """Format a difference for a terminal of 100 columns."""
    golden = f"{difference.golden} golden rows compared, largest difference {difference.moved:.3g}"
    return format_sections(
        {
            difference.verdict.upper(): [f"  {golden}"],
            "VERSION": _format_changes(difference.about),
            "TERMS": _format_terms(difference.terms),
            "FEATURES": _format_changes(difference.features),
            "METRICS": _format_changes(difference.metrics),
            "MADE FROM": _format_changes(difference.made_from),
        }
    )


def _format_changes(changes: Iterable[Change]) -> list[str]:
    """Format the facts of both versions, with the difference of numbers."""
    rows = []
    for change in changes:
        is_numeric = all(type(value) in (int, float) for value in (change.before, change.after))
        difference = f" ({change.after - change.before:+.6g})" if is_numeric else ""
        rows.append(
            (
                change.what,
                f"{format_value(change.before)} → {format_value(change.after)}{difference}",
            )
        )
    return format_table(rows)


def _format_terms(terms: Sequence[TermChange] | None) -> list[str]:
    """Format the changed terms."""
    if terms is None:
        return ["  cannot be compared"]
    digits = decimal_places(term.effect for term in terms)
    rows = []
    for term in terms:
        points = (
            "none" if x is None else format_signed(x, digits) for x in (term.before, term.after)
        )
        effect = f"by {term.effect:.3g}"
        rows.append((term.feature, term.label, effect, " → ".join(points), f"at {term.where}"))
    return format_table(rows)
