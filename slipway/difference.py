"""What has changed from one model version to another, the largest effect first.

The effect of a changed term is how far it moves the score. Both versions' terms are looked up in
the same places: every level and every interval of either, numbers along a slope or a curve, the
values of the golden rows, and a missing and an unseen value where they can come.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import msgspec

from slipway.card import (
    SCORES,
    Place,
    Span,
    aligned,
    brief,
    counted,
    is_constant,
    page,
    percent,
    places,
    points_like,
    samples,
    score_name,
    score_text,
    scores_of,
    shortened,
    span_of,
    span_text,
    sum_labels,
    sums_of,
    takes_unseen,
    value_name,
    values_text,
    wrapped,
)
from slipway.manifest import GoldenRow, Manifest
from slipway.scorecard import Answer, Table, Term
from slipway.signature import Feature, Record, Value

EQUAL = 1e-12
_LONGEST_NAME = 32
_NOT_SEEN = "\0never seen"

Verdict = Literal["same model", "equal answers", "equal on golden rows", "different"]
Status = Literal["added", "removed", "changed"]


class Side(msgspec.Struct, frozen=True):
    """One of the two versions."""

    name: str
    version: str
    created: str
    sha256: str
    estimator: str
    engine: str
    reason: str


class Change(msgspec.Struct, frozen=True):
    """A fact that is not the same; None where a version does not have it."""

    what: str
    before: Any
    after: Any


class AnswerChange(msgspec.Struct, frozen=True):
    """How far the answers to golden rows lie apart.

    Attributes
    ----------
    records : int
        How many golden rows of either both versions take and have an answer for.
    mean, maximum : float
        Of the absolute difference; of several classes the one that moves the most.
    labels : int, optional
        How many get another label; None for a number.
    """

    records: int
    mean: float
    maximum: float
    labels: int | None


class FeatureChange(msgspec.Struct, frozen=True):
    """A feature that one version does not take, or takes otherwise.

    Attributes
    ----------
    name : str
    status : {"added", "removed", "changed"}
    kind : str
        In the later version that has it.
    values : str
        What it takes there, in words.
    changes : tuple of Change
        Of kind, unit, range, seen, nullable and closed.
    new, gone : tuple
        Categories that only one version knows.
    """

    name: str
    status: Status
    kind: str
    values: str
    changes: tuple[Change, ...] = ()
    new: tuple[Value, ...] = ()
    gone: tuple[Value, ...] = ()


class TermChange(msgspec.Struct, frozen=True):
    """A term that moves the score by another amount.

    Attributes
    ----------
    feature : str
    label : str
        The class or the target whose score it is.
    status : {"added", "removed", "changed"}
    maximum, mean : float
        Of the absolute difference, over all places.
    where : str
        The place of the maximum, in words.
    value : float, int, str or bool, optional
        The value there; None where it is a missing or an unseen one.
    before, after : float
        What both versions add there; a version without the feature adds nothing.
    undefined : int
        In how many places only one version has an answer.
    """

    feature: str
    label: str
    status: Status
    maximum: float
    mean: float
    where: str
    value: Value
    before: float | None
    after: float | None
    undefined: int


class MetricChange(msgspec.Struct, frozen=True):
    """A score of an evaluation; None where a version does not have it."""

    evaluation: str
    model: str
    score: str
    before: float | None
    after: float | None


class Difference(msgspec.Struct, frozen=True):
    """All that differs between two versions.

    Attributes
    ----------
    a, b : Side
    verdict : {"same model", "equal answers", "equal on golden rows", "different"}
        The same pickle; the same sum; without two scorecards, the same answers as far as both
        have golden rows in common; or none of these.
    answers : AnswerChange, optional
        None where no golden row can be compared.
    score : str
        What the terms add up to: log-odds, value or score.
    settings : tuple of Change
        Name, title, estimator, engine, target, threshold, base rate and intercepts.
    features : tuple of FeatureChange
    terms : tuple of TermChange
        The largest effect first.
    unchanged : tuple of str
        Features whose terms were compared and are equal.
    not_compared : str
        Why the terms could not be.
    metrics : tuple of MetricChange
        By evaluation, the largest change first.
    training, libraries : tuple of Change
    """

    a: Side
    b: Side
    verdict: Verdict
    answers: AnswerChange | None
    score: str
    settings: tuple[Change, ...]
    features: tuple[FeatureChange, ...]
    terms: tuple[TermChange, ...]
    unchanged: tuple[str, ...]
    not_compared: str
    metrics: tuple[MetricChange, ...]
    training: tuple[Change, ...]
    libraries: tuple[Change, ...]


def compare(a: Manifest, b: Manifest) -> Difference:
    """Compare two model versions.

    Parameters
    ----------
    a, b : Manifest
        The earlier and the later one, as a rule.

    Returns
    -------
    Difference
    """
    not_compared = _why_not(a, b)
    gaps = [] if not_compared else _gaps(a, b)
    terms = [gap.change for gap in gaps if gap.change.maximum > EQUAL or gap.change.undefined]
    moved = {term.feature for term in terms}
    answers = _answers(a, b)
    return Difference(
        a=_side(a),
        b=_side(b),
        verdict=_verdict(a, b, gaps, answers, bool(not_compared)),
        answers=answers,
        score=score_name(b if b.scorecard else a),
        settings=_settings(a, b),
        features=_features(a, b),
        terms=tuple(sorted(terms, key=lambda term: -term.maximum)),
        unchanged=tuple(dict.fromkeys(g.feature for g in gaps if g.feature not in moved)),
        not_compared=not_compared,
        metrics=_metrics(a, b),
        training=_training(a, b),
        libraries=_of_dicts(a.libraries, b.libraries),
    )


class _Gap(NamedTuple):
    """One feature's two terms, held against each other."""

    feature: str
    label: str
    change: TermChange
    # By how much they differ everywhere; None where that is not the same everywhere.
    constant: float | None


