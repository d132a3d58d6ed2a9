"""The predicting part of a parameter search."""

from __future__ import annotations

from typing import Any

from sklearn.model_selection._search import BaseSearchCV

from slipway.core.errors import ModelError


def get_predicting_part(model: Any) -> Any:
    """Return the best estimator of a search, or the model itself.

    Raises
    ------
    ModelError
        A search has no best estimator because it was fitted with ``refit=False``.
    """
    while isinstance(model, BaseSearchCV):
        if not hasattr(model, "best_estimator_"):
            raise ModelError(
                f"{type(model).__name__} has no best_estimator_; fit it with refit=True"
            )
        model = model.best_estimator_
    return model
