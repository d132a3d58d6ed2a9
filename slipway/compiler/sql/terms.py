"""The features' values and the points of their terms as SQL expressions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from sqlglot import exp

from slipway.compiler.sql.expressions import (
    LARGEST,
    LINEAR,
    Columns,
    Pair,
    add,
    choose,
    missing,
    multiply,
    negative,
    number,
    search,
    subtract,
)
from slipway.compiler.sql.stages import along
from slipway.models.features import Feature
from slipway.models.scorecard import CurveSumTerm, CurveTerm, SlopeTerm, StepTerm, TableTerm, Term
from slipway.models.validation import LARGEST_INTEGER

# A CASE compares one level after the other; docs/sql.md says what that costs.
FEW_LEVELS = 128
TEXTS = ("category", "text", "datetime")


def points(columns: Columns, feature: Feature, term: Term, x: exp.Column) -> exp.Expr:
    """Give the points of a term.

    Parameters
    ----------
    columns : Columns
        Takes what is used more than once.
    feature : Feature
    term : Term
    x : Column
        The value: a text for a category, else a double.

    Returns
    -------
    Expr
        NULL for a value that the API would refuse.
    """
    gap = number(term.missing) if feature.nullable else exp.Null()
    if feature.kind in TEXTS:
        levels, unseen = _levels(feature, term)
        return choose([(missing(x), gap)], _text_lookup(x, levels, unseen))
    accepted = _accepted(feature, x)
    pairs: list[Pair] = [(accepted, _of_number(columns, feature, term, x, accepted))]
    if not feature.nullable:
        return choose(pairs)
    # NaN is either greater than any number, whatever its sign, or not even comparable. By
    # these two comparisons all that remains is NaN or NULL, which is a missing value.
    high = _range(feature)[1]
    refused = exp.or_(x <= number(high), negative(x) < number(-high))
    return choose([*pairs, (refused, exp.Null())], gap)


def _range(feature: Feature) -> tuple[float, float]:
    """Give the numbers that are taken, both ends included."""
    if feature.kind == "flag":
        return 0.0, 1.0
    widest = LARGEST_INTEGER if feature.kind == "integer" else LARGEST
    lows, highs = [-widest], [widest]
    for low, high in ((feature.minimum, feature.maximum), _answered(feature)):
        lows += [] if low is None else [low]
        highs += [] if high is None else [high]
    return float(max(lows)), float(min(highs))


def _answered(feature: Feature) -> tuple[float | None, float | None]:
    """Return the range in which the pipeline answers."""
    return getattr(feature, "answered", None) or (None, None)


def _accepted(feature: Feature, x: exp.Column) -> exp.Expr:
    """Ask whether a number is one that the API would take; infinite ones and NaN are not."""
    low, high = _range(feature)
    conditions: list[exp.Expr] = [x >= number(low), x <= number(high)]
    if feature.kind != "number":
        conditions.append(x.eq(exp.Floor(this=x.copy())))
    if feature.closed and feature.categories:
        conditions.append(x.isin(*(number(float(each)) for each in feature.categories)))
    return exp.and_(*conditions)


def _of_number(
    columns: Columns, feature: Feature, term: Term, x: exp.Column, accepted: exp.Expr
) -> exp.Expr:
    """Give the points of a number that is in the range."""
    if isinstance(term, TableTerm):
        levels, unseen = _levels(feature, term)
        return _number_lookup(x, {float(level): each for level, each in levels.items()}, unseen)
    if isinstance(term, SlopeTerm):
        way = subtract(x, number(term.origin)) if term.origin else x
        return add(number(term.offset), multiply(number(term.slope), way))
    if isinstance(term, StepTerm):
        return search(x, term.edges, [number(each) for each in term.points])
    # The stages are computed for every row, so that they must not meet a number out of range.
    inside = columns.let(choose([(accepted, x)]), "inside")
    parts = term.parts if isinstance(term, CurveSumTerm) else (term,)
    return add(*(_bent(columns, part, inside) for part in parts))


def _bent(columns: Columns, term: CurveTerm, x: exp.Column) -> exp.Expr:
    return along(columns, (*term.path, term.pieces), x)


def _levels(
    feature: Feature, term: Term
) -> tuple[dict[str | bool | int | float, exp.Expr], exp.Expr]:
    """Give the points by level, and those of any other; a closed feature has no other."""
    if isinstance(term, StepTerm) and not term.edges:
        # A text that the model does not read, as older versions wrote it.
        return {}, number(term.points[0])
    if not isinstance(term, TableTerm):
        raise TypeError(f"a category has a table of points, not {type(term).__name__}")
    unseen = number(term.unseen)
    pairs = zip(term.levels, term.points, strict=True)
    levels: dict[str | bool | int | float, exp.Expr] = {key: number(each) for key, each in pairs}
    if feature.closed and feature.categories:
        kept = feature.categories
        known: dict[str | bool | int | float, exp.Expr]
        known = {category: levels.get(category, unseen) for category in kept}
        return known, exp.Null()
    return levels, unseen


def _number_lookup(x: exp.Column, levels: dict[float, exp.Expr], unseen: exp.Expr) -> exp.Expr:
    """Look a number up, by halves where there are many."""
    numbers = sorted(levels)
    chunks = [numbers[start : start + LINEAR] for start in range(0, len(numbers), LINEAR)]
    leaves = [
        choose([(number(each), levels[each]) for each in chunk], unseen, of=x) for chunk in chunks
    ]
    return search(x, [chunk[0] for chunk in chunks[1:]], leaves) if leaves else unseen


def _text_lookup(
    x: exp.Column, levels: dict[str | bool | int | float, exp.Expr], unseen: exp.Expr
) -> exp.Expr:
    """Look a text up; among many levels by two of its characters first.

    Only levels in ASCII are parted so, because engines do not agree on what a character is in
    any other text. A join would be quicker yet, but not in SQLite, and it doubles rows where a
    collation takes two levels for one.
    """
    texts = {str(level): each for level, each in levels.items()}
    if len(texts) > FEW_LEVELS:
        plain = [text for text in texts if text.isascii()]
        start = _best_start(plain)
        groups: dict[str, list[str]] = defaultdict(list)
        for text in plain:
            groups[text[start : start + 2]].append(text)
        window = exp.Substring(this=x.copy(), start=_integer(start + 1), length=_integer(2))
        cases = [
            (
                window.eq(exp.Literal.string(key)),
                _text_case(x, {text: texts[text] for text in group}, unseen),
            )
            for key, group in groups.items()
        ]
        unseen = choose(cases, unseen)
        texts = {text: each for text, each in texts.items() if not text.isascii()}
    return _text_case(x, texts, unseen)


def _text_case(x: exp.Column, levels: dict[str, exp.Expr], unseen: exp.Expr) -> exp.Expr:
    pairs = [(exp.Literal.string(text), each) for text, each in levels.items()]
    return choose(pairs, unseen, of=x) if pairs else unseen


def _best_start(texts: Sequence[str]) -> int:
    """Find the two characters by which a value meets the fewest comparisons."""

    def comparisons(start: int) -> int:
        groups: dict[str, int] = defaultdict(int)
        for text in texts:
            groups[text[start : start + 2]] += 1
        return len(groups) * len(texts) + sum(size * size for size in groups.values())

    return min(range(max(map(len, texts), default=1)), key=comparisons, default=0)


def _integer(value: int) -> exp.Expr:
    return exp.Literal.number(value)
