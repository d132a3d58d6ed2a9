"""Functions from the scores of a scorecard to probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, fsum

from slipway.models.labels import LabelledNumber
from slipway.models.stages import sigmoid

# Below this distance from zero, the sigmoid of a score of either sign can be 0.5.
NEARLY_TIED = 1e-15


def labelled_sigmoid(log_odds: float) -> float:
    """Return the sigmoid of log-odds; a result of 0.5 carries the label of the score's sign."""
    if log_odds > NEARLY_TIED:
        return 1.0 / (1.0 + exp(-log_odds))
    if log_odds < -NEARLY_TIED:
        odds = exp(log_odds)
        return odds / (1.0 + odds)
    probability = sigmoid(log_odds)
    if probability == 0.5 and log_odds != 0.0:
        return LabelledNumber(probability, int(log_odds > 0.0))
    return probability


def softmax(scores: Sequence[float]) -> tuple[float, ...]:
    """Return the probabilities of all classes from their scores."""
    highest = max(scores)
    exponentials = [exp(score - highest) for score in scores]
    total = fsum(exponentials)
    return tuple(exponential / total for exponential in exponentials)


def normalize(probabilities: Sequence[float]) -> tuple[float, ...]:
    """Divide each class's own probability by their sum; return equal ones if the sum is zero."""
    total = fsum(probabilities)
    if total == 0.0:
        return (1.0 / len(probabilities),) * len(probabilities)
    return tuple(p / total for p in probabilities)


def normalize_or_zero(probabilities: Sequence[float]) -> tuple[float, ...]:
    """Divide each class's own probability by their sum, unless the sum is zero."""
    total = fsum(probabilities)
    return tuple(probabilities) if total == 0.0 else tuple(p / total for p in probabilities)
