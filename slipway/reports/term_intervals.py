"""How sure a model is of the difference that one feature makes."""

from __future__ import annotations

import math
from itertools import pairwise

from slipway.models.features import Value
from slipway.models.intervals import Uncertainty, two_sided_quantile
from slipway.models.scorecard import StepTerm, Term
from slipway.models.signature import Signature
from slipway.reports.svg_charts import Axis, curve

LEVEL = 0.95


class TermIntervals:
    """Intervals for what a value of a feature adds more than the feature's example.

    The points of one value alone have no standard error that means much: they count from the
    average of the training rows, or from whatever an encoder chose. The difference of two
    values is what the rows tell, and its variance follows from the covariance.

    Parameters
    ----------
    uncertainty : Uncertainty
    signature : Signature
    """

    def __init__(self, uncertainty: Uncertainty, signature: Signature) -> None:
        self.uncertainty = uncertainty
        self._places = {name: place for place, name in enumerate(signature.names)}
        self._examples = tuple(feature.example for feature in signature.features)

    def reach(self, feature: str, value: Value) -> float:
        """Give how far the 95% interval reaches to either side of the difference."""
        place = self._places[feature]
        record = (*self._examples[:place], value, *self._examples[place + 1 :])
        variance = self.uncertainty.variance_between(record, self._examples)
        return two_sided_quantile(LEVEL) * math.sqrt(max(variance, 0.0))

    def reaches(self, feature: str, term: Term, x: Axis) -> list[float]:
        """Give the same for each point of a term's curve."""
        return [self.reach(feature, value) for value in _values(term, x)]


def _values(term: Term, x: Axis) -> list[float]:
    """Give a value for each point of a curve; of an interval its middle, at both of its ends."""
    if not isinstance(term, StepTerm):
        return [value for value, _ in curve(term, x)]
    sides = pairwise((x.low, *term.edges, x.high))
    return [(low + high) / 2 for low, high in sides for _ in range(2)]
