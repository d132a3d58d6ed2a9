"""From the scores of a scorecard to probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, fsum

from slipway.models.labels import LabelledNumber
from slipway.models.stages import sigmoid

# The sigmoid of a score nearer to zero can be a half, whichever sign the score has.
NEARLY_TIED = 1e-15


def signed_sigmoid(log_odds: float) -> float:
    """Turn log-odds into a probability as ``sigmoid`` does; a half carries the score's sign."""
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
    """Turn the scores of all classes into probabilities."""
    highest = max(scores)
    powers = [exp(score - highest) for score in scores]
    total = fsum(powers)
    return tuple(power / total for power in powers)


def shares(probabilities: Sequence[float]) -> tuple[float, ...]:
    """Divide each class's own probability by the sum; all zero means all the same."""
    total = fsum(probabilities)
    if total == 0.0:
        return (1.0 / len(probabilities),) * len(probabilities)
    return tuple(each / total for each in probabilities)


def zero_shares(probabilities: Sequence[float]) -> tuple[float, ...]:
    """Divide each class's own probability by the sum, where that is not zero."""
    total = fsum(probabilities)
    return tuple(probabilities) if total == 0.0 else tuple(p / total for p in probabilities)
