"""The part of a search over parameters that predicts."""

from __future__ import annotations

from typing import Any

from sklearn.model_selection._search import BaseSearchCV

from slipway.core.errors import ModelError


def answering_part(model: Any) -> Any:
    """Return the part of a model that predicts: of a search, its best estimator.

    Raises
    ------
    ModelError
        A search has none, because it was told not to refit it.
    """
    while isinstance(model, BaseSearchCV):
        if not hasattr(model, "best_estimator_"):
            raise ModelError(
                f"the {type(model).__name__} has no best_estimator_; fit it with refit=True"
            )
        model = model.best_estimator_
    return model