def _side(manifest: Manifest) -> Side:
    engine = "scorecard" if manifest.scorecard else "pickle"
    return Side(
        manifest.name,
        manifest.version,
        manifest.created,
        manifest.sha256,
        manifest.estimator,
        engine,
        manifest.reason,
    )


# The terms


def _why_not(a: Manifest, b: Manifest) -> str:
    """Say why the terms of two versions cannot be held against each other."""
    for name, manifest in (("A", a), ("B", b)):
        if manifest.scorecard is None:
            return f"{name} has no scorecard"
    if a.signature.target.task != b.signature.target.task:
        return "one predicts another kind of target than the other"
    if sum_labels(a) != sum_labels(b) and a.signature.target.task != "regression":
        return "their classes are not the same"
    if _scale(a) != _scale(b):
        return "their scores are not on the same scale"
    return ""


def _scale(manifest: Manifest) -> tuple[Any, ...]:
    """Give what makes an answer of the scores."""
    softmax = manifest.scorecard is not None and manifest.scorecard.softmax
    return softmax, *(each.link for each in sums_of(manifest))


def _gaps(a: Manifest, b: Manifest) -> list[_Gap]:
    """Hold the terms of every feature and every class against each other."""
    names = dict.fromkeys((*a.signature.names, *b.signature.names))
    gaps = []
    for label, one, other in zip(sum_labels(b), sums_of(a), sums_of(b), strict=True):
        terms = [{term.feature: term for term in each.terms} for each in (one, other)]
        for name in names:
            pair = terms[0].get(name), terms[1].get(name)
            gaps.append(_gap(name, label, pair, _looked_at(name, pair, a, b)))
    return gaps


