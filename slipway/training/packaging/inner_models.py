"""The models inside a model that take the same rows as the model itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sklearn.pipeline import Pipeline

from slipway.compiler import find_input_uses
from slipway.compiler.steps import InputUses

# Fitted attributes that hold one model or several, by wrappers such as CalibratedClassifierCV,
# TransformedTargetRegressor, FixedThresholdClassifier, VotingClassifier and OneVsRestClassifier.
_SINGLE = ("best_estimator_", "regressor_", "estimator_", "estimator")
_SEVERAL = ("calibrated_classifiers_", "estimators_")


def iter_inner_models(model: Any) -> Iterator[Any]:
    """Yield the innermost models that receive the same rows as the model, or the model itself.

    Parameters
    ----------
    model : estimator

    Yields
    ------
    estimator
        A pipeline without its samplers, which do nothing in ``predict``.
    """
    if isinstance(model, Pipeline):
        steps = [(name, step) for name, step in model.steps if not hasattr(step, "fit_resample")]
        if len(steps) == 1:
            yield from iter_inner_models(steps[0][1])
        else:
            yield Pipeline(steps)
        return
    parts = [
        part for part in _find_parts(model) if hasattr(part, "get_params") or _is_wrapper(part)
    ]
    if not parts:
        yield model
    for part in parts:
        yield from iter_inner_models(part)


def _is_wrapper(part: Any) -> bool:
    """Return whether a part contains an estimator, as a fold of a calibration does."""
    return hasattr(part, "estimator")


def _find_parts(model: Any) -> list[Any]:
    """Return the fitted models inside a wrapper."""
    for name in _SEVERAL:
        parts = getattr(model, name, None)
        # Trees and boosters keep parts that take other rows in the same attribute.
        if isinstance(parts, list) and parts and not hasattr(model, "tree_"):
            return [] if hasattr(parts[0], "tree_") else parts
    for name in _SINGLE:
        part = getattr(model, name, None)
        if part is not None and hasattr(part, "predict"):
            return [part]
    return []


def find_raw_input_uses(model: Any, names: tuple[str, ...]) -> InputUses:
    """Find the fitted transformers that read the raw columns, also inside wrappers.

    Parameters
    ----------
    model : estimator
    names : tuple of str
        The columns that the model was fitted on.

    Returns
    -------
    list of InputUse
    """
    uses: InputUses = []
    for inner in iter_inner_models(model):
        uses += find_input_uses(inner, names)
    return uses
