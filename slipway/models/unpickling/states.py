"""Restore the state of objects, with checking setters or as plain attributes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from slipway.models.unpickling.placeholder import Placeholder
from slipway.models.unpickling.plain import is_plain
from slipway.models.unpickling.rejection import Budget, require

Setter = Callable[[Any, Any, Budget], None]
# Classes whose __setstate__ uses only checked attributes, or ignores its argument.
_HARMLESS = {
    ("sklearn.base", "BaseEstimator"),
    ("sklearn.isotonic", "IsotonicRegression"),
    ("sklearn.utils._bunch", "Bunch"),
}
_CATBOOST = ("_prediction_values_change", "_loss_value_change")


def set_state(instance: Any, state: Any, budget: Budget, *, may_set_attributes: bool) -> None:
    """Restore the state of an object.

    Plain attributes may be set only on objects that the unpickler has constructed. Other objects,
    such as time zones, may be shared with the rest of the process.

    Raises
    ------
    PickleRejected
        The object has no state, or the state is invalid.
    """
    kind: Any = type(instance)
    setter = find_setter(kind)
    require(
        may_set_attributes or setter is not _set_attributes, f"changes an object of {kind.__name__}"
    )
    setter(instance, state, budget)


@lru_cache(10_000)
def find_setter(kind: type) -> Setter:
    """Return the function that restores the state of objects of a type."""
    package = kind.__module__.partition(".")[0]
    finder = _FINDERS.get(package)
    setter = finder(kind) if finder else None
    return setter or _set_attributes


def _without_budget(function: Callable[[Any, Any], None]) -> Setter:
    return lambda instance, state, budget: function(instance, state)


def _numpy_setter(kind: type) -> Setter | None:
    import numpy as np

    from slipway.models.unpickling import arrays, generators

    if kind is np.ndarray:
        return arrays.set_array
    if kind is np.ma.MaskedArray:
        return arrays.set_masked
    if issubclass(kind, np.dtype):
        return _without_budget(arrays.set_dtype)
    if kind in generators.BIT_GENERATORS.values():
        return _without_budget(generators.set_bit_generator)
    if kind in (np.random.RandomState, np.random.Generator):
        return _without_budget(generators.set_random_state)
    if kind is np.random.SeedSequence:
        return _without_budget(generators.set_seed)
    return None


def _pandas_setter(kind: type) -> Setter | None:
    import pandas as pd
    from pandas._libs.arrays import NDArrayBacked
    from pandas.api.extensions import ExtensionArray, ExtensionDtype
    from pandas.core.internals.managers import (  # type: ignore[import-not-found]
        SingleBlockManager,
    )

    from slipway.models.unpickling import frames

    kinds: tuple[tuple[Any, Callable[[Any, Any], None]], ...] = (
        (pd.DataFrame, frames.set_frame),
        (pd.Series, frames.set_frame),
        (SingleBlockManager, frames.set_series_manager),
        (NDArrayBacked, frames.set_backed),
        (ExtensionArray, frames.set_masked_array),
        (ExtensionDtype, frames.set_pandas_dtype),
        (pd.DateOffset, frames.set_offset),
        (pd.offsets.Tick, frames.set_offset),
    )
    for base, function in kinds:
        if issubclass(kind, base):
            return _without_budget(function)
    return None


def _sklearn_setter(kind: type) -> Setter | None:
    from slipway.models.unpickling import compiled

    module, name = kind.__module__, kind.__name__
    if (module, name) == ("sklearn.tree._tree", "Tree"):
        return compiled.set_tree
    if name == "TreePredictor":
        return _without_budget(compiled.set_predictor)
    if module == "sklearn.metrics._dist_metrics":
        return _without_budget(compiled.set_distance)
    if module in ("sklearn.neighbors._kd_tree", "sklearn.neighbors._ball_tree"):
        return _without_budget(compiled.set_neighbours)
    if module in ("sklearn._loss._loss", "sklearn.linear_model._sgd_fast"):
        return _without_budget(compiled.set_by_cython)
    return None


def _xgboost_setter(kind: type) -> Setter | None:
    return _without_budget(_set_xgboost) if kind.__name__ == "Booster" else None


def _set_xgboost(booster: Any, state: Any) -> None:
    """Restore a booster of XGBoost from bytes."""
    require(type(state) is dict and is_plain(state), "restores a booster from an unexpected state")
    valid = all(type(name) is str and not name.startswith("__") for name in state)
    kinds = (type(None), bytearray)
    require(
        valid and type(state.get("handle", 0)) in kinds,
        "restores a booster from an unexpected state",
    )
    booster.__setstate__(state)


def _lightgbm_setter(kind: type) -> Setter | None:
    return _without_budget(_set_lightgbm) if kind.__name__ == "Booster" else None


def _set_lightgbm(booster: Any, state: Any) -> None:
    """Restore a booster of LightGBM from text."""
    require(type(state) is dict and is_plain(state), "restores a booster from an unexpected state")
    handles = {type(state.get(name)) for name in ("handle", "_handle")}
    valid = handles <= {type(None), str} and not state.get("_network", state.get("network"))
    require(valid, "restores a booster from an unexpected state")
    booster.__setstate__(state)


def _catboost_setter(kind: type) -> Setter | None:
    return _without_budget(_set_catboost)


def _set_catboost(model: Any, state: Any) -> None:
    """Restore a model of CatBoost from bytes and parameters."""
    require(
        type(state) is dict and is_plain(state),
        "restores a model of CatBoost from an unexpected state",
    )
    valid = all(type(name) is str for name in state) and "_test_eval" not in state
    valid = valid and type(state.get("__model", b"")) is bytes
    require(valid, "restores a model of CatBoost from an unexpected state")
    model.__setstate__(state)


def _placeholder_setter(kind: type) -> Setter | None:
    return (lambda instance, state, budget: None) if kind is Placeholder else None


_FINDERS: dict[str, Callable[[type], Setter | None]] = {
    "numpy": _numpy_setter,
    "pandas": _pandas_setter,
    "sklearn": _sklearn_setter,
    "xgboost": _xgboost_setter,
    "lightgbm": _lightgbm_setter,
    "catboost": _catboost_setter,
    "slipway": _placeholder_setter,
}


def _set_attributes(instance: Any, state: Any, budget: Budget) -> None:
    """Set attributes of an object; they must not replace methods."""
    kind: Any = type(instance)
    slots: Any = None
    if type(state) is tuple and len(state) == 2:
        state, slots = state
    state = {} if state is None else state
    for names in (state, slots or {}):
        require(type(names) is dict, "restores an object from an unexpected state")
        require(set(map(type, names)) <= {str}, "sets an attribute with an invalid name")
        _require_names(kind, tuple(names))
    require(
        type(state.get("_sklearn_version", "")) is str, "contains an invalid scikit-learn version"
    )
    _apply_state(instance, state)
    for name, value in (slots or {}).items():
        require(name in _slots(kind), "sets an attribute with an invalid name")
        object.__setattr__(instance, name, value)


@lru_cache(10_000)
def _require_names(kind: type, names: tuple[str, ...]) -> None:
    for name in names:
        require(not name.startswith("__"), "sets a special method of an object")
        require(not _is_method(kind, name), f"replaces the method {name} of {kind.__name__}")


def _apply_state(instance: Any, state: dict[str, Any]) -> None:
    kind: Any = type(instance)
    home = _find_setstate_class(kind)
    if home is None:
        if state:
            require(hasattr(instance, "__dict__"), "sets attributes of an object that has none")
            instance.__dict__.update(state)
        return
    require(home in _HARMLESS, f"needs {home[1]}.__setstate__, which is not on the allowlist")
    if home == ("sklearn.isotonic", "IsotonicRegression"):
        for name in ("X_thresholds_", "y_thresholds_"):
            require(is_plain(state.get(name), 0), "contains another object in place of an array")
    instance.__setstate__(state)


@lru_cache(10_000)
def _find_setstate_class(kind: type) -> tuple[str, str] | None:
    """Return module and name of the class that defines ``__setstate__`` of a type."""
    for base in kind.__mro__:
        if "__setstate__" in vars(base):
            return base.__module__, base.__name__
    return None


@lru_cache(10_000)
def _slots(kind: type) -> frozenset[str]:
    return frozenset(
        name
        for base in kind.__mro__
        for name in vars(base).get("__slots__", ())
        if not name.startswith("__")
    )


def _is_method(kind: type, name: str) -> bool:
    """Whether a class defines a method or property with a name."""
    attribute = inspect.getattr_static(kind, name, None)
    if inspect.ismemberdescriptor(attribute) or inspect.isgetsetdescriptor(attribute):
        return False
    return callable(attribute) or hasattr(type(attribute), "__get__")
