"""Functions of one number, as stages that can be stored in JSON and translated to SQL.

A numeric transformer is a sequence of stages. Each uses the same arithmetic as scikit-learn, so
that a number on an edge falls on the same side.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import msgspec

Curve = Callable[[float], float]
Name = Literal[
    "sigmoid",
    "exp",
    "expm1",
    "log",
    "log1p",
    "log2",
    "log10",
    "sqrt",
    "square",
    "absolute",
    "negative",
    "reciprocal",
    "box-cox",
    "yeo-johnson",
    "normal-quantile",
    "within",
    "wrap",
    "finite",
    "known",
]


class Affine(msgspec.Struct, frozen=True, omit_defaults=True, tag="affine", tag_field="kind"):
    """``(x - subtract) / divide * times + plus``, in that order."""

    subtract: float = 0.0
    divide: float = 1.0
    times: float = 1.0
    plus: float = 0.0

    def compile_function(self) -> Curve:
        """Build the function."""
        subtract, divide, times, plus = self.subtract, self.divide, self.times, self.plus
        return lambda x: (x - subtract) / divide * times + plus


class Clip(msgspec.Struct, frozen=True, tag="clip", tag_field="kind"):
    """The number clipped to the range from ``low`` to ``high``."""

    low: float
    high: float

    def compile_function(self) -> Curve:
        """Build the function."""
        low, high = self.low, self.high
        return lambda x: low if x < low else high if x > high else x


class Named(msgspec.Struct, frozen=True, omit_defaults=True, tag="named", tag_field="kind"):
    """A function by name; NaN outside its domain.

    Overflow and the logarithm of 0 are infinite, as in numpy. The parameter of ``box-cox`` and
    ``yeo-johnson`` is their lambda. The parameters of ``within`` are the ends of its domain, those
    of ``wrap`` the start and the length of a period. ``finite`` and ``known`` represent a step
    that raises for infinity; ``known`` also marks a step that raises for NaN.
    """

    name: Name
    parameters: tuple[float, ...] = ()

    def compile_function(self) -> Curve:
        """Build the function."""
        if self.name == "sigmoid":
            return sigmoid
        function = _NAMED[self.name]
        return partial(function, *self.parameters) if self.parameters else function


class Fill(msgspec.Struct, frozen=True, tag="fill", tag_field="kind"):
    """A replacement for NaN, such as an imputer after a logarithm; infinity becomes NaN."""

    value: float

    def compile_function(self) -> Curve:
        """Build the function."""
        value = self.value
        return lambda x: x if x - x == 0.0 else value if math.isnan(x) else math.nan


class Pieces(msgspec.Struct, frozen=True, tag="pieces", tag_field="kind"):
    """A piecewise polynomial.

    Attributes
    ----------
    edges : tuple of float
        The boundaries of the intervals; each edge belongs to the interval above it.
    origins : tuple of float
        The origin of each polynomial; one more than ``edges``.
    coefficients : tuple of tuple of float
        The coefficients of each polynomial in ``x - origin``, the constant first.
    """

    edges: tuple[float, ...]
    origins: tuple[float, ...]
    coefficients: tuple[tuple[float, ...], ...]

    @property
    def degree(self) -> int:
        """The highest degree of the polynomials."""
        return max(map(len, self.coefficients)) - 1

    def compile_function(self) -> Curve:
        """Build the function."""
        edges, origins = self.edges, self.origins
        descending = tuple(tuple(reversed(piece)) for piece in self.coefficients)
        if self.degree == 0:
            points = tuple(piece[0] for piece in descending)
            # scikit-learn would reject numbers that are not finite.
            return lambda x: points[bisect_right(edges, x)] if x - x == 0.0 else math.nan

        def value(x: float) -> float:
            if x - x != 0.0:
                return math.nan
            i = bisect_right(edges, x)
            distance = x - origins[i]
            total = 0.0
            for coefficient in descending[i]:
                total = total * distance + coefficient
            # Estimators raise for a column that overflows.
            return total if total - total == 0.0 else math.nan

        return value


Stage = Affine | Clip | Named | Fill | Pieces
SIGMOID = (Named("sigmoid"),)


def step_function(edges: Sequence[float], points: Sequence[float]) -> Pieces:
    """Return a function that is constant in each interval."""
    origins = (0.0,) * len(points)
    return Pieces(tuple(edges), origins, tuple((float(point),) for point in points))


def compose_stages(stages: Sequence[Stage]) -> Curve:
    """Build the function that applies the stages in order.

    Parameters
    ----------
    stages : sequence of Stage

    Returns
    -------
    callable
        From a number to a number; NaN if a stage is not defined for it.
    """
    functions = [stage.compile_function() for stage in stages]
    if len(functions) == 1:
        return functions[0]

    def value(x: float) -> float:
        for function in functions:
            x = function(x)
        return x

    return value


def sigmoid(log_odds: float) -> float:
    """Return the probability for log-odds, without overflow.

    Parameters
    ----------
    log_odds : float

    Returns
    -------
    float
        ``1 / (1 + exp(-log_odds))``, the inverse of the logit.
    """
    if log_odds >= 0:
        return 1.0 / (1.0 + math.exp(-log_odds))
    odds = math.exp(log_odds)
    return odds / (1.0 + odds)


def _exp(x: float) -> float:
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def _expm1(x: float) -> float:
    try:
        return math.expm1(x)
    except OverflowError:
        return math.inf


def _from(lowest: float, function: Curve, x: float) -> float:
    """Return a logarithm: minus infinity at the lowest input, and NaN below it."""
    if x > lowest:
        return function(x)
    return -math.inf if x == lowest else math.nan


def _sqrt(x: float) -> float:
    return math.sqrt(x) if x >= 0.0 else math.nan


def _reciprocal(x: float) -> float:
    return 1.0 / x if x else math.copysign(math.inf, x)


def _box_cox(power: float, x: float) -> float:
    """Box and Cox (1964), as ``scipy.special.boxcox``; NaN unless x is positive."""
    if not x > 0.0:
        return math.nan
    return math.log(x) if power == 0 else _expm1(power * math.log(x)) / power


def _yeo_johnson(power: float, x: float) -> float:
    """Yeo and Johnson (2000), as ``scipy.stats.yeojohnson``."""
    if x < 0:
        return -_yeo_johnson(2.0 - power, -x)
    return math.log1p(x) if power == 0 else _expm1(power * math.log1p(x)) / power


def _normal_quantile(p: float) -> float:
    """Quantile of the normal distribution: Wichura's algorithm AS 241, good to 1e-16."""
    from statistics import NormalDist

    if 0.0 < p < 1.0:
        return NormalDist().inv_cdf(p)
    if math.isnan(p):
        return p
    return math.copysign(math.inf, p - 0.5)


def _finite(x: float) -> float:
    return x if x - x == 0.0 else math.nan


_NAMED: dict[str, Callable[..., float]] = {
    "exp": _exp,
    "expm1": _expm1,
    "log": partial(_from, 0.0, math.log),
    "log1p": partial(_from, -1.0, math.log1p),
    "log2": partial(_from, 0.0, math.log2),
    "log10": partial(_from, 0.0, math.log10),
    "sqrt": _sqrt,
    "square": lambda x: x * x,
    "absolute": abs,
    "negative": lambda x: -x,
    "reciprocal": _reciprocal,
    "box-cox": _box_cox,
    "yeo-johnson": _yeo_johnson,
    "normal-quantile": _normal_quantile,
    "within": lambda low, high, x: x if low <= x <= high else math.nan,
    "wrap": lambda start, length, x: start + (x - start) % length,
    "finite": _finite,
    "known": _finite,
}
