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


def inner_models(model: Any) -> Iterator[Any]:
    """Yield the innermost models that a model hands its own rows to; itself, if there are none.

    Parameters
    ----------
    model : estimator

    Yields
    ------
    estimator
        Of a pipeline, one without the samplers, which do nothing when it predicts.
    """
    if isinstance(model, Pipeline):
        steps = [(name, step) for name, step in model.steps if not hasattr(step, "fit_resample")]
        if len(steps) == 1:
            yield from inner_models(steps[0][1])
        else:
            yield Pipeline(steps)
        return
    inner = [each for each in _inner(model) if hasattr(each, "get_params") or _is_wrapper(each)]
    if not inner:
        yield model
    for each in inner:
        yield from inner_models(each)


def _is_wrapper(part: Any) -> bool:
    """Whether a part is no estimator, but holds one, as one fold of a calibration does."""
    return hasattr(part, "estimator")


def _inner(model: Any) -> list[Any]:
    """Return the fitted models that a wrapper holds."""
    for name in _SEVERAL:
        found = getattr(model, name, None)
        # Trees and boosters hold their own parts in the same place, and those take other rows.
        if isinstance(found, list) and found and not hasattr(model, "tree_"):
            return [] if hasattr(found[0], "tree_") else found
    for name in _SINGLE:
        found = getattr(model, name, None)
        if found is not None and hasattr(found, "predict"):
            return [found]
    return []


def raw_readings(model: Any, names: tuple[str, ...]) -> InputUses:
    """Find which fitted transformers read the raw columns, through wrappers as well.

    Parameters
    ----------
    model : estimator
    names : tuple of str
        The columns that it was fitted on.

    Returns
    -------
    list of InputUse
    """
    found: InputUses = []
    for inner in inner_models(model):
        found += find_input_uses(inner, names)
    return found
