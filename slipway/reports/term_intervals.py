"""Confidence intervals of the contributions of the features."""

from __future__ import annotations

import math
from itertools import pairwise

from slipway.models.features import Value
from slipway.models.intervals import Uncertainty, two_sided_quantile
from slipway.models.scorecard import StepTerm, Term
from slipway.models.signature import Signature
from slipway.reports.svg_charts import Axis, sample_curve

LEVEL = 0.95


class TermIntervals:
    """Intervals of the contribution of a value, relative to the example of its feature.

    The points of a single value have no meaningful standard error. They are relative to the average
    of the training rows, or to the reference level of an encoder. The rows determine the difference
    of two values, and its variance follows from the covariance.

    Parameters
    ----------
    uncertainty : Uncertainty
    signature : Signature
    """

    def __init__(self, uncertainty: Uncertainty, signature: Signature) -> None:
        self.uncertainty = uncertainty
        self._positions = {name: position for position, name in enumerate(signature.names)}
        self._examples = tuple(feature.example for feature in signature.features)

    def half_width(self, feature: str, value: Value) -> float:
        """Return half the width of the 95% interval of the difference from the example."""
        position = self._positions[feature]
        record = (*self._examples[:position], value, *self._examples[position + 1 :])
        variance = self.uncertainty.variance_between(record, self._examples)
        return two_sided_quantile(LEVEL) * math.sqrt(max(variance, 0.0))

    def half_widths(self, feature: str, term: Term, x: Axis) -> list[float]:
        """Return half the width for each point of a term's curve."""
        return [self.half_width(feature, value) for value in _choose_values(term, x)]


def _choose_values(term: Term, x: Axis) -> list[float]:
    """Return a value for each point of a curve. The ends of an interval get its middle."""
    if not isinstance(term, StepTerm):
        return [value for value, _ in sample_curve(term, x)]
    sides = pairwise((x.low, *term.edges, x.high))
    return [(low + high) / 2 for low, high in sides for _ in range(2)]
