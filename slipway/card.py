"""A model version on a card, for people at a terminal and, as JSON, for programs.

All of it comes from the manifest, so nothing is unpickled. ``slipway.difference`` compares two
versions with the same words and looks at their terms in the same places.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise, zip_longest
from typing import NamedTuple

import msgspec

from slipway.curve import through
from slipway.manifest import GoldenRow, Manifest, Training
from slipway.scorecard import Slope, Steps, Sum, Table, Term
from slipway.signature import Feature, Target, Value

WIDTH = 100
SCORES = {
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "log_loss": "log loss",
    "brier": "Brier score",
    "calibration_error": "calibration error",
}
_MOST_PLACES = 8
_SAMPLES = 60
_LONGEST_NAME = 32
_BLOCKS = "▁▂▃▄▅▆▇█"

Span = tuple[float, float]


class Place(NamedTuple):
    """Where a term is looked at: a level, an interval with a number inside it, or a number."""

    text: str
    value: Value
    start: float | None = None
    end: float | None = None


class Points(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a term adds in one place.

    Attributes
    ----------
    text : str
        The place in words.
    points : tuple of float or None
        One for each sum of the model; None where the term is not defined.
    value : float, int, str or bool, optional
        The level, or the number that was looked up.
    start, end : float, optional
        Of an interval; the start belongs to it. One that is absent is infinite.
    """

    text: str
    points: tuple[float | None, ...]
    value: Value = None
    start: float | None = None
    end: float | None = None


class TermCard(msgspec.Struct, frozen=True):
    """What one feature adds to the score.

    Attributes
    ----------
    feature : str
    kind : {"table", "slope", "steps", "bent", "mixed"}
    reach : float
        How far the feature alone can move the score, from its least to its most.
    low, high : float
        The least and the most that it adds.
    span : tuple of float, optional
        The numbers between which it was looked at; None for a table.
    places : tuple of Points
        Every level, every interval, or some numbers along a slope or a curve.
    slope : tuple of float, optional
        What one unit more adds, for each sum.
    missing, unseen : Points, optional
        Where the feature may be missing, or be a category that training has not seen.
    """

    feature: str
    kind: str
    reach: float
    low: float
    high: float
    span: Span | None
    places: tuple[Points, ...]
    slope: tuple[float, ...] | None
    missing: Points | None
    unseen: Points | None


class EvaluationCard(msgspec.Struct, frozen=True):
    """One evaluation without its curves; see ``slipway.manifest.Evaluation``."""

    description: str
    rows_fit: int
    rows_test: int
    base_rate: float | None
    scores: dict[str, dict[str, float]]


class Card(msgspec.Struct, frozen=True):
    """A model version.

    Attributes
    ----------
    name, title, version, created, sha256, estimator : str
    engine : {"scorecard", "pickle"}
        What answers.
    reason : str
        Why there is no scorecard.
    features : tuple of Feature
    target : Target
    threshold, base_rate : float, optional
    score : {"log-odds", "value", "score"}
        What the terms add up to.
    intercepts : dict of str to float
        Of each sum, by the class or the target that it is for; empty without a scorecard.
    average : float, optional
        The answer at the intercept, where the model is a single sum.
    centred : bool
        Whether the intercept is the average row's score.
    terms : tuple of TermCard
        Those that can move the score the furthest come first.
    evaluations : dict of str to EvaluationCard
    golden : int
        How many golden rows there are.
    training : Training
    libraries : dict of str to str
    """

    name: str
    title: str
    version: str
    created: str
    sha256: str
    estimator: str
    engine: str
    reason: str
    features: tuple[Feature, ...]
    target: Target
    threshold: float | None
    base_rate: float | None
    score: str
    intercepts: dict[str, float]
    average: float | None
    centred: bool
    terms: tuple[TermCard, ...]
    evaluations: dict[str, EvaluationCard]
    golden: int
    training: Training
    libraries: dict[str, str]


