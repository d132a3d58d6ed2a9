"""An interval for a probability, from the covariance of the parameters behind it.

    score = z'b;    se = sqrt(z' Sigma z);    interval = sigmoid(score -+ quantile * se)

``z`` is the record's row of the design, which is 1 for the intercept and then holds what the
pipeline makes of each value; most of it is zero. ``slipway.training.packaging.covariance``
computes Sigma and gives its source. Both lie in a file beside the pickle, which is read when an
interval is asked for the first time. Nothing here needs numpy or scikit-learn.
"""

from __future__ import annotations

import hashlib
import math
import re
import sys
from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise
from operator import mul
from pathlib import Path
from typing import Any

import msgspec

from slipway.core.errors import BadInput, FieldError, ModelError
from slipway.models.features import Record
from slipway.models.stages import Stage, compose_stages, sigmoid

Cells = tuple[tuple[int, float], ...]
Lookup = Callable[[Any], Cells]
_LEVEL = re.compile(r"(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)


class ByLevel(msgspec.Struct, frozen=True, tag="level", tag_field="by"):
    """The cells of a row, column and value, by category; those that are zero are left out."""

    levels: tuple[str | int | bool | float, ...]
    cells: tuple[Cells, ...]
    missing: Cells
    unseen: Cells

    def compile_lookup(self) -> Lookup:
        """Build the function from a value to its cells."""
        known: dict[Any, Cells] = dict(zip(self.levels, self.cells, strict=True))
        known[None] = self.missing
        unseen = self.unseen
        return lambda value: known.get(value, unseen)


class ByInterval(msgspec.Struct, frozen=True, tag="interval", tag_field="by"):
    """The cells by the interval that a number falls into; an edge belongs to the one above."""

    path: tuple[Stage, ...]
    edges: tuple[float, ...]
    cells: tuple[Cells, ...]
    missing: Cells

    def compile_lookup(self) -> Lookup:
        """Build the function from a number to its cells."""
        edges, cells, missing = self.edges, self.cells, self.missing
        if not self.path:
            return lambda x: missing if x is None else cells[bisect_right(edges, x)]
        curve = compose_stages(self.path)
        return lambda x: missing if x is None else cells[bisect_right(edges, curve(x))]


class ByCurve(msgspec.Struct, frozen=True, tag="curve", tag_field="by"):
    """The one cell that follows a number along a curve."""

    column: int
    path: tuple[Stage, ...]
    missing: Cells

    def compile_lookup(self) -> Lookup:
        """Build the function from a number to its cell."""
        column, curve, missing = self.column, compose_stages(self.path), self.missing
        return lambda x: missing if x is None else ((column, curve(x)),)


class Design(msgspec.Struct, frozen=True):
    """How a record becomes a row of the design.

    Attributes
    ----------
    columns : int
        With the intercept, which is column 0.
    features : tuple of tuple
        By feature, in the signature's order, what gives its cells.
    """

    columns: int
    features: tuple[tuple[ByLevel | ByInterval | ByCurve, ...], ...]


class Uncertainty:
    """The covariance of a model's parameters, ready to be asked about records.

    Parameters
    ----------
    design : Design
    triangle : array of float
        The covariance's lower triangle, row after row.
    """

    def __init__(self, design: Design, triangle: array[float]) -> None:
        self.design = design
        starts = [i * (i + 1) // 2 for i in range(design.columns + 1)]
        self._rows = [triangle[a:b] for a, b in pairwise(starts)]
        self._lookups = [
            (place, part.compile_lookup())
            for place, parts in enumerate(design.features)
            for part in parts
        ]

    @classmethod
    def read(cls, path: Path, sha256: str) -> Uncertainty:
        """Read the file that ``encode`` made.

        It is read in whole, because a mapped file would change under a running service when
        it is written anew.

        Parameters
        ----------
        path : Path
        sha256 : str
            What the manifest says of it.

        Raises
        ------
        ModelError
            It is not there, or is not that very file.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ModelError(f"cannot read {path.name}: {error.strerror}") from error
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ModelError(f"{path.name} is not the file its manifest describes: sha256 differs")
        return cls.decode(content)

    @classmethod
    def decode(cls, content: bytes) -> Uncertainty:
        """Take apart what ``encode`` put together.

        Raises
        ------
        ModelError
            It is something else, for instance from another version of Slipway.
        """
        head, _, body = content.partition(b"\n")
        try:
            design = msgspec.json.decode(head, type=Design)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ModelError(f"the covariance's design cannot be read: {error}") from error
        if len(body) != 4 * design.columns * (design.columns + 1):
            raise ModelError(f"the covariance does not fill {design.columns} columns")
        return cls(design, _doubles(body))

    def encode(self) -> bytes:
        """Write the design as a line of JSON, then the triangle as little-endian doubles."""
        triangle = array("d")
        for row in self._rows:
            triangle.extend(row)
        if sys.byteorder == "big":
            triangle.byteswap()
        return msgspec.json.encode(self.design) + b"\n" + triangle.tobytes()

    def variance(self, record: Record) -> float:
        """Give the variance of a record's score, ``z' Sigma z``.

        Only the cells that are not zero count, and each pair of them once: the sum is
        ``sum_i z_i (2 sum_(j<i) Sigma_ij z_j + Sigma_ii z_i)``.

        Parameters
        ----------
        record : tuple
            Checked values in the features' order.
        """
        return self._quadratic(sorted(self._cells(record)))

    def variance_between(self, one: Record, other: Record) -> float:
        """Give the variance of the difference of two records' scores.

        Cells that both have are no part of it, least of all the intercept.

        Parameters
        ----------
        one, other : tuple
            Checked values in the features' order.
        """
        difference: dict[int, float] = {}
        for sign, record in ((1.0, one), (-1.0, other)):
            for column, value in self._cells(record):
                difference[column] = difference.get(column, 0.0) + sign * value
        cells = sorted((column, value) for column, value in difference.items() if value)
        return self._quadratic(cells) if cells else 0.0

    def _cells(self, record: Record) -> list[tuple[int, float]]:
        """Give the cells of a record's row, the intercept's included."""
        cells = [(0, 1.0)]
        for place, lookup in self._lookups:
            cells += lookup(record[place])
        return cells

    def _quadratic(self, cells: Sequence[tuple[int, float]]) -> float:
        """Give ``z' Sigma z`` of sorted cells."""
        columns, values = zip(*cells, strict=True)
        total = 0.0
        for i, (column, value) in enumerate(cells):
            row = self._rows[column]
            across = sum(map(mul, map(row.__getitem__, columns[:i]), values))
            total += value * (2.0 * across + value * row[column])
        return total

    def interval(self, record: Record, score: float, level: float) -> tuple[float, float]:
        """Give the interval of a record's probability.

        Wald's interval on the log-odds, led through the sigmoid: it stays between 0 and 1, and
        holds the probability (Hosmer, Lemeshow and Sturdivant, Applied Logistic Regression,
        3rd ed., 2013, section 1.4).

        Parameters
        ----------
        record : tuple
            Checked values in the features' order.
        score : float
            The record's log-odds.
        level : float
            The probability that the interval is made for, between 0 and 1.

        Returns
        -------
        low, high : float
        """
        reach = two_sided_quantile(level) * math.sqrt(max(self.variance(record), 0.0))
        return sigmoid(score - reach), sigmoid(score + reach)


def two_sided_quantile(level: float) -> float:
    """Give the number of standard errors that an interval reaches to either side.

    It is the normal distribution's quantile of ``(1 + level) / 2``, taken from the lower tail,
    where a level near 1 keeps its digits.
    """
    # A service of which nobody asks an interval does not need these.
    from statistics import NormalDist

    return abs(NormalDist().inv_cdf((1.0 - level) / 2.0))


def parse_level(text: str) -> float:
    """Read the level that a query asks for.

    Raises
    ------
    BadInput
        It is not a number between 0 and 1, both excluded.
    """
    level = float(text) if _LEVEL.fullmatch(text) else 0.0
    if 0.0 < level < 1.0:
        return level
    message = "must be a number between 0 and 1, both excluded, for instance 0.95"
    error = FieldError("interval", None, "not_a_level", message)
    raise BadInput("the query is not understood", errors=[error])


def _doubles(body: bytes) -> array[float]:
    """Read little-endian doubles."""
    doubles = array("d")
    doubles.frombytes(body)
    if sys.byteorder == "big":
        doubles.byteswap()
    return doubles
