"""What a command prints about a model that it has read."""

from __future__ import annotations

from collections import Counter

from slipway.models.features import Target
from slipway.models.manifest import Manifest


def summary_lines(manifest: Manifest) -> list[str]:
    """Describe a model in three lines: target, features and engine.

    Parameters
    ----------
    manifest : Manifest

    Returns
    -------
    list of str
    """
    signature = manifest.signature
    kinds = Counter(feature.kind for feature in signature.features)
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    return [
        f"{manifest.estimator}: {_prediction(signature.target)}",
        f"{len(signature.features)} features: {counts}",
        _engine(manifest),
    ]


def _engine(manifest: Manifest) -> str:
    """Name the engine that serves a model, and how it was checked or why it is the pickle."""
    if manifest.scorecard is None:
        return f"engine: pickle, because {manifest.reason}"
    rows, golden = manifest.training.rows_read, len(manifest.golden)
    return f"engine: scorecard, equal to the pipeline on {rows:,} rows and {golden} golden rows"


def _prediction(target: Target) -> str:
    """Describe the prediction of a model."""
    if target.task == "regression":
        return f"a value, {target.name}"
    number = target.measure_name
    if not number:
        return f"a label, one of {', '.join(target.classes)}"
    if target.task == "binary":
        return f"the {number} of {target.positive!r}, of {' or '.join(target.classes)}"
    numbers = {"probability": "probabilities", "score": "scores"}[number]
    return f"the {numbers} of {', '.join(target.classes)}"