def describe_card(manifest: Manifest) -> Card:
    """Put a model version on a card.

    Parameters
    ----------
    manifest : Manifest

    Returns
    -------
    Card
    """
    sums = sums_of(manifest)
    labels = sum_labels(manifest)
    return Card(
        name=manifest.name,
        title=manifest.title,
        version=manifest.version,
        created=manifest.created,
        sha256=manifest.sha256,
        estimator=manifest.estimator,
        engine="scorecard" if sums else "pickle",
        reason=manifest.reason,
        features=manifest.signature.features,
        target=manifest.signature.target,
        threshold=manifest.threshold,
        base_rate=manifest.base_rate,
        score=score_name(manifest),
        intercepts={label: each.intercept for label, each in zip(labels, sums, strict=True)},
        average=_average(sums),
        centred=manifest.training.rows_read > 0,
        terms=_term_cards(manifest),
        evaluations=_evaluations(manifest),
        golden=len(manifest.golden),
        training=manifest.training,
        libraries=manifest.libraries,
    )


def card_text(card: Card) -> str:
    """Write a card for a terminal of 100 columns.

    Parameters
    ----------
    card : Card

    Returns
    -------
    str
    """
    sections = (
        [f"{card.name}: {card.title}", "", *_facts(_head(card))],
        _takes(card.features),
        _terms_text(card),
        _evaluations_text(card.evaluations),
        ["WHERE IT CAME FROM", "", *_facts(_provenance(card))],
    )
    return page(line for section in sections if section for line in (*section, ""))


# Where a term is looked at


def sums_of(manifest: Manifest) -> tuple[Sum, ...]:
    """Give the sums of a scorecard; none where there is no scorecard."""
    return manifest.scorecard.sums if manifest.scorecard else ()


def sum_labels(manifest: Manifest) -> tuple[str, ...]:
    """Name the sums of a scorecard by what each is the score of; none without a scorecard."""
    target = manifest.signature.target
    if len(sums_of(manifest)) == 1:
        return (target.positive or target.name,)
    return target.classes if sums_of(manifest) else ()


def score_name(manifest: Manifest) -> str:
    """Say what the terms of a model add up to."""
    scorecard = manifest.scorecard
    if scorecard is None or scorecard.softmax:
        return "score"
    linked = any(each.link for each in scorecard.sums)
    return "log-odds" if scorecard.is_log_odds else "score" if linked else "value"


def span_of(feature: Feature, golden: Iterable[GoldenRow]) -> Span | None:
    """Give the least and the greatest known number of a feature: training's, or golden rows'."""
    if feature.kind not in ("number", "integer"):
        return None
    if feature.seen is not None:
        return feature.seen
    values = [row.record.get(feature.name) for row in golden]
    values += [*feature.categories, feature.example]
    numbers = [float(value) for value in values if isinstance(value, int | float)]
    return (min(numbers), max(numbers)) if numbers else None


def places(terms: Sequence[Term], feature: Feature, span: Span | None) -> list[Place]:
    """Choose where to look at terms of one feature: all levels, all intervals, some numbers.

    Parameters
    ----------
    terms : sequence of Term
        Of several classes, or of two versions.
    feature : Feature
    span : tuple of float, optional
        Between these a slope or a curve is sampled.

    Returns
    -------
    list of Place
    """
    levels = dict.fromkeys(level for t in terms if isinstance(t, Table) for level in t.levels)
    found = [Place(value_name(feature, level), level) for level in levels]
    if any(isinstance(term, Steps) and not is_constant(term) for term in terms):
        edges = {edge for term in terms if isinstance(term, Steps) for edge in term.edges}
        found += _intervals(sorted(edges), feature, span)
    if not found or any(not isinstance(term, Table | Steps) for term in terms):
        found += [Place(brief(x, 4), x) for x in _marks(*(span or (0.0, 1.0)), feature)]
    return found


def samples(span: Span | None) -> list[float]:
    """Give numbers close together, to find the ends of a curve."""
    low, high = span or (0.0, 1.0)
    return [low + (high - low) * i / _SAMPLES for i in range(_SAMPLES)] + [high]


def takes_unseen(feature: Feature, terms: Iterable[Term]) -> bool:
    """Whether a category that training has not seen can reach a table."""
    terms = [term for term in terms if not is_constant(term)]
    tables = bool(terms) and all(isinstance(term, Table) for term in terms)
    return tables and feature.kind != "flag" and not feature.closed


