"""The stages of ``slipway.models.stages`` as SQL expressions.

What is not a number in Python is NULL here, because engines raise errors where Python gives
NaN: no function is called outside its domain. NULL goes through every stage as NULL.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from sqlglot import exp

from slipway.compiler.sql.expressions import (
    LARGEST,
    ONE,
    ZERO,
    Columns,
    Pair,
    add,
    choose,
    divide,
    missing,
    multiply,
    negative,
    number,
    polynomial,
    search,
    subtract,
)
from slipway.compiler.sql.normal_quantile import normal_quantile
from slipway.core.errors import BadInput
from slipway.models.stages import Affine, Clip, Fill, Named, Pieces, Stage

# So many periods away, what is left has 37 of its 53 bits.
MOST_TURNS = 2.0**16
# The largest power that EXP can take, and the least whose result has all its bits.
HIGHEST_POWER, LOWEST_POWER = 709.782712893384, -708.0


def along(columns: Columns, stages: Sequence[Stage], x: exp.Expr) -> exp.Expr:
    """Let a number go through stages, one after the other.

    Parameters
    ----------
    columns : Columns
        Takes what is used more than once.
    stages : sequence of Stage
    x : Expr
        A double, or NULL.

    Returns
    -------
    Expr
        NULL where a stage is not defined.
    """
    for stage in stages:
        x = _stage(columns, stage, columns.let(x, "stage"))
    return x


def power(x: exp.Column) -> exp.Expr:
    """Raise e to a power, without overflow or underflow; NULL where that is no double.

    Parameters
    ----------
    x : Column

    Returns
    -------
    Expr
    """
    low, high = x < number(LOWEST_POWER), x <= number(HIGHEST_POWER)
    return choose([(low, ZERO), (high, exp.Exp(this=x.copy()))])


def _stage(columns: Columns, stage: Stage, x: exp.Column) -> exp.Expr:
    if isinstance(stage, Affine):
        return _affine(stage, x)
    if isinstance(stage, Clip):
        low, high = number(stage.low), number(stage.high)
        return choose([(x < low, low), (x > high, high)], x)
    if isinstance(stage, Fill):
        message = "SQL cannot fill a number for which a function has no result"
        raise BadInput(message, code="inexact_in_sql")
    if isinstance(stage, Named):
        return _NAMED[stage.name](columns, x, *stage.parameters)
    return _pieces(stage, x)


def _affine(stage: Affine, x: exp.Expr) -> exp.Expr:
    """Leave out the steps that change nothing."""
    x = subtract(x, number(stage.subtract)) if stage.subtract else x
    x = divide(x, number(stage.divide)) if stage.divide != 1.0 else x
    x = multiply(x, number(stage.times)) if stage.times != 1.0 else x
    return add(x, number(stage.plus)) if stage.plus else x


def _pieces(stage: Pieces, x: exp.Column) -> exp.Expr:
    pairs = zip(stage.origins, stage.coefficients, strict=True)
    parts = [polynomial(_from(x, origin), coefficients) for origin, coefficients in pairs]
    return choose([(missing(x), exp.Null())], search(x, stage.edges, parts))


def _from(x: exp.Expr, origin: float) -> exp.Expr:
    return subtract(x, number(origin)) if origin else x


def _sigmoid(columns: Columns, x: exp.Column) -> exp.Expr:
    """Turn log-odds into a probability; beyond the range of EXP it is within 1e-307 of 0 or 1."""
    ends: list[Pair] = [(x < number(LOWEST_POWER), ZERO), (x > number(-LOWEST_POWER), ONE)]
    return choose(ends, divide(ONE, add(ONE, exp.Exp(this=negative(x)))))


def _log(columns: Columns, x: exp.Column) -> exp.Expr:
    return choose([(x > ZERO, exp.Ln(this=x.copy()))])


def _log_to(base: float) -> Callable[..., exp.Expr]:
    """Give the logarithm to a base, because LOG means another one in every engine."""
    return lambda columns, x: divide(_log(columns, x), number(math.log(base)))


def _log1p(columns: Columns, x: exp.Column) -> exp.Expr:
    """Divide out what 1 + x was rounded by, which is Kahan's way; few engines have LOG1P."""
    above = columns.let(add(ONE, x), "above")
    exact = multiply(exp.Ln(this=above.copy()), divide(x, subtract(above, ONE)))
    return choose([(above.eq(ONE), x), (above > ZERO, exact)])


