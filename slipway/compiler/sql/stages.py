"""The stages of ``slipway.models.stages`` as SQL expressions.

NaN and infinity are NULL here, because engines raise errors where Python returns NaN. No function
is called outside its domain. NULL stays NULL in every stage.
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
    choose_interval,
    divide,
    is_null,
    multiply,
    negate,
    number,
    polynomial,
    subtract,
)
from slipway.compiler.sql.normal_quantile import normal_quantile
from slipway.core.errors import BadInput
from slipway.models.stages import Affine, Clip, Fill, Named, Pieces, Stage

# At this number of periods, the remainder keeps 37 of its 53 bits.
MAX_PERIODS = 2.0**16
# Largest exponent without overflow, and lowest exponent whose result has full precision.
MAX_EXPONENT, MIN_EXPONENT = 709.782712893384, -708.0


def apply_stages(columns: Columns, stages: Sequence[Stage], x: exp.Expr) -> exp.Expr:
    """Apply stages to a number, one after the other.

    Parameters
    ----------
    columns : Columns
        Receives expressions that are used more than once.
    stages : sequence of Stage
    x : Expr
        A double, or NULL.

    Returns
    -------
    Expr
        NULL where a stage is not defined.
    """
    for stage in stages:
        x = _build_stage(columns, stage, columns.define(x, "stage"))
    return x


def build_exp(x: exp.Column) -> exp.Expr:
    """Build e to the power of a number, without overflow or underflow.

    Parameters
    ----------
    x : Column

    Returns
    -------
    Expr
        NULL where the result does not fit a double.
    """
    low, high = x < number(MIN_EXPONENT), x <= number(MAX_EXPONENT)
    return choose([(low, ZERO), (high, exp.Exp(this=x.copy()))])


def _build_stage(columns: Columns, stage: Stage, x: exp.Column) -> exp.Expr:
    if isinstance(stage, Affine):
        return _build_affine(stage, x)
    if isinstance(stage, Clip):
        low, high = number(stage.low), number(stage.high)
        return choose([(x < low, low), (x > high, high)], x)
    if isinstance(stage, Fill):
        message = "SQL cannot impute a number for which a function has no result"
        raise BadInput(message, code="inexact_in_sql")
    if isinstance(stage, Named):
        return _NAMED[stage.name](columns, x, *stage.parameters)
    return _build_pieces(stage, x)


def _build_affine(stage: Affine, x: exp.Expr) -> exp.Expr:
    """Build an affine stage without the operations that change nothing."""
    x = subtract(x, number(stage.subtract)) if stage.subtract else x
    x = divide(x, number(stage.divide)) if stage.divide != 1.0 else x
    x = multiply(x, number(stage.times)) if stage.times != 1.0 else x
    return add(x, number(stage.plus)) if stage.plus else x


def _build_pieces(stage: Pieces, x: exp.Column) -> exp.Expr:
    pairs = zip(stage.origins, stage.coefficients, strict=True)
    parts = [polynomial(_distance_from(x, origin), coefficients) for origin, coefficients in pairs]
    return choose([(is_null(x), exp.Null())], choose_interval(x, stage.edges, parts))


def _distance_from(x: exp.Expr, origin: float) -> exp.Expr:
    return subtract(x, number(origin)) if origin else x


def _sigmoid(columns: Columns, x: exp.Column) -> exp.Expr:
    """Convert log-odds to a probability. Beyond the range of EXP, 0 or 1 is exact to 1e-307."""
    ends: list[Pair] = [(x < number(MIN_EXPONENT), ZERO), (x > number(-MIN_EXPONENT), ONE)]
    return choose(ends, divide(ONE, add(ONE, exp.Exp(this=negate(x)))))


def _log(columns: Columns, x: exp.Column) -> exp.Expr:
    return choose([(x > ZERO, exp.Ln(this=x.copy()))])


def _log_to(base: float) -> Callable[..., exp.Expr]:
    """Build the logarithm to a base from LN, because LOG differs between engines."""
    return lambda columns, x: divide(_log(columns, x), number(math.log(base)))


def _log1p(columns: Columns, x: exp.Column) -> exp.Expr:
    """Correct the rounding of 1 + x with Kahan's method, because few engines have LOG1P."""
    above = columns.define(add(ONE, x), "above")
    exact = multiply(exp.Ln(this=above.copy()), divide(x, subtract(above, ONE)))
    return choose([(above.eq(ONE), x), (above > ZERO, exact)])