def is_constant(term: Term) -> bool:
    """Whether a term is the same everywhere, as where a penalty has taken a feature out."""
    return isinstance(term, Steps) and not term.edges


def _average(sums: tuple[Sum, ...]) -> float | None:
    """Give the answer at the intercept of a single sum that goes through a link."""
    if len(sums) != 1 or not sums[0].link:
        return None
    return _finite(through(sums[0].link)(sums[0].intercept))


def _intervals(edges: Sequence[float], feature: Feature, span: Span | None) -> list[Place]:
    """Give the intervals between edges, each with a number inside it."""
    low, high = span or (edges[0], edges[-1])
    first = low if low < edges[0] else math.nextafter(edges[0], -math.inf)
    found = [Place(_interval_text(None, edges[0], feature), first, None, edges[0])]
    for start, end in pairwise(edges):
        middle = start + (end - start) / 2
        if feature.kind == "integer" and math.floor(middle) >= start:
            middle = float(math.floor(middle))
        text = _interval_text(start, end, feature)
        found.append(Place(text, middle if middle < end else start, start, end))
    last = Place(_interval_text(edges[-1], None, feature), max(high, edges[-1]), edges[-1], None)
    return [*found, last]


def _interval_text(start: float | None, end: float | None, feature: Feature) -> str:
    """Say an interval in words; of integers both ends belong to it."""
    if start is not None and end == math.nextafter(start, math.inf):
        return f"exactly {brief(start)}"
    whole = feature.kind == "integer" and all(e is None or e == int(e) for e in (start, end))
    if start is None:
        assert end is not None  # noqa: S101 - one of the two is there
        return f"{brief(end - 1)} or less" if whole else f"below {brief(end)}"
    if end is None:
        return f"{brief(start)} or more"
    if whole:
        return brief(start) if end == start + 1 else f"{brief(start)} to {brief(end - 1)}"
    return f"{brief(start)} to {brief(end)}"


def _marks(low: float, high: float, feature: Feature) -> list[float]:
    """Give both ends of a span and about five round numbers between them."""
    if not low < high:
        return [low]
    least = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(least))
    step = next(power * m for m in (1, 2, 5, 10) if least <= power * m * (1 + 1e-9))
    step = max(step, 1.0) if feature.kind == "integer" else step
    first, last = math.ceil(low / step), math.floor(high / step)
    between = [round(i * step, 12) for i in range(first, last + 1)]
    # A round number close to an end would only say the same again.
    apart = [x for x in between if min(x - low, high - x) > step / 3]
    return [low, *apart, high]


def _term_cards(manifest: Manifest) -> tuple[TermCard, ...]:
    """Describe the terms, those first that can move the score the furthest."""
    # Without a scorecard there are no terms, and this ends at once.
    by_feature = zip(*(each.terms for each in sums_of(manifest)), strict=True)
    cards = [
        _term_card(terms, feature, span_of(feature, manifest.golden))
        for feature, terms in zip(manifest.signature.features, by_feature, strict=False)
    ]
    return tuple(sorted(cards, key=lambda card: -card.reach))


def _term_card(terms: tuple[Term, ...], feature: Feature, span: Span | None) -> TermCard:
    """Describe one feature's term, or its terms of all classes."""
    lookups = [term.lookup() for term in terms]
    kinds = {_kind(term) for term in terms if not is_constant(term)}
    chosen = places(terms, feature, span)
    ends = [_ends(term, chosen, span) for term in terms]
    unseen = tuple(
        t.unseen if isinstance(t, Table) else at(0.0) for t, at in zip(terms, lookups, strict=True)
    )
    return TermCard(
        feature=feature.name,
        kind="mixed" if len(kinds) > 1 else next(iter(kinds), "steps"),
        reach=max(high - low for low, high in ends),
        low=min(low for low, _ in ends),
        high=max(high for _, high in ends),
        span=None if all(isinstance(term, Table) for term in terms) else span,
        places=tuple(
            Points(p.text, tuple(_finite(at(p.value)) for at in lookups), p.value, p.start, p.end)
            for p in chosen
        ),
        slope=tuple(t.slope if isinstance(t, Slope) else 0.0 for t in terms)
        if kinds == {"slope"}
        else None,
        missing=Points("missing", tuple(t.missing for t in terms)) if feature.nullable else None,
        unseen=Points("never seen", unseen) if takes_unseen(feature, terms) else None,
    )


