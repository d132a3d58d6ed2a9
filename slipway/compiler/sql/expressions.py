"""The parts of a statement: columns that are computed once, numbers, and choices."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sqlglot import exp

# Stands for infinity, which is no literal in some engines. An input beyond it is refused, so
# that its square, and its cube in a spline, is still a double: PostgreSQL raises an error else.
LARGEST = 1e100
# A search among more edges than this is parted in two.
LINEAR = 8

Pair = tuple[exp.Expr, exp.Expr]


class Columns:
    """The columns of a query in the making: each is computed once, after those it needs.

    Every layer becomes a common table expression that selects from the one before it; the
    first selects from the user's table.
    """

    def __init__(self) -> None:
        self._layers: list[dict[str, exp.Expr]] = [{}]
        self._depth: dict[str, int] = {}
        self._counts: dict[str, int] = {}

    def take(self, expression: exp.Expr, hint: str) -> exp.Column:
        """Name an expression of the table's own columns, which may have any names."""
        return self._add(expression, hint, 0)

    def let(self, expression: exp.Expr, hint: str) -> exp.Column:
        """Name an expression of columns that were named here, so that it can be used again.

        Parameters
        ----------
        expression : Expr
        hint : str
            What the column's name begins with; a number makes it unique.

        Returns
        -------
        Column
        """
        if isinstance(expression, exp.Column):
            return expression
        depth = 1 + max((self._depth[name] for name in _names(expression)), default=0)
        return self._add(expression, hint, depth)

    def query(
        self, source: exp.Expr, answers: Sequence[exp.Expr], *, materialized: bool
    ) -> exp.Select:
        """Build the statement.

        Parameters
        ----------
        source : Expr
            What the first layer selects from.
        answers : sequence of Expr
            What the statement gives; a column that they do not need is not computed.
        materialized : bool
            Whether to ask the engine not to merge the layers, since it would then compute a
            column at every place where it is used.

        Returns
        -------
        Select
        """
        layers = [self._selected(depth, answers) for depth in range(len(self._layers))]
        query = exp.select(*answers).from_(_step(len(layers)))
        for place, selected in enumerate(layers):
            step = exp.select(*selected).from_(_step(place) if place else source)
            name, kept = _step(place + 1), materialized and place > 0
            query = query.with_(name, as_=step, materialized=kept or None, copy=False)
        return query

    def _add(self, expression: exp.Expr, hint: str, depth: int) -> exp.Column:
        count = self._counts[hint] = self._counts.get(hint, 0) + 1
        name = f"{hint}_{count}"
        self._depth[name] = depth
        self._layers += [{}] if depth == len(self._layers) else []
        self._layers[depth][name] = expression
        return exp.column(name, quoted=True)

    def _selected(self, depth: int, answers: Sequence[exp.Expr]) -> list[exp.Expr]:
        """Give what a layer computes, and what it hands on to the layers above it."""
        above = [each for layer in self._layers[depth + 1 :] for each in layer.values()]
        needed = {name for each in (*above, *answers) for name in _names(each)}
        own = self._layers[depth]
        return [
            exp.alias_(own[name], name, quoted=True)
            if name in own
            else exp.column(name, quoted=True)
            for name, at in self._depth.items()
            if at <= depth and name in needed
        ]


def number(value: float) -> exp.Expr:
    """Give a literal of a double.

    The exponent keeps most engines from reading a decimal number. For the others,
    ``slipway.compiler.sql`` casts a text.
    """
    if not math.isfinite(value):
        return exp.Null()
    text = repr(abs(float(value)))
    literal = exp.Literal.number(text if "e" in text else f"{text}e0")
    return exp.Neg(this=literal) if value < 0 else literal


def choose(
    pairs: Sequence[Pair], default: exp.Expr | None = None, *, of: exp.Column | None = None
) -> exp.Expr:
    """Build a CASE from conditions, or from values of a column, and results."""
    ifs = [exp.If(this=when.copy(), true=then.copy()) for when, then in pairs]
    return exp.Case(this=of and of.copy(), ifs=ifs, default=default and default.copy())


def search(x: exp.Expr, edges: Sequence[float], results: Sequence[exp.Expr]) -> exp.Expr:
    """Choose by the interval that a number lies in, each edge belonging to the one above it.

    Many edges are parted in halves, so that a value meets few comparisons. The number must not
    be NULL, which would fall into the last interval.
    """
    if not edges:
        return results[0].copy()
    if len(edges) <= LINEAR:
        pairs = [(x < number(edge), result) for edge, result in zip(edges, results, strict=False)]
        return choose(pairs, results[-1])
    half = len(edges) // 2
    below = search(x, edges[:half], results[: half + 1])
    above = search(x, edges[half + 1 :], results[half + 1 :])
    return choose([(x < number(edges[half]), below)], above)


def add(*terms: exp.Expr) -> exp.Expr:
    """Add up from the left, as Python does; a rounding depends on the order."""
    added = terms[0].copy()
    for term in terms[1:]:
        added = exp.Add(this=added, expression=_grouped(term))
    return added


def subtract(x: exp.Expr, y: exp.Expr) -> exp.Expr:
    """Subtract a number from another."""
    return exp.Sub(this=x.copy(), expression=_grouped(y))


def multiply(x: exp.Expr, y: exp.Expr) -> exp.Expr:
    """Multiply two numbers."""
    return exp.Mul(this=_grouped(x), expression=_grouped(y))


def divide(x: exp.Expr, y: exp.Expr) -> exp.Expr:
    """Divide two doubles, so that no dialect needs a cast to keep the fraction."""
    return exp.Div(this=_grouped(x), expression=_grouped(y), typed=True)


def negative(x: exp.Expr) -> exp.Expr:
    """Change the sign."""
    return exp.Neg(this=_grouped(x))


def polynomial(x: exp.Expr, coefficients: Sequence[float]) -> exp.Expr:
    """Write a polynomial in Horner's way; the constant comes first in its coefficients."""
    value = number(coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = add(multiply(value, x), number(coefficient))
    return value


def missing(x: exp.Expr) -> exp.Expr:
    """Ask whether a column is NULL."""
    return exp.Is(this=x.copy(), expression=exp.Null())


def _grouped(x: exp.Expr) -> exp.Expr:
    return exp.paren(x) if isinstance(x, exp.Binary) else x.copy()


def _names(expression: exp.Expr) -> set[str]:
    return {column.name for column in expression.find_all(exp.Column)}


def _step(place: int) -> str:
    return f"slipway_{place}"


ZERO, ONE = number(0.0), number(1.0)
