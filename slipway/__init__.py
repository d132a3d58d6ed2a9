"""Slipway: the way of a fitted scikit-learn model from a notebook to a production web service."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"


def save(pipeline: Any, X: Any, y: Any, path: Any = "model.pkl", **named: Any) -> Any:
    """Write a fitted pipeline as a model version; see ``slipway.training.version.save``."""
    # Imported here, because the web process must not load scikit-learn.
    from slipway.training.version import save as save_version

    return save_version(pipeline, X, y, path, **named)