def _ends(term: Term, chosen: Sequence[Place], span: Span | None) -> Span:
    """Give the least and the most that a term adds."""
    values: list[Value] = [place.value for place in chosen]
    values += [] if isinstance(term, Table | Steps) else samples(span)
    points = [point for point in map(term.lookup(), values) if math.isfinite(point)]
    return min(points, default=0.0), max(points, default=0.0)


def _kind(term: Term) -> str:
    """Give the word that JSON has for a term."""
    return str(term.__struct_config__.tag)


def _finite(number: float) -> float | None:
    """Give None for what JSON has no number for."""
    return number if math.isfinite(number) else None


def _evaluations(manifest: Manifest) -> dict[str, EvaluationCard]:
    """Leave the curves and slices out of the evaluations."""
    return {
        name: EvaluationCard(
            each.description, each.rows_fit, each.rows_test, each.base_rate, scores_of(each.scores)
        )
        for name, each in manifest.evaluations.items()
    }


def scores_of(scores: Mapping[str, msgspec.Struct]) -> dict[str, dict[str, float]]:
    """Give scores as numbers by name, whatever task they are of."""
    return {
        model: {name: v for name, v in msgspec.structs.asdict(its).items() if v is not None}
        for model, its in scores.items()
    }


# How numbers, values and tables are written


def brief(number: float, digits: int = 6) -> str:
    """Write a number as short as it can be read: ``184``, ``0.3``, ``37.8462``."""
    if float(number).is_integer() and abs(number) < 1e15:
        return str(int(number))
    text = f"{number:.{digits}g}"
    return f"{number:.0f}" if "e+" in text and abs(number) < 1e15 else text


def value_name(feature: Feature, value: Value) -> str:
    """Write a value for people; an integer that stands for a name is given by its name."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return shortened(value, 28)
    if value is None:
        return "missing"
    label = feature.labels.get(brief(value), "")
    return shortened(label or brief(value), 28)


def span_text(span: Span) -> str:
    """Write both ends of a span."""
    return f"{brief(span[0], 4)} to {brief(span[1], 4)}"


def percent(share: float) -> str:
    """Write a share with one digit."""
    return f"{100 * share:.1f}%"


def points_like(
    numbers: Iterable[float | None], decimals: int = 2
) -> Callable[[float | None], str]:
    """Build the function that writes numbers of one table, with digits that fit the largest.

    Parameters
    ----------
    numbers : iterable of float or None
    decimals : int
        As many as there are at most, but where all the numbers are small.

    Returns
    -------
    callable
        From a number to a text with its sign.
    """
    largest = max((abs(x) for x in numbers if x is not None and math.isfinite(x)), default=0.0)
    digits = max(0, 2 - math.floor(math.log10(largest))) if largest else 2
    form = f"+.{min(digits, decimals) if largest >= 0.05 else digits}f" if digits <= 6 else "+.2e"
    if largest >= 1e7:
        form = "+.3g"

    def write(number: float | None) -> str:
        if number is None or math.isnan(number):
            return "no answer"
        text = format(number, form)
        return text if any(digit in text for digit in "123456789") else text.lstrip("+-")

    return write


def shortened(text: str, most: int) -> str:
    """Cut a long text off."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def counted(number: int, noun: str) -> str:
    """Write how many there are of something."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def aligned(rows: Sequence[Sequence[str]], right: Iterable[int] = (), indent: int = 2) -> list[str]:
    """Write rows as columns; the last column is wrapped where it would leave the page.

    Parameters
    ----------
    rows : sequence of sequence of str
    right : iterable of int
        The columns that are set to the right, as numbers are.
    indent : int

    Returns
    -------
    list of str
    """
    widths = [max(map(len, column)) for column in zip_longest(*rows, fillvalue="")]
    right = set(right)
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        before = " " * indent + "  ".join([*cells[:-1], ""])
        lines += wrapped(before, row[-1] if len(row) - 1 not in right else cells[-1])
    return lines


def wrapped(before: str, text: str) -> list[str]:
    """Write a text behind another, its further lines under its first."""
    room = max(WIDTH - len(before), 30)
    first, *more = textwrap.wrap(text, room, drop_whitespace=True) or [""]
    # What is set to the right has lost the spaces before it.
    first = " " * (len(text) - len(text.lstrip())) + first.lstrip() if not more else first
    return [f"{before}{first}".rstrip(), *(" " * len(before) + line for line in more)]


def page(lines: Iterable[str]) -> str:
    """Join lines, without what could move the cursor: names come from outside."""
    clean = ("".join(c if c.isprintable() else "\ufffd" for c in line) for line in lines)
    return "\n".join(clean).rstrip() + "\n"


def _facts(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Write names with what they are; a fact that is not known is left out."""
    return aligned([row for row in rows if row[1]])


