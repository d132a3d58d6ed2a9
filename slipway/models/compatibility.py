"""Whether one model version can replace another."""

from __future__ import annotations

from slipway.core.errors import ModelError
from slipway.models.manifest import Manifest
from slipway.models.predictor import Predictor

# Warnings of a record that the model was not trained on.
_UNTRAINED = ("missing_value", "not_whole")


def require_same_callers(old: Manifest, new: Manifest) -> None:
    """Refuse a version whose callers would have to change with it.

    Raises
    ------
    ModelError
        It does not take the records that the other one takes, or answers another question.
    """
    was, now = old.signature.target, new.signature.target
    if was.outcome != now.outcome:
        raise ModelError("it has another target; a start takes it, a swap does not")
    examples = {feature.name: feature.example for feature in old.signature.features}
    for record in [examples, *(row.record for row in old.golden)]:
        if any(warned.code in _UNTRAINED for warned in old.signature.check(record)[2]):
            continue
        _, errors, _ = new.signature.check(record)
        if errors:
            wrong = f"{errors[0].field}: {errors[0].message}"
            raise ModelError(f"it takes other records ({wrong}); a start takes it, a swap does not")


def is_comparable(model: Predictor, candidate: Predictor) -> bool:
    """Whether two versions answer the same question, and take the same features."""
    was, now = model.target, candidate.target
    same = was.outcome == now.outcome
    mine, others = model.manifest.signature.names, candidate.manifest.signature.names
    return same and set(mine) == set(others)
