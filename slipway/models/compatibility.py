"""Checks whether one model version can replace another."""

from __future__ import annotations

from slipway.core.errors import ModelError
from slipway.models.manifest import Manifest
from slipway.models.predictor import Predictor

# Warnings about values that the training rows did not contain.
_UNTRAINED = ("missing_value", "not_whole")


def require_compatible(old: Manifest, new: Manifest) -> None:
    """Reject a version that would require clients to change.

    Raises
    ------
    ModelError
        The new version has another target, or rejects records that the old one accepts.
    """
    if old.signature.target.outcome != new.signature.target.outcome:
        raise ModelError("the new version has another target; restart the service to serve it")
    examples = {feature.name: feature.example for feature in old.signature.features}
    for record in [examples, *(row.record for row in old.golden)]:
        if any(warning.code in _UNTRAINED for warning in old.signature.check(record)[2]):
            continue
        _, errors, _ = new.signature.check(record)
        if errors:
            fault = f"{errors[0].field}: {errors[0].message}"
            message = f"the new version rejects records that the old one accepts ({fault})"
            raise ModelError(f"{message}; restart the service to serve it")


def is_comparable(model: Predictor, candidate: Predictor) -> bool:
    """Whether two versions have the same outcome and the same features."""
    if model.target.outcome != candidate.target.outcome:
        return False
    names, candidate_names = model.manifest.signature.names, candidate.manifest.signature.names
    return set(names) == set(candidate_names)