def _head(card: Card) -> list[tuple[str, str]]:
    """Say what is served, and how."""
    target, rate = card.target, card.base_rate
    threshold = "" if card.threshold is None else f"{target.positive} from {card.threshold:g} on"
    engine = f"the {card.engine}, held against {counted(card.golden, 'golden row')}"
    if card.reason:
        engine = f"the pickle, because there is {card.reason}"
    return [
        ("version", card.version),
        ("made", f"{card.created[:16].replace('T', ' ')} UTC" if card.created else ""),
        ("estimator", card.estimator),
        ("answered by", engine),
        ("gives", gives(target)),
        ("meaning", target.description),
        ("threshold", threshold),
        ("base rate", "" if rate is None else f"{percent(rate)} {target.positive}"),
    ]


def gives(target: Target) -> str:
    """Say what a model gives."""
    if target.task == "regression":
        return f"{target.name}{f', in {target.unit}' if target.unit else ''}"
    if target.task == "binary":
        return f"the probability of {target.positive}, of {' or '.join(target.classes)}"
    return f"the probabilities of {', '.join(target.classes)}"


def _takes(features: Sequence[Feature]) -> list[str]:
    """Write the features as a table."""
    columns: dict[str, list[str]] = {
        "feature": [shortened(feature.name, _LONGEST_NAME) for feature in features],
        "kind": [feature.kind for feature in features],
        "values": [values_text(feature) for feature in features],
        "gaps": ["may be" if feature.nullable else "" for feature in features],
        "meaning": [_meaning(feature) for feature in features],
    }
    # A column with nothing in it would only be in the way.
    told = {title: cells for title, cells in columns.items() if any(cells)}
    rows = [tuple(told), *zip(*told.values(), strict=True)]
    return [f"TAKES {counted(len(features), 'feature')}", "", *aligned(rows)]


def values_text(feature: Feature) -> str:
    """Say which values a feature takes."""
    if feature.kind == "flag":
        return "true, false"
    if feature.categories:
        # A few are named, many are counted.
        names = ", ".join(value_name(feature, value) for value in feature.categories)
        known = f"{len(feature.categories)} known"
        known = names if len(names) <= 26 and not feature.labels else known
        return f"{known}, no other" if feature.closed else known
    if feature.kind == "category":
        return "any text"
    if feature.seen and feature.minimum is None and feature.maximum is None:
        unit = f" {feature.unit}" if feature.unit else ""
        return f"{span_text(feature.seen)}{unit} seen"
    return feature.range_text


def _meaning(feature: Feature) -> str:
    """Give the description, where it says more than the name."""
    return "" if feature.description == feature.name else feature.description


