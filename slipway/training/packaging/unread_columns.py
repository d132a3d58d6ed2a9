"""The columns that a model was fitted on and drops unread."""

from __future__ import annotations

from typing import Any

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from slipway.training.packaging.inner_models import inner_models
from slipway.training.packaging.input_rows import answers_alike, few


def read_columns(model: Any, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns that a fitted model reads, in their order.

    Parameters
    ----------
    model : estimator
    names : tuple of str
        All columns that it was fitted on.

    Returns
    -------
    tuple of str
        All of them, unless a ``ColumnTransformer`` comes first and drops some.
    """
    read: set[int] = set()
    for inner in inner_models(model):
        first = _first_step(inner)
        if not isinstance(first, ColumnTransformer) or not hasattr(first, "transformers_"):
            return names
        read |= _read(first)
    return tuple(name for i, name in enumerate(names) if i in read) if read else names


def _read(step: ColumnTransformer) -> set[int]:
    """Return the places of the columns that a step reads."""
    return {
        int(i)
        for name, part, _ in step.transformers_
        if not (isinstance(part, str) and part == "drop")
        for i in step._transformer_to_input_indices.get(name, ())
    }


def ignores(model: Any, X: pd.DataFrame, read: tuple[str, ...]) -> bool:
    """Whether a model answers the same where all columns but some are missing."""
    some = few(X)
    bare = some[list(read)].reindex(columns=X.columns)
    return answers_alike(model, some, bare)


def _first_step(model: Any) -> Any:
    """Return the first step that does anything."""
    if not isinstance(model, Pipeline):
        return model
    for _, step in model.steps:
        if step is not None and not (isinstance(step, str) and step == "passthrough"):
            return _first_step(step)
    return model
