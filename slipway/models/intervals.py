"""Confidence intervals of probabilities, from the covariance of the model's parameters.

    score = z'b;    se = sqrt(z' Sigma z);    interval = sigmoid(score -+ quantile * se)

``z`` is the record's row of the design matrix: 1 for the intercept, then the transformed values,
most of which are zero. ``slipway.training.packaging.covariance`` computes Sigma and cites its
source. A file next to the pickle stores both; the service reads it at the first request for an
interval. This module needs neither numpy nor scikit-learn.
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
    """The nonzero cells of a row, as columns and values, by category."""

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
    """The cells by interval; each edge belongs to the interval above it."""

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
    """A single cell, a function of the number."""

    column: int
    path: tuple[Stage, ...]
    missing: Cells

    def compile_lookup(self) -> Lookup:
        """Build the function from a number to its cell."""
        column, curve, missing = self.column, compose_stages(self.path), self.missing
        return lambda x: missing if x is None else ((column, curve(x)),)


class Design(msgspec.Struct, frozen=True):
    """The mapping from a record to its row of the design matrix.

    Attributes
    ----------
    columns : int
        Number of columns, including the intercept, which is column 0.
    features : tuple of tuple
        For each feature, in the signature's order, the parts that return its cells.
    """

    columns: int
    features: tuple[tuple[ByLevel | ByInterval | ByCurve, ...], ...]


class Uncertainty:
    """The covariance of a model's parameters, for variances and intervals of records.

    Parameters
    ----------
    design : Design
    triangle : array of float
        The lower triangle of the covariance matrix, row by row.
    """

    def __init__(self, design: Design, triangle: array[float]) -> None:
        self.design = design
        starts = [i * (i + 1) // 2 for i in range(design.columns + 1)]
        self._rows = [triangle[a:b] for a, b in pairwise(starts)]
        self._lookups = [
            (i, part.compile_lookup()) for i, parts in enumerate(design.features) for part in parts
        ]

    @classmethod
    def read(cls, path: Path, sha256: str) -> Uncertainty:
        """Read a file that ``encode`` wrote.

        The whole file is read: a memory map would change if the file is overwritten.

        Parameters
        ----------
        path : Path
        sha256 : str
            The hash in the manifest.

        Raises
        ------
        ModelError
            The file is missing, or its hash differs.
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
        """Decode the result of ``encode``.

        Raises
        ------
        ModelError
            The content is invalid, for instance from another version of Slipway.
        """
        head, _, body = content.partition(b"\n")
        try:
            design = msgspec.json.decode(head, type=Design)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ModelError(f"cannot read the design of the covariance: {error}") from error
        if len(body) != 4 * design.columns * (design.columns + 1):
            raise ModelError(
                f"the covariance has {len(body)} bytes, which do not fit {design.columns} columns"
            )
        return cls(design, _doubles(body))

    def encode(self) -> bytes:
        """Encode the design as a line of JSON, then the triangle as little-endian doubles."""
        triangle = array("d")
        for row in self._rows:
            triangle.extend(row)
        if sys.byteorder == "big":
            triangle.byteswap()
        return msgspec.json.encode(self.design) + b"\n" + triangle.tobytes()

    def variance(self, record: Record) -> float:
        """Return the variance of a record's score, ``z' Sigma z``.

        The sum visits only nonzero cells, and each pair of them once. It is
        ``sum_i z_i (2 sum_(j<i) Sigma_ij z_j + Sigma_ii z_i)``.

        Parameters
        ----------
        record : tuple
            Checked values in the features' order.
        """
        return self._quadratic(sorted(self._cells(record)))

    def variance_between(self, one: Record, other: Record) -> float:
        """Return the variance of the difference between two records' scores.

        Cells with equal values cancel out, including the intercept.

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
        """Return the nonzero cells of a record's row, including the intercept."""
        cells = [(0, 1.0)]
        for i, lookup in self._lookups:
            cells += lookup(record[i])
        return cells

    def _quadratic(self, cells: Sequence[tuple[int, float]]) -> float:
        """Return ``z' Sigma z`` of sorted cells."""
        columns, values = zip(*cells, strict=True)
        total = 0.0
        for i, (column, value) in enumerate(cells):
            row = self._rows[column]
            across = sum(map(mul, map(row.__getitem__, columns[:i]), values))
            total += value * (2.0 * across + value * row[column])
        return total

    def interval(self, record: Record, score: float, level: float) -> tuple[float, float]:
        """Return the confidence interval of a record's probability.

        Wald's interval of the log-odds, transformed by the sigmoid. It lies between 0 and 1 and
        contains the predicted probability (Hosmer, Lemeshow and Sturdivant, Applied Logistic
        Regression, 3rd ed., 2013, section 1.4).

        Parameters
        ----------
        record : tuple
            Checked values in the features' order.
        score : float
            The record's log-odds.
        level : float
            The confidence level, between 0 and 1.

        Returns
        -------
        low, high : float
        """
        margin = two_sided_quantile(level) * math.sqrt(max(self.variance(record), 0.0))
        return sigmoid(score - margin), sigmoid(score + margin)


def two_sided_quantile(level: float) -> float:
    """Return the half width of an interval, in standard errors.

    This is the normal quantile of ``(1 + level) / 2``. It is computed from the lower tail, where
    levels near 1 keep their precision.
    """
    # Imported on first use: most services compute no intervals.
    from statistics import NormalDist

    return abs(NormalDist().inv_cdf((1.0 - level) / 2.0))


def parse_level(text: str) -> float:
    """Parse the confidence level in a query string.

    Raises
    ------
    BadInput
        The text is not a number between 0 and 1, both excluded.
    """
    level = float(text) if _LEVEL.fullmatch(text) else 0.0
    if 0.0 < level < 1.0:
        return level
    message = "must be a number between 0 and 1, both excluded, such as 0.95"
    error = FieldError("interval", None, "not_a_level", message)
    raise BadInput("invalid query parameter", errors=[error])


def _doubles(body: bytes) -> array[float]:
    """Decode little-endian doubles."""
    doubles = array("d")
    doubles.frombytes(body)
    if sys.byteorder == "big":
        doubles.byteswap()
    return doubles