def _terms_text(card: Card) -> list[str]:
    """Write the terms, or say that there are none."""
    if not card.terms:
        return []
    written = points_like(point for term in card.terms for point in (term.low, term.high))
    lines = [f"ADDS UP {counted(len(card.terms), 'term')}, the largest reach first", ""]
    lines += [*wrapped("  ", _start(card, written)), ""]
    features = {feature.name: feature for feature in card.features}
    name_width = min(max(len(term.feature) for term in card.terms), _LONGEST_NAME)
    for term in (term for term in card.terms if _moves(term)):
        feature = features[term.feature]
        lines += [_term_head(term, feature, written, name_width)]
        lines += _by_class(term, tuple(card.intercepts)) if len(card.intercepts) > 1 else []
        lines += _in_cells(term, written) if len(card.intercepts) == 1 else []
    idle = [shortened(term.feature, _LONGEST_NAME) for term in card.terms if not _moves(term)]
    return lines + (wrapped("  ", f"always the same: {', '.join(idle)}") if idle else [])


def _moves(term: TermCard) -> bool:
    """Whether any value of a feature, a missing or an unseen one too, makes a difference."""
    others = [place.points for place in (term.missing, term.unseen) if place]
    return term.reach > 0 or any(points != term.places[0].points for points in others)


def _start(card: Card, written: Callable[[float | None], str]) -> str:
    """Say where the sum starts."""
    who = "The average row" if card.centred else "The sum"
    unit = f" {card.target.unit}" if card.score == "value" and card.target.unit else ""
    unit = " log-odds" if card.score == "log-odds" else unit
    if len(card.intercepts) > 1:
        of_class = (f"{written(value)} for {name}" for name, value in card.intercepts.items())
        return f"{who} starts at {', '.join(of_class)}. A feature adds to each what is given here."
    intercept = written(next(iter(card.intercepts.values())))
    average, doubling = "", ""
    if card.average is not None:
        average = percent(card.average) if card.target.classes else brief(card.average, 4)
        average = f", which is {average}"
    if card.score == "log-odds":
        doubling = "; +0.69 doubles the odds, -0.69 halves them"
    # A value is a quantity, for which a plus would be odd.
    start = intercept.lstrip("+") if card.score == "value" else intercept
    return f"{who} starts at {start}{unit}{average}. A feature adds what is given here{doubling}."


def _term_head(
    term: TermCard, feature: Feature, written: Callable[[float | None], str], width: int
) -> str:
    """Write the line above a term: its feature, its ends and its kind."""
    unit = feature.unit or ""
    span = "" if term.span is None else f", over {span_text(term.span)}"
    span = f"{span} {unit}".rstrip()
    what = {
        "table": counted(len(term.places), "level"),
        "steps": f"{counted(len(term.places), 'interval')}{f' of {unit}' if unit else ''}",
        "slope": f"a slope{span}",
    }.get(term.kind, f"a curve{span}")
    if term.slope is not None and len(term.slope) == 1:
        per = f"per {unit}" if unit else "per unit"
        what = f"{term.slope[0]:+.3g} {per}{span}"
    name = shortened(term.feature, _LONGEST_NAME).ljust(width)
    ends = f"{written(term.low):>7} to {written(term.high)}"
    return f"  {name}  {ends:<18}  {what}"


def _in_cells(term: TermCard, written: Callable[[float | None], str]) -> list[str]:
    """Write a term of a single sum; of many places the largest, and the shape of numbers."""
    if term.slope is not None:
        return _cells([("else", [p for p in (term.missing,) if p])], written)
    ranked = sorted(term.places, key=lambda place: -(place.points[0] or 0.0))
    few = len(term.places) <= _MOST_PLACES
    up = [place for place in ranked if (place.points[0] or 0.0) > 0]
    down = [place for place in reversed(ranked) if (place.points[0] or 0.0) <= 0]
    by_size = all(isinstance(place.value, str) for place in term.places)
    groups = [("", ranked if by_size else term.places)] if few else [("up", up), ("down", down)]
    groups.append(("else", [place for place in (term.missing, term.unseen) if place]))
    shape = [_shape(term)] if term.kind == "steps" and not few else []
    return shape + _cells(groups, written, lines=_MOST_PLACES if few else 1)


def _shape(term: TermCard) -> str:
    """Draw the intervals of a term, from the lowest numbers to the highest."""
    room = WIDTH - 12
    points = [place.points[0] or 0.0 for place in term.places]
    height = (len(_BLOCKS) - 1) / ((term.high - term.low) or 1.0)
    blocks = "".join(_BLOCKS[round((point - term.low) * height)] for point in points)
    return f"    shape   {blocks[:room]}{'…' if len(blocks) > room else ''}"