def _looked_at(
    name: str, pair: tuple[Term | None, Term | None], a: Manifest, b: Manifest
) -> list[Place]:
    """Choose the places where two terms of a feature are looked up, each value once."""
    features = [m.signature.by_name[name] for m in (a, b) if name in m.signature.by_name]
    terms = [term for term in pair if term is not None]
    rows = (*a.golden, *b.golden)
    span = _widest(span_of(feature, rows) for feature in features)
    found = places(terms, features[-1], span)
    found += _between(terms, span) + _golden_places(features[-1], rows)
    if any(feature.nullable for feature in features):
        found.append(Place("missing", None))
    if any(takes_unseen(feature, terms) for feature in features):
        found.append(Place("never seen", _NOT_SEEN))
    # The order must not depend on which version comes first.
    unique = {(isinstance(p.value, str), p.value): p for p in reversed(found)}
    return sorted(unique.values(), key=lambda p: (str(type(p.value)), str(p.value)))


def _widest(spans: Iterable[Span | None]) -> Span | None:
    """Give the span that holds all of them."""
    known = [span for span in spans if span is not None]
    return (min(low for low, _ in known), max(high for _, high in known)) if known else None


def _between(terms: Sequence[Term], span: Span | None) -> list[Place]:
    """Give more numbers where terms are curves, whose largest gap can be anywhere."""
    curved = any(term.__struct_config__.tag in ("bent", "mixed") for term in terms)
    return [Place(brief(x, 4), x) for x in samples(span)] if curved else []


def _golden_places(feature: Feature, rows: Iterable[GoldenRow]) -> list[Place]:
    """Give the values that golden rows have for a feature."""
    values = dict.fromkeys(row.record.get(feature.name) for row in rows)
    return [Place(value_name(feature, value), value) for value in values if value is not None]


def _gap(
    name: str, label: str, pair: tuple[Term | None, Term | None], looked_at: Sequence[Place]
) -> _Gap:
    """Measure how far two terms lie apart; one that is not there adds nothing."""
    before, after = ([_points(term, place.value) for place in looked_at] for term in pair)
    pairs = list(zip(before, after, strict=True))
    undefined = sum(math.isfinite(x) != math.isfinite(y) for x, y in pairs)
    known = [i for i, (x, y) in enumerate(pairs) if math.isfinite(y - x)]
    differences = [after[i] - before[i] for i in known]
    at = max(known, key=lambda i: abs(after[i] - before[i]), default=None)
    value = None if at is None else looked_at[at].value
    change = TermChange(
        feature=name,
        label=label,
        status="added" if pair[0] is None else "removed" if pair[1] is None else "changed",
        maximum=max(map(abs, differences), default=0.0),
        mean=math.fsum(map(abs, differences)) / max(1, len(differences)),
        where="" if at is None else looked_at[at].text,
        value=None if value == _NOT_SEEN else value,
        before=None if at is None else before[at],
        after=None if at is None else after[at],
        undefined=undefined,
    )
    same = not undefined and max(differences, default=0.0) - min(differences, default=0.0) <= EQUAL
    return _Gap(name, label, change, max(differences, default=0.0) if same else None)


def _points(term: Term | None, value: Value) -> float:
    """Look a value up; a term that is not there, or takes no texts, adds nothing for it."""
    texts = isinstance(term, Table) or (term is not None and is_constant(term))
    if term is None or (isinstance(value, str) and not texts):
        return 0.0
    return term.lookup()(value)


# The answers


def _answers(a: Manifest, b: Manifest) -> AnswerChange | None:
    """Compare the answers to the golden rows that both versions take."""
    if a.signature.target.classes != b.signature.target.classes:
        return None
    if a.signature.target.positive != b.signature.target.positive:
        return None
    ours, theirs = _known_answers(a, b), _known_answers(b, a)
    shared = [record for record in ours if record in theirs]
    moved = [_moved(ours[record], theirs[record]) for record in shared]
    if not moved:
        return None
    labels = None
    if a.signature.target.classes:
        labels = sum(_label(a, ours[record]) != _label(b, theirs[record]) for record in shared)
    return AnswerChange(len(moved), math.fsum(moved) / len(moved), max(moved), labels)


