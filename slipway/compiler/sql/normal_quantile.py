"""The quantile function of the normal distribution as SQL."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from slipway.compiler.sql.expressions import (
    LARGEST,
    ONE,
    ZERO,
    Columns,
    Pair,
    choose,
    divide,
    multiply,
    negate,
    number,
    polynomial,
    subtract,
)

# Wichura (1988), algorithm AS 241, PPND16: coefficients of a numerator and a denominator for the
# centre, the near tails and the far tails, with the constant first.
CENTRE, NEAR, FAR = (
    (
        (
            3.3871328727963665,
            133.14166789178438,
            1971.5909503065513,
            13731.69376550946,
            45921.95393154987,
            67265.7709270087,
            33430.57558358813,
            2509.0809287301227,
        ),
        (
            1.0,
            42.31333070160091,
            687.1870074920579,
            5394.196021424751,
            21213.794301586597,
            39307.89580009271,
            28729.085735721943,
            5226.495278852854,
        ),
    ),
    (
        (
            1.4234371107496835,
            4.630337846156546,
            5.769497221460691,
            3.6478483247632045,
            1.2704582524523684,
            0.2417807251774506,
            0.022723844989269184,
            0.0007745450142783414,
        ),
        (
            1.0,
            2.053191626637759,
            1.6763848301838038,
            0.6897673349851,
            0.14810397642748008,
            0.015198666563616457,
            0.0005475938084995345,
            1.0507500716444169e-09,
        ),
    ),
    (
        (
            6.657904643501103,
            5.463784911164114,
            1.7848265399172913,
            0.29656057182850487,
            0.026532189526576124,
            0.0012426609473880784,
            2.7115555687434876e-05,
            2.0103343992922881e-07,
        ),
        (
            1.0,
            0.599832206555888,
            0.1369298809227358,
            0.014875361290850615,
            0.0007868691311456133,
            1.8463183175100548e-05,
            1.421511758316446e-07,
            2.0442631033899397e-15,
        ),
    ),
)


def normal_quantile(columns: Columns, p: exp.Column) -> exp.Expr:
    """Build the normal quantile of a probability, exact to 1e-15.

    Parameters
    ----------
    columns : Columns
        Receives expressions that are used more than once.
    p : Column

    Returns
    -------
    Expr
        At 0 and 1 the smallest and largest accepted number, which the next stage clips.
    """
    half = number(0.5)
    middle = columns.define(subtract(p, half), "middle")
    tail = columns.define(choose([(p < half, p)], subtract(ONE, p)), "tail")
    root = columns.define(choose([(tail > ZERO, _build_root_of_log(tail))]), "root")
    near, far = (
        _build_ratio(NEAR, subtract(root, number(1.6))),
        _build_ratio(FAR, subtract(root, number(5.0))),
    )
    outer = columns.define(choose([(root <= number(5.0), near)], far), "outer")
    square = columns.define(subtract(number(0.180625), multiply(middle, middle)), "square")
    inside = exp.Abs(this=middle.copy()) <= number(0.425)
    pairs: list[Pair] = [
        (p <= ZERO, number(-LARGEST)),
        (p >= ONE, number(LARGEST)),
        (inside, multiply(middle, _build_ratio(CENTRE, square))),
        (middle < ZERO, negate(outer)),
    ]
    return choose(pairs, outer)


def _build_root_of_log(x: exp.Expr) -> exp.Expr:
    return exp.Sqrt(this=negate(exp.Ln(this=x.copy())))


def _build_ratio(coefficients: Sequence[Sequence[float]], x: exp.Expr) -> exp.Expr:
    return divide(polynomial(x, coefficients[0]), polynomial(x, coefficients[1]))