def _expm1(columns: Columns, x: exp.Column) -> exp.Expr:
    """Correct the rounding of the power with Kahan's method."""
    raised = columns.define(build_exp(x), "power")
    exact = multiply(divide(subtract(raised, ONE), exp.Ln(this=raised.copy())), x)
    ends: list[Pair] = [(raised.eq(ONE), x), (raised < number(1e-17), number(-1.0))]
    return choose([*ends, (raised > ZERO, exact)])


def _box_cox(columns: Columns, x: exp.Column, exponent: float) -> exp.Expr:
    return _raise_to(columns, columns.define(_log(columns, x), "log"), exponent)


def _yeo_johnson(columns: Columns, x: exp.Column, exponent: float) -> exp.Expr:
    size = columns.define(exp.Abs(this=x.copy()), "size")
    logarithm = columns.define(_log1p(columns, size), "log")
    below = negate(_raise_to(columns, logarithm, 2.0 - exponent))
    return choose([(x < ZERO, below)], _raise_to(columns, logarithm, exponent))


def _raise_to(columns: Columns, logarithm: exp.Column, exponent: float) -> exp.Expr:
    """Build ``(number ** exponent - 1) / exponent`` from the logarithm of the number."""
    if exponent == 0:
        return logarithm
    product = columns.define(multiply(logarithm, number(exponent)), "product")
    return divide(_expm1(columns, product), number(exponent))


def _square(columns: Columns, x: exp.Column) -> exp.Expr:
    """Square a number without overflow or underflow, which are errors in some engines."""
    size = exp.Abs(this=x.copy())
    tiny, fits = size < number(1.0 / LARGEST), size <= number(LARGEST)
    return choose([(tiny, ZERO), (fits, multiply(x, x))])


def _square_root(columns: Columns, x: exp.Column) -> exp.Expr:
    return choose([(x >= ZERO, exp.Sqrt(this=x.copy()))])


def _reciprocal(columns: Columns, x: exp.Column) -> exp.Expr:
    return choose([(x.neq(ZERO), divide(ONE, x))])


def _wrap(columns: Columns, x: exp.Column, start: float, length: float) -> exp.Expr:
    """Map a number into a period, as Python's ``%`` does for any rounding of the quotient.

    The result is NULL for a number many periods away, which would lose too many digits.
    """
    distance = columns.define(subtract(x, number(start)), "way")
    periods = columns.define(divide(distance, number(length)), "turns")
    whole = multiply(exp.Floor(this=periods.copy()), number(length))
    is_near = exp.Abs(this=periods.copy()) < number(MAX_PERIODS)
    rest = columns.define(choose([(is_near, subtract(distance, whole))]), "rest")
    under = (rest < ZERO, add(rest, number(length)))
    over = (rest >= number(length), subtract(rest, number(length)))
    return add(number(start), choose([under, over], rest))


def _within(columns: Columns, x: exp.Column, low: float, high: float) -> exp.Expr:
    return choose([(exp.and_(x >= number(low), x <= number(high)), x)])


def _identity(columns: Columns, x: exp.Column) -> exp.Expr:
    """Return a number unchanged. Values that are not finite are NULL already."""
    return x.copy()


_NAMED: dict[str, Callable[..., exp.Expr]] = {
    "within": _within,
    "finite": _identity,
    "known": _identity,
    "sigmoid": _sigmoid,
    "exp": lambda columns, x: build_exp(x),
    "expm1": _expm1,
    "log": _log,
    "log1p": _log1p,
    "log2": _log_to(2.0),
    "log10": _log_to(10.0),
    "sqrt": _square_root,
    "square": _square,
    "absolute": lambda columns, x: exp.Abs(this=x.copy()),
    "negative": lambda columns, x: negate(x),
    "reciprocal": _reciprocal,
    "box-cox": _box_cox,
    "yeo-johnson": _yeo_johnson,
    "normal-quantile": normal_quantile,
    "wrap": _wrap,
}