def _known_answers(manifest: Manifest, other: Manifest) -> dict[frozenset[Any], Answer]:
    """Give a version's answers to its own golden rows and, by its scorecard, to the other's."""
    answers = {_key(row): row.answer for row in manifest.golden}
    records: dict[frozenset[Any], Record] = {}
    for row in other.golden:
        record, errors, _ = manifest.signature.check(row.record)
        if not errors:
            records[_key(row)] = record
    if manifest.scorecard is not None and records:
        scored = manifest.scorecard.answerer()(list(records.values()))
        answers = dict(zip(records, scored, strict=True)) | answers
    return answers


def _key(row: GoldenRow) -> frozenset[Any]:
    """Make a record comparable, whatever the order of its features."""
    return frozenset(row.record.items())


def _moved(one: Answer, other: Answer) -> float:
    """Give the distance of two answers."""
    if isinstance(one, tuple) and isinstance(other, tuple):
        return max(abs(x - y) for x, y in zip(one, other, strict=True))
    if isinstance(one, tuple) or isinstance(other, tuple):
        return math.inf
    return abs(one - other)


def _label(manifest: Manifest, answer: Answer) -> int | bool:
    """Give the label as a number, as the service would choose it."""
    if isinstance(answer, tuple):
        return answer.index(max(answer))
    threshold = 0.5 if manifest.threshold is None else manifest.threshold
    return answer >= threshold


def _verdict(
    a: Manifest,
    b: Manifest,
    gaps: Sequence[_Gap],
    answers: AnswerChange | None,
    not_compared: bool,
) -> Verdict:
    """Say how far two versions are the same."""
    if a.sha256 == b.sha256 and a.sha256:
        return "same model"
    if a.threshold != b.threshold:
        return "different"
    if not not_compared:
        return "equal answers" if _equal_sums(a, b, gaps) else "different"
    alike = answers is not None and answers.maximum <= EQUAL and not answers.labels
    return "equal on golden rows" if alike else "different"


def _equal_sums(a: Manifest, b: Manifest, gaps: Sequence[_Gap]) -> bool:
    """Whether two scorecards are the same sum, if centred on other rows."""
    for label, one, other in zip(sum_labels(b), sums_of(a), sums_of(b), strict=True):
        constants = [gap.constant for gap in gaps if gap.label == label]
        if any(constant is None for constant in constants):
            return False
        total = math.fsum(c for c in (*constants, other.intercept, -one.intercept) if c is not None)
        if abs(total) > EQUAL * max(1.0, abs(one.intercept)) * max(1, len(constants)):
            return False
    return True


# The rest of the manifest


def _settings(a: Manifest, b: Manifest) -> tuple[Change, ...]:
    """Compare what is said of a version as a whole."""
    return _of_dicts(_setting_values(a), _setting_values(b))


def _setting_values(manifest: Manifest) -> dict[str, Any]:
    """Give the facts by name, in the order in which they are told."""
    target = manifest.signature.target
    reason = f", because there is {manifest.reason}" if manifest.reason else ""
    sums = sums_of(manifest)
    labels = sum_labels(manifest)
    return {
        "name": manifest.name,
        "title": manifest.title,
        "estimator": manifest.estimator,
        "engine": "scorecard" if sums else f"pickle{reason}",
        "target": target.name,
        "classes": list(target.classes),
        "positive class": target.positive,
        "unit": target.unit,
        "threshold": manifest.threshold,
        "base rate": manifest.base_rate,
    } | {
        f"intercept of {label}" if len(sums) > 1 else "intercept": each.intercept
        for label, each in zip(labels, sums, strict=True)
    }


def _of_dicts(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Change, ...]:
    """Give what is not the same under the same name."""
    names = dict.fromkeys((*a, *b))
    return tuple(Change(n, a.get(n), b.get(n)) for n in names if not _same(a.get(n), b.get(n)))


def _same(a: Any, b: Any) -> bool:
    """Whether two facts are equal, floats but for their last bits."""
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=EQUAL, abs_tol=EQUAL)
    return bool(a == b)