def _expm1(columns: Columns, x: exp.Column) -> exp.Expr:
    """Divide out what the power was rounded by, which is Kahan's way too."""
    raised = columns.let(power(x), "power")
    exact = multiply(divide(subtract(raised, ONE), exp.Ln(this=raised.copy())), x)
    ends: list[Pair] = [(raised.eq(ONE), x), (raised < number(1e-17), number(-1.0))]
    return choose([*ends, (raised > ZERO, exact)])


def _box_cox(columns: Columns, x: exp.Column, exponent: float) -> exp.Expr:
    return _raised(columns, columns.let(_log(columns, x), "log"), exponent)


def _yeo_johnson(columns: Columns, x: exp.Column, exponent: float) -> exp.Expr:
    size = columns.let(exp.Abs(this=x.copy()), "size")
    logarithm = columns.let(_log1p(columns, size), "log")
    below = negative(_raised(columns, logarithm, 2.0 - exponent))
    return choose([(x < ZERO, below)], _raised(columns, logarithm, exponent))


def _raised(columns: Columns, logarithm: exp.Column, exponent: float) -> exp.Expr:
    """Give ``(number ** exponent - 1) / exponent`` by the number's logarithm."""
    if exponent == 0:
        return logarithm
    product = columns.let(multiply(logarithm, number(exponent)), "product")
    return divide(_expm1(columns, product), number(exponent))


def _square(columns: Columns, x: exp.Column) -> exp.Expr:
    """Square a number, without overflow, and without the underflow that is an error as well."""
    size = exp.Abs(this=x.copy())
    tiny, fits = size < number(1.0 / LARGEST), size <= number(LARGEST)
    return choose([(tiny, ZERO), (fits, multiply(x, x))])


def _square_root(columns: Columns, x: exp.Column) -> exp.Expr:
    return choose([(x >= ZERO, exp.Sqrt(this=x.copy()))])


def _reciprocal(columns: Columns, x: exp.Column) -> exp.Expr:
    return choose([(x.neq(ZERO), divide(ONE, x))])


def _wrap(columns: Columns, x: exp.Column, start: float, length: float) -> exp.Expr:
    """Bring a number into a period, as Python's ``%`` does, however the quotient was rounded.

    A number that is many periods away loses too many digits on the way back.
    """
    way = columns.let(subtract(x, number(start)), "way")
    turns = columns.let(divide(way, number(length)), "turns")
    whole = multiply(exp.Floor(this=turns.copy()), number(length))
    known = exp.Abs(this=turns.copy()) < number(MOST_TURNS)
    rest = columns.let(choose([(known, subtract(way, whole))]), "rest")
    under = (rest < ZERO, add(rest, number(length)))
    over = (rest >= number(length), subtract(rest, number(length)))
    return add(number(start), choose([under, over], rest))


def _within(columns: Columns, x: exp.Column, low: float, high: float) -> exp.Expr:
    return choose([(exp.and_(x >= number(low), x <= number(high)), x)])


def _itself(columns: Columns, x: exp.Column) -> exp.Expr:
    """Leave a number as it is: what is not finite is NULL already."""
    return x.copy()


_NAMED: dict[str, Callable[..., exp.Expr]] = {
    "within": _within,
    "finite": _itself,
    "known": _itself,
    "sigmoid": _sigmoid,
    "exp": lambda columns, x: power(x),
    "expm1": _expm1,
    "log": _log,
    "log1p": _log1p,
    "log2": _log_to(2.0),
    "log10": _log_to(10.0),
    "sqrt": _square_root,
    "square": _square,
    "absolute": lambda columns, x: exp.Abs(this=x.copy()),
    "negative": lambda columns, x: negative(x),
    "reciprocal": _reciprocal,
    "box-cox": _box_cox,
    "yeo-johnson": _yeo_johnson,
    "normal-quantile": normal_quantile,
    "wrap": _wrap,
}
