"""Slipway: the way of a fitted scikit-learn model from a notebook to a production web service."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"


def save(model: Any, X: Any = None, y: Any = None, path: Any = "model.pkl", **named: Any) -> Any:
    """Write a fitted model as a model version; see ``slipway.training.version.save``."""
    # Imported here, because the web process must not load scikit-learn.
    from slipway.training.version import save as save_version

    return save_version(model, X, y, path, **named)