def _cells(
    groups: Sequence[tuple[str, Sequence[Points]]],
    written: Callable[[float | None], str],
    lines: int = _MOST_PLACES,
) -> list[str]:
    """Write places with their points side by side, in cells of one width."""
    # What a line or a few cannot hold is not written, so it must not widen the cells either.
    groups = [(name, group[: _MOST_PLACES // 2 * lines]) for name, group in groups]
    every = [(place.text, written(place.points[0])) for _, group in groups for place in group]
    if not every:
        return []
    left, right = (max(map(len, column)) for column in zip(*every, strict=True))
    a_line = max(1, (WIDTH - 12 + 3) // (left + right + 5))
    made = []
    for name, group in groups:
        for i in range(0, min(len(group), a_line * lines), a_line):
            texts = (
                f"{place.text:<{left}}  {written(place.points[0]):>{right}}"
                for place in group[i : i + a_line]
            )
            made.append(f"    {'' if i else name:<8}{'   '.join(texts)}")
    return made


def _by_class(term: TermCard, labels: tuple[str, ...]) -> list[str]:
    """Write a term of several sums, a column for each class."""
    shown = sorted(term.places, key=_size)[:_MOST_PLACES]
    rows = [place for place in term.places if place in shown]
    if term.slope is not None:
        rows = [*rows[:1], *rows[1:][-1:], Points("one unit more", term.slope)]
    rows += [place for place in (term.missing, term.unseen) if place]
    lines = []
    widths = max(9, *(len(shortened(label, 16)) for label in labels)) + 2
    a_block = max(1, (WIDTH - 34) // widths)
    for first in range(0, len(labels), a_block):
        block = slice(first, first + a_block)
        written = points_like(point for row in rows for point in row.points)
        table = [["", *(shortened(label, 16) for label in labels[block])]]
        table += [[row.text, *map(written, row.points[block])] for row in rows]
        lines += aligned(table, range(1, len(table[0])), indent=4)
    return lines


def _size(place: Points) -> float:
    """Sort by the largest effect on any class."""
    return -max((abs(point) for point in place.points if point is not None), default=0.0)


def _evaluations_text(evaluations: dict[str, EvaluationCard]) -> list[str]:
    """Write every evaluation as a table of scores by model."""
    lines = ["HOW GOOD IT IS", ""] if evaluations else []
    for name, each in evaluations.items():
        rate = "" if each.base_rate is None else f", base rate {percent(each.base_rate)}"
        rows = f"fitted on {each.rows_fit:,}, tested on {each.rows_test:,} rows{rate}"
        lines += wrapped("  ", f"{name}: {each.description}; {rows}")
        models = list(each.scores)
        scores = list(dict.fromkeys(score for its in each.scores.values() for score in its))
        table = [["", *("this model" if model == "model" else model for model in models)]]
        for score in scores:
            cells = (score_text(each.scores[model].get(score)) for model in models)
            table.append([SCORES.get(score, score.replace("_", " ")), *cells])
        lines += [*aligned(table, range(1, len(table[0])), indent=4), ""]
    return lines[:-1]


def score_text(score: float | None) -> str:
    """Write a metric with four digits."""
    if score is None:
        return ""
    return f"{score:.4f}" if abs(score) < 100 else f"{score:.1f}"


def _provenance(card: Card) -> list[tuple[str, str]]:
    """Say what the model was made from."""
    training = card.training
    rows = f"{training.rows_fit:,} fitted on, {training.rows_test:,} held out"
    left_out = "; ".join(f"{count:,} {why}" for why, count in training.left_out.items())
    return [
        ("source", training.source),
        ("rows", f"{training.rows_read:,} read, {rows}" if training.rows_read else "not known"),
        ("left out", left_out),
        ("training took", f"{training.seconds:.3g} seconds" if training.seconds else ""),
        ("model sha256", card.sha256),
        ("data sha256", training.data_sha256),
        ("query sha256", training.query_sha256),
        ("libraries", ", ".join(f"{name} {its}" for name, its in card.libraries.items())),
    ]