def _features(a: Manifest, b: Manifest) -> tuple[FeatureChange, ...]:
    """Compare what the versions take."""
    ours, theirs = a.signature.by_name, b.signature.by_name
    gone = [_only(feature, "removed") for name, feature in ours.items() if name not in theirs]
    new = [_only(feature, "added") for name, feature in theirs.items() if name not in ours]
    both = (_feature(ours[name], theirs[name]) for name in theirs if name in ours)
    return (*new, *gone, *(each for each in both if each.changes or each.new or each.gone))


def _only(feature: Feature, status: Status) -> FeatureChange:
    return FeatureChange(feature.name, status, feature.kind, values_text(feature))


def _feature(a: Feature, b: Feature) -> FeatureChange:
    """Compare a feature that both versions take."""
    old, new = set(a.categories), set(b.categories)
    return FeatureChange(
        name=b.name,
        status="changed",
        kind=b.kind,
        values=values_text(b),
        changes=_of_dicts(_feature_facts(a), _feature_facts(b)),
        new=tuple(each for each in b.categories if each not in old),
        gone=tuple(each for each in a.categories if each not in new),
    )


def _feature_facts(feature: Feature) -> dict[str, Any]:
    """Give what decides whether an input is taken, and with a warning."""
    ends = (feature.minimum, feature.maximum)
    return {
        "kind": feature.kind,
        "unit": feature.unit,
        "range": None if ends == (None, None) else ends,
        "seen": feature.seen,
        "nullable": feature.nullable,
        "closed": feature.closed,
    }


def _metrics(a: Manifest, b: Manifest) -> tuple[MetricChange, ...]:
    """Compare every score of every evaluation."""
    ours, theirs = _scores(a), _scores(b)
    names = dict.fromkeys((*theirs, *ours))
    evaluations = list(dict.fromkeys(name[0] for name in names))
    changes = [
        MetricChange(*name, before=ours.get(name), after=theirs.get(name))
        for name in names
        if ours.get(name) != theirs.get(name)
    ]
    return tuple(sorted(changes, key=lambda c: (evaluations.index(c.evaluation), -_by(c))))


def _by(change: MetricChange) -> float:
    """Give how far a score has moved; one that came or went has moved the furthest."""
    if change.before is None or change.after is None:
        return math.inf
    return abs(change.after - change.before)


def _scores(manifest: Manifest) -> dict[tuple[str, str, str], float]:
    """Give the scores by evaluation, model and name."""
    return {
        (name, model, score): value
        for name, evaluation in manifest.evaluations.items()
        for model, its in scores_of(evaluation.scores).items()
        for score, value in its.items()
    }


def _training(a: Manifest, b: Manifest) -> tuple[Change, ...]:
    """Compare what the versions were made from; the seconds it took say nothing of a model."""
    ours, theirs = (msgspec.structs.asdict(each.training) for each in (a, b))
    return tuple(change for change in _of_dicts(ours, theirs) if change.what != "seconds")


# The text


def difference_text(difference: Difference) -> str:
    """Write a difference for a terminal of 100 columns.

    Parameters
    ----------
    difference : Difference

    Returns
    -------
    str
    """
    sections = (
        [*_sides(difference), "", *wrapped("", _conclusion(difference))],
        _changes_text("CHANGED", difference.settings),
        _terms_text(difference),
        _features_text(difference.features),
        _metrics_text(difference.metrics),
        _changes_text("MADE FROM", difference.training),
        _changes_text("MADE WITH", difference.libraries),
    )
    return page(line for section in sections if section for line in (*section, ""))


def _sides(difference: Difference) -> list[str]:
    """Name the two versions."""
    rows = [
        (letter, side.name, side.version, f"{side.estimator}, {side.engine}")
        for letter, side in (("A", difference.a), ("B", difference.b))
    ]
    return aligned(rows, indent=0)


