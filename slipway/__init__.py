"""Slipway: the way of a fitted scikit-learn model from a notebook to a production web service.

The names of the public API load on first use, because ``import slipway`` does no work.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from slipway.core.version import __version__

if TYPE_CHECKING:
    from slipway.data.problem import Problem, PromotionRules
    from slipway.models.features import Feature, Target
    from slipway.training.packaging.version import save

__all__ = ["Feature", "Problem", "PromotionRules", "Target", "__version__", "save"]

_PLACES = {
    "Feature": "slipway.models.features",
    "Problem": "slipway.data.problem",
    "PromotionRules": "slipway.data.problem",
    "Target": "slipway.models.features",
    "save": "slipway.training.packaging.version",
}


def __getattr__(name: str) -> Any:
    """Load a name of the public API."""
    if name not in _PLACES:
        raise AttributeError(f"module 'slipway' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
