"""The columns that a model was fitted on but does not read."""

from __future__ import annotations

from typing import Any

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from slipway.training.packaging.inner_models import iter_inner_models
from slipway.training.packaging.input_rows import first_rows, predictions_match


def find_read_columns(model: Any, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns that a fitted model reads, in their order.

    Parameters
    ----------
    model : estimator
    names : tuple of str
        All columns that the model was fitted on.

    Returns
    -------
    tuple of str
        All columns, unless the first step is a ``ColumnTransformer`` that drops some.
    """
    read: set[int] = set()
    for inner in iter_inner_models(model):
        first = _first_step(inner)
        if not isinstance(first, ColumnTransformer) or not hasattr(first, "transformers_"):
            return names
        read |= _read_positions(first)
    return tuple(name for i, name in enumerate(names) if i in read) if read else names


def _read_positions(step: ColumnTransformer) -> set[int]:
    """Return the positions of the columns that a step reads."""
    return {
        int(i)
        for name, part, _ in step.transformers_
        if not (isinstance(part, str) and part == "drop")
        for i in step._transformer_to_input_indices.get(name, ())
    }


def ignores_other_columns(model: Any, X: pd.DataFrame, read: tuple[str, ...]) -> bool:
    """Return whether a model predicts the same from some columns, the others missing."""
    sample = first_rows(X)
    reduced = sample[list(read)].reindex(columns=X.columns)
    return predictions_match(model, sample, reduced)


def _first_step(model: Any) -> Any:
    """Return the first step that is not a passthrough."""
    if not isinstance(model, Pipeline):
        return model
    for _, step in model.steps:
        if step is not None and not (isinstance(step, str) and step == "passthrough"):
            return _first_step(step)
    return model