def _conclusion(difference: Difference) -> str:
    """Say first what matters the most: whether answers differ."""
    if difference.verdict == "same model":
        rest = "what follows differs in the manifests alone"
        rest = rest if _differs(difference) else "nothing differs"
        return f"They are the same model: both pickles have the same sha256, {rest}."
    if difference.verdict == "equal answers":
        centred = " The terms are only centred on other rows." if difference.terms else ""
        return f"They give equal answers: their scorecards are the same sum.{centred}"
    return _answers_text(difference)


def _differs(d: Difference) -> bool:
    """Whether anything at all is to be told."""
    return bool(d.settings or d.features or d.terms or d.metrics or d.training or d.libraries)


def _answers_text(difference: Difference) -> str:
    """Say how far the answers to golden rows lie apart."""
    answers = difference.answers
    if answers is None:
        return "Their answers cannot be compared: no golden row has one from both."
    rows = counted(answers.records, "golden row")
    labels = ""
    if answers.labels is not None:
        many = "label changes" if answers.labels == 1 else "labels change"
        labels = f"; {answers.labels or 'no'} {many}"
    if answers.maximum <= EQUAL:
        # Only a scorecard can be equal everywhere; of a pickle no more can be known than this.
        return f"On {rows} their answers are equal{labels}."
    sizes = f"{_size(answers.mean)} in the mean, by {_size(answers.maximum)} at most"
    return f"On {rows} the answers move by {sizes}{labels}."


def _size(number: float) -> str:
    """Write a distance with three digits."""
    return f"{number:.3g}" if number < 1000 else f"{number:.0f}"


def _changes_text(title: str, changes: Sequence[Change]) -> list[str]:
    """Write facts of both versions side by side, or one below the other where they are long."""
    rows = [_change_row(change) for change in changes]
    if not rows:
        return []
    short = [row for row in rows if max(len(row[1]), len(row[2])) <= 26]
    lines = aligned([("", "A", "B", "B - A"), *short]) if short else []
    if not any(row[3] for row in short):
        lines = [line.removesuffix("B - A").rstrip() for line in lines]
    for name, before, after, _ in (row for row in rows if row not in short):
        lines += [f"  {name}", *wrapped("    A  ", before), *wrapped("    B  ", after)]
    return [title, "", *lines]


def _change_row(change: Change) -> tuple[str, str, str, str]:
    """Write a fact: its name, both values and, of numbers, by how much they differ."""
    what, before, after = change.what, change.before, change.after
    name = what.replace("_", " ")
    if what == "base rate":
        texts = ["" if x is None else percent(x) for x in (before, after)]
    elif what.startswith("intercept"):
        written = points_like((before, after))
        texts = ["" if x is None else written(x) for x in (before, after)]
    else:
        texts = [_fact(x) for x in (before, after)]
    return name, texts[0] or "none", texts[1] or "none", _by_how_much(change)


def _by_how_much(change: Change) -> str:
    """Write the difference of two numbers."""
    before, after = change.before, change.after
    if not (isinstance(before, int | float) and isinstance(after, int | float)):
        return ""
    if isinstance(before, int) and isinstance(after, int):
        return f"{after - before:+,}"
    if change.what == "base rate":
        return f"{100 * (after - before):+.2g} points"
    return f"{after - before:+.3g}"


