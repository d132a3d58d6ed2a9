"""Building blocks of a statement: columns computed once, literals, and conditions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sqlglot import exp

# Replaces infinity, which has no literal in some engines. Inputs beyond it are rejected. Their
# cube in a spline would not fit a double, which is an error in PostgreSQL.
LARGEST = 1e100
# Maximum number of edges or levels to compare one by one.
MAX_LINEAR = 8

Pair = tuple[exp.Expr, exp.Expr]


class Columns:
    """Builder of the columns of a query. Each is computed once, after the columns it needs.

    Every layer becomes a common table expression that selects from the previous one. The first
    layer selects from the user's table.
    """

    def __init__(self) -> None:
        self._layers: list[dict[str, exp.Expr]] = [{}]
        self._depth: dict[str, int] = {}
        self._counts: dict[str, int] = {}

    def add_input(self, expression: exp.Expr, hint: str) -> exp.Column:
        """Add an expression of the table's own columns, whose names are arbitrary."""
        return self._add(expression, hint, 0)

    def define(self, expression: exp.Expr, hint: str) -> exp.Column:
        """Name an expression of earlier columns of this builder, to use it several times.

        Parameters
        ----------
        expression : Expr
        hint : str
            Prefix of the column name. A number makes it unique.

        Returns
        -------
        Column
        """
        if isinstance(expression, exp.Column):
            return expression
        depth = 1 + max((self._depth[name] for name in _column_names(expression)), default=0)
        return self._add(expression, hint, depth)

    def query(
        self, source: exp.Expr, outputs: Sequence[exp.Expr], *, materialized: bool
    ) -> exp.Select:
        """Build the statement.

        Parameters
        ----------
        source : Expr
            The source of the first layer.
        outputs : sequence of Expr
            The output of the statement. Columns that the outputs do not need are not computed.
        materialized : bool
            Whether to request that the engine does not merge the layers. A merged column would be
            computed at every place of use.

        Returns
        -------
        Select
        """
        layers = [self._select_layer(depth, outputs) for depth in range(len(self._layers))]
        query = exp.select(*outputs).from_(_layer_name(len(layers)))
        for i, expressions in enumerate(layers):
            step = exp.select(*expressions).from_(_layer_name(i) if i else source)
            name, is_kept = _layer_name(i + 1), materialized and i > 0
            query = query.with_(name, as_=step, materialized=is_kept or None, copy=False)
        return query

    def _add(self, expression: exp.Expr, hint: str, depth: int) -> exp.Column:
        count = self._counts[hint] = self._counts.get(hint, 0) + 1
        name = f"{hint}_{count}"
        self._depth[name] = depth
        self._layers += [{}] if depth == len(self._layers) else []
        self._layers[depth][name] = expression
        return exp.column(name, quoted=True)

    def _select_layer(self, depth: int, outputs: Sequence[exp.Expr]) -> list[exp.Expr]:
        """Return the columns that a layer computes, and those it passes on to higher layers."""
        above = [node for layer in self._layers[depth + 1 :] for node in layer.values()]
        needed = {name for node in (*above, *outputs) for name in _column_names(node)}
        own = self._layers[depth]
        return [
            exp.alias_(own[name], name, quoted=True)
            if name in own
            else exp.column(name, quoted=True)
            for name, level in self._depth.items()
            if level <= depth and name in needed
        ]


def number(value: float) -> exp.Expr:
    """Return the literal of a double.

    The exponent prevents most engines from reading a decimal. For the other engines,
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


def choose_interval(x: exp.Expr, edges: Sequence[float], results: Sequence[exp.Expr]) -> exp.Expr:
    """Choose a result by the interval of a number. An edge belongs to the interval above it.

    Many edges are searched by bisection, to limit the comparisons per value. The number must not
    be NULL, which would belong to the last interval.
    """
    if not edges:
        return results[0].copy()
    if len(edges) <= MAX_LINEAR:
        pairs = [(x < number(edge), result) for edge, result in zip(edges, results, strict=False)]
        return choose(pairs, results[-1])
    half = len(edges) // 2
    below = choose_interval(x, edges[:half], results[: half + 1])
    above = choose_interval(x, edges[half + 1 :], results[half + 1 :])
    return choose([(x < number(edges[half]), below)], above)


def add(*terms: exp.Expr) -> exp.Expr:
    """Add from the left, as Python does, because rounding depends on the order."""
    total = terms[0].copy()
    for term in terms[1:]:
        total = exp.Add(this=total, expression=_parenthesize(term))
    return total


def subtract(x: exp.Expr, y: exp.Expr) -> exp.Expr:
    """Subtract a number from another."""
    return exp.Sub(this=x.copy(), expression=_parenthesize(y))


def multiply(x: exp.Expr, y: exp.Expr) -> exp.Expr:
    """Multiply two numbers."""
    return exp.Mul(this=_parenthesize(x), expression=_parenthesize(y))


def divide(x: exp.Expr, y: exp.Expr) -> exp.Expr:
    """Divide two doubles. No dialect needs a cast to keep the fraction."""
    return exp.Div(this=_parenthesize(x), expression=_parenthesize(y), typed=True)


def negate(x: exp.Expr) -> exp.Expr:
    """Negate a number."""
    return exp.Neg(this=_parenthesize(x))


def polynomial(x: exp.Expr, coefficients: Sequence[float]) -> exp.Expr:
    """Build a polynomial in Horner's scheme, from coefficients with the constant first."""
    value = number(coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = add(multiply(value, x), number(coefficient))
    return value


def is_null(x: exp.Expr) -> exp.Expr:
    """Build the condition that a column is NULL."""
    return exp.Is(this=x.copy(), expression=exp.Null())


def _parenthesize(x: exp.Expr) -> exp.Expr:
    return exp.paren(x) if isinstance(x, exp.Binary) else x.copy()


def _column_names(expression: exp.Expr) -> set[str]:
    return {column.name for column in expression.find_all(exp.Column)}


def _layer_name(i: int) -> str:
    return f"slipway_{i}"


ZERO, ONE = number(0.0), number(1.0)
