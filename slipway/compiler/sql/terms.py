"""The values of the features and the points of their terms as SQL expressions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from sqlglot import exp

from slipway.compiler.sql.expressions import (
    LARGEST,
    MAX_LINEAR,
    Columns,
    Pair,
    add,
    choose,
    choose_interval,
    is_null,
    multiply,
    negate,
    number,
    subtract,
)
from slipway.compiler.sql.stages import apply_stages
from slipway.models.features import Feature
from slipway.models.scorecard import CurveSumTerm, CurveTerm, SlopeTerm, StepTerm, TableTerm, Term
from slipway.models.validation import LARGEST_INTEGER

# A CASE compares the levels one by one; docs/sql.md states the cost.
MAX_UNGROUPED = 128
TEXTS = ("category", "text", "datetime")

Levels = dict[str | bool | int | float, exp.Expr]


def build_points(columns: Columns, feature: Feature, term: Term, x: exp.Column) -> exp.Expr:
    """Build the points of a term.

    Parameters
    ----------
    columns : Columns
        Receives expressions that are used more than once.
    feature : Feature
    term : Term
    x : Column
        The value: a text for a category, otherwise a double.

    Returns
    -------
    Expr
        NULL for a value that the API would reject.
    """
    missing_points = number(term.missing) if feature.nullable else exp.Null()
    if feature.kind in TEXTS:
        levels, unseen = _list_levels(feature, term)
        return choose([(is_null(x), missing_points)], _look_up_text(x, levels, unseen))
    is_accepted = _build_condition(feature, x)
    pairs: list[Pair] = [
        (is_accepted, _build_number_points(columns, feature, term, x, is_accepted))
    ]
    if not feature.nullable:
        return choose(pairs)
    # NaN is greater than every number, even if negated, or not comparable. After these two
    # comparisons only NaN and NULL remain, and both are missing values.
    high = _find_range(feature)[1]
    is_rejected = exp.or_(x <= number(high), negate(x) < number(-high))
    return choose([*pairs, (is_rejected, exp.Null())], missing_points)


def _find_range(feature: Feature) -> tuple[float, float]:
    """Return the accepted range of a feature, both ends included."""
    if feature.kind == "flag":
        return 0.0, 1.0
    widest = LARGEST_INTEGER if feature.kind == "integer" else LARGEST
    lows, highs = [-widest], [widest]
    for low, high in ((feature.minimum, feature.maximum), _valid_range(feature)):
        lows += [] if low is None else [low]
        highs += [] if high is None else [high]
    return float(max(lows)), float(min(highs))


def _valid_range(feature: Feature) -> tuple[float | None, float | None]:
    """Return the range in which the pipeline returns predictions."""
    return getattr(feature, "answered", None) or (None, None)


def _build_condition(feature: Feature, x: exp.Column) -> exp.Expr:
    """Build the condition that the API would accept a number. It is false for infinity and NaN."""
    low, high = _find_range(feature)
    conditions: list[exp.Expr] = [x >= number(low), x <= number(high)]
    if feature.kind != "number":
        conditions.append(x.eq(exp.Floor(this=x.copy())))
    if feature.closed and feature.categories:
        conditions.append(x.isin(*(number(float(value)) for value in feature.categories)))
    return exp.and_(*conditions)


def _build_number_points(
    columns: Columns, feature: Feature, term: Term, x: exp.Column, is_accepted: exp.Expr
) -> exp.Expr:
    """Build the points of a number inside its range."""
    if isinstance(term, TableTerm):
        levels, unseen = _list_levels(feature, term)
        return _look_up_number(x, {float(level): value for level, value in levels.items()}, unseen)
    if isinstance(term, SlopeTerm):
        distance = subtract(x, number(term.origin)) if term.origin else x
        return add(number(term.offset), multiply(number(term.slope), distance))
    if isinstance(term, StepTerm):
        return choose_interval(x, term.edges, [number(value) for value in term.points])
    # Engines compute the stages for every row, so replace numbers outside the range by NULL.
    inside = columns.define(choose([(is_accepted, x)]), "inside")
    parts = term.parts if isinstance(term, CurveSumTerm) else (term,)
    return add(*(_build_curve(columns, part, inside) for part in parts))


def _build_curve(columns: Columns, term: CurveTerm, x: exp.Column) -> exp.Expr:
    return apply_stages(columns, (*term.path, term.pieces), x)


def _list_levels(feature: Feature, term: Term) -> tuple[Levels, exp.Expr]:
    """Return the points by level, and those of other values; NULL for a closed feature."""
    if isinstance(term, StepTerm) and not term.edges:
        # Older versions wrote this term for a text that the model does not read.
        return {}, number(term.points[0])
    if not isinstance(term, TableTerm):
        raise TypeError(f"expected a TableTerm for a category, got {type(term).__name__}")
    unseen = number(term.unseen)
    pairs = zip(term.levels, term.points, strict=True)
    levels: Levels = {level: number(value) for level, value in pairs}
    if feature.closed and feature.categories:
        return {value: levels.get(value, unseen) for value in feature.categories}, exp.Null()
    return levels, unseen


def _look_up_number(x: exp.Column, levels: dict[float, exp.Expr], unseen: exp.Expr) -> exp.Expr:
    """Build a lookup of a number, by bisection if there are many levels."""
    numbers = sorted(levels)
    chunks = [numbers[start : start + MAX_LINEAR] for start in range(0, len(numbers), MAX_LINEAR)]
    leaves = [
        choose([(number(level), levels[level]) for level in chunk], unseen, of=x)
        for chunk in chunks
    ]
    return choose_interval(x, [chunk[0] for chunk in chunks[1:]], leaves) if leaves else unseen


def _look_up_text(x: exp.Column, levels: Levels, unseen: exp.Expr) -> exp.Expr:
    """Build a lookup of a text; many levels are grouped by two characters first.

    Only ASCII levels are grouped, because engines disagree on what a character is in other texts. A
    join would be faster, but not in SQLite. It would also duplicate rows where a collation compares
    two levels as equal.
    """
    texts = {str(level): value for level, value in levels.items()}
    if len(texts) > MAX_UNGROUPED:
        ascii_texts = [text for text in texts if text.isascii()]
        start = _find_best_start(ascii_texts)
        groups: dict[str, list[str]] = defaultdict(list)
        for text in ascii_texts:
            groups[text[start : start + 2]].append(text)
        window = exp.Substring(
            this=x.copy(), start=_integer_literal(start + 1), length=_integer_literal(2)
        )
        cases = [
            (
                window.eq(exp.Literal.string(key)),
                _build_text_case(x, {text: texts[text] for text in group}, unseen),
            )
            for key, group in groups.items()
        ]
        unseen = choose(cases, unseen)
        texts = {text: value for text, value in texts.items() if not text.isascii()}
    return _build_text_case(x, texts, unseen)


def _build_text_case(x: exp.Column, levels: dict[str, exp.Expr], unseen: exp.Expr) -> exp.Expr:
    pairs = [(exp.Literal.string(text), value) for text, value in levels.items()]
    return choose(pairs, unseen, of=x) if pairs else unseen


def _find_best_start(texts: Sequence[str]) -> int:
    """Find the position of the two characters that lead to the fewest comparisons."""

    def comparisons(start: int) -> int:
        groups: dict[str, int] = defaultdict(int)
        for text in texts:
            groups[text[start : start + 2]] += 1
        return len(groups) * len(texts) + sum(size * size for size in groups.values())

    return min(range(max(map(len, texts), default=1)), key=comparisons, default=0)


def _integer_literal(value: int) -> exp.Expr:
    return exp.Literal.number(value)