def _fact(value: Any) -> str:
    """Write a value of any type."""
    if value is None or value in ("", [], ()):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return brief(value)
    if isinstance(value, dict):
        return "; ".join(f"{count:,} {why}" for why, count in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    # A hash is told by its start.
    return f"{value[:12]}…" if len(value) == 64 and value.isalnum() else str(value)


def _terms_text(difference: Difference) -> list[str]:
    """Write the changed terms, or why there is nothing to say of them."""
    if difference.not_compared and difference.verdict != "same model":
        why = f"The terms cannot be compared: {difference.not_compared}."
        return ["TERMS", "", *wrapped("  ", why)]
    if not difference.terms or difference.verdict == "equal answers":
        # Terms that are only centred on other rows have moved without any effect.
        return []
    several = len({term.label for term in difference.terms}) > 1
    amount = points_like((term.maximum for term in difference.terms), decimals=3)
    points = points_like(x for term in difference.terms for x in (term.before, term.after))
    rows = [("feature", *(["of"] if several else []), "most", "mean", "A", "B", "most at")]
    for term in difference.terms:
        name = shortened(term.feature, _LONGEST_NAME)
        name = name if term.status == "changed" else f"{name} ({term.status})"
        sizes = (amount(x).lstrip("+") for x in (term.maximum, term.mean))
        of = [shortened(term.label, 16)] if several else []
        rows.append((name, *of, *sizes, points(term.before), points(term.after), _where(term)))
    first = len(rows[0]) - 5
    title = f"TERMS, by how far they move the {difference.score}"
    lines = [title, "", *aligned(rows, range(first, first + 4))]
    if difference.unchanged:
        lines += wrapped("  ", f"unchanged: {', '.join(difference.unchanged)}")
    return lines


def _where(term: TermChange) -> str:
    """Say where a term has moved the most."""
    if not term.undefined:
        return term.where
    return f"{term.where}; only one has an answer in {counted(term.undefined, 'place')}"


def _features_text(features: Sequence[FeatureChange]) -> list[str]:
    """Write what the versions take otherwise."""
    signs = {"added": "+", "removed": "-", "changed": "~"}
    rows = [
        (signs[each.status], shortened(each.name, _LONGEST_NAME), _feature_text(each))
        for each in features
    ]
    return ["FEATURES", "", *aligned(rows)] if rows else []


def _feature_text(change: FeatureChange) -> str:
    """Say what has become of a feature."""
    if change.status != "changed":
        return f"{change.status}: {change.kind}, {change.values}"
    texts = [_feature_fact(each) for each in change.changes]
    for word, categories in (("new", change.new), ("gone", change.gone)):
        if categories:
            some = ", ".join(shortened(_fact(each), 28) for each in categories[:6])
            more = f" and {len(categories) - 6} more" if len(categories) > 6 else ""
            texts.append(f"{word}: {some}{more}")
    return "; ".join(texts)


def _feature_fact(change: Change) -> str:
    """Say how one thing about a feature has changed."""
    if change.what == "nullable":
        return "may be missing now" if change.after else "must be given now"
    if change.what == "closed":
        return "other categories are refused now" if change.after else "takes other categories now"
    before, after = (
        _span_text(each, change.what) if change.what in ("range", "seen") else _fact(each)
        for each in (change.before, change.after)
    )
    return f"{change.what} {before} → {after}"


def _span_text(ends: tuple[float | None, float | None] | None, what: str) -> str:
    """Write a range, of which an end may be open."""
    low, high = ends or (None, None)
    if low is not None and high is not None:
        return span_text((low, high))
    if low is None and high is None:
        return "any" if what == "range" else "not known"
    return f"{brief(low)} or more" if low is not None else f"{brief(high or 0.0)} or less"


def _metrics_text(metrics: Sequence[MetricChange]) -> list[str]:
    """Write this model's scores side by side; those of its rivals are in the JSON form."""
    rows = [("", "", "A", "B", "B - A")]
    for each in metrics:
        if each.model != "model":
            continue
        moved = ""
        if each.before is not None and each.after is not None:
            moved = f"{each.after - each.before:+.4f}"
        name = SCORES.get(each.score, each.score.replace("_", " "))
        texts = (score_text(each.before) or "none", score_text(each.after) or "none")
        rows.append((each.evaluation, name, *texts, moved))
    return ["METRICS", "", *aligned(_once(rows), (2, 3, 4))] if len(rows) > 1 else []


def _once(rows: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Leave out a first cell that is that of the row above."""
    made = [rows[0]]
    for above, row in pairwise(rows):
        made.append(("", *row[1:]) if row[0] == above[0] else row)
    return made
