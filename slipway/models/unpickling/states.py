"""Give objects their state: by checked setters, or as plain attributes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from slipway.models.unpickling.placeholder import Placeholder
from slipway.models.unpickling.plain import is_plain
from slipway.models.unpickling.rejection import Budget, require

Setter = Callable[[Any, Any, Budget], None]
# Their own __setstate__ only reads what is checked here, or ignores its argument.
_HARMLESS = {
    ("sklearn.base", "BaseEstimator"),
    ("sklearn.isotonic", "IsotonicRegression"),
    ("sklearn.utils._bunch", "Bunch"),
}
_CATBOOST = ("_prediction_values_change", "_loss_value_change")


def set_state(thing: Any, state: Any, budget: Budget, *, made: bool) -> None:
    """Give an object its state; one without a setter here must be of a class that was made.

    Others, such as a time zone, may be shared with the rest of the process.

    Raises
    ------
    PickleRejected
        The object takes no state, or not this one.
    """
    kind: Any = type(thing)
    found = find_setter(kind)
    require(made or found is not _set_attributes, f"changes an object of {kind.__name__}")
    found(thing, state, budget)


@lru_cache(10_000)
def find_setter(kind: type) -> Setter:
    """Find what sets the state of objects of a type."""
    package = kind.__module__.partition(".")[0]
    finder = _FINDERS.get(package)
    found = finder(kind) if finder else None
    return found or _set_attributes


def _without_budget(function: Callable[[Any, Any], None]) -> Setter:
    return lambda thing, state, budget: function(thing, state)


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
    """Load XGBoost's own bytes."""
    require(type(state) is dict and is_plain(state), "fills a booster in another way")
    right = all(type(name) is str and not name.startswith("__") for name in state)
    kinds = (type(None), bytearray)
    require(right and type(state.get("handle", 0)) in kinds, "fills a booster in another way")
    booster.__setstate__(state)


def _lightgbm_setter(kind: type) -> Setter | None:
    return _without_budget(_set_lightgbm) if kind.__name__ == "Booster" else None


def _set_lightgbm(booster: Any, state: Any) -> None:
    """Load LightGBM's own text."""
    require(type(state) is dict and is_plain(state), "fills a booster in another way")
    handles = {type(state.get(name)) for name in ("handle", "_handle")}
    right = handles <= {type(None), str} and not state.get("_network", state.get("network"))
    require(right, "fills a booster in another way")
    booster.__setstate__(state)


def _catboost_setter(kind: type) -> Setter | None:
    return _without_budget(_set_catboost)


def _set_catboost(model: Any, state: Any) -> None:
    """Load CatBoost's own bytes and its parameters."""
    require(type(state) is dict and is_plain(state), "fills a model of CatBoost in another way")
    right = all(type(name) is str for name in state) and "_test_eval" not in state
    right = right and type(state.get("__model", b"")) is bytes
    require(right, "fills a model of CatBoost in another way")
    model.__setstate__(state)


def _spare_setter(kind: type) -> Setter | None:
    return (lambda thing, state, budget: None) if kind is Placeholder else None


_FINDERS: dict[str, Callable[[type], Setter | None]] = {
    "numpy": _numpy_setter,
    "pandas": _pandas_setter,
    "sklearn": _sklearn_setter,
    "xgboost": _xgboost_setter,
    "lightgbm": _lightgbm_setter,
    "catboost": _catboost_setter,
    "slipway": _spare_setter,
}


def _set_attributes(thing: Any, state: Any, budget: Budget) -> None:
    """Give an object its attributes, none of which may take the place of a method."""
    kind: Any = type(thing)
    slots: Any = None
    if type(state) is tuple and len(state) == 2:
        state, slots = state
    state = {} if state is None else state
    for names in (state, slots or {}):
        require(type(names) is dict, "gives an object the state of another")
        require(set(map(type, names)) <= {str}, "gives an object a nameless attribute")
        _require_names(kind, tuple(names))
    require(type(state.get("_sklearn_version", "")) is str, "names no version of scikit-learn")
    _apply(thing, state)
    for name, value in (slots or {}).items():
        require(name in _slots(kind), "gives an object a nameless attribute")
        object.__setattr__(thing, name, value)


@lru_cache(10_000)
def _require_names(kind: type, names: tuple[str, ...]) -> None:
    for name in names:
        require(not name.startswith("__"), "gives an object a special method")
        require(not _is_method(kind, name), f"replaces the method {name} of {kind.__name__}")


def _apply(thing: Any, state: dict[str, Any]) -> None:
    kind: Any = type(thing)
    own = _setstate_home(kind)
    if own is None:
        if state:
            require(hasattr(thing, "__dict__"), "changes what cannot be changed")
            thing.__dict__.update(state)
        return
    require(own in _HARMLESS, f"needs {own[1]}.__setstate__, which is not on the list")
    if own == ("sklearn.isotonic", "IsotonicRegression"):
        for name in ("X_thresholds_", "y_thresholds_"):
            require(is_plain(state.get(name), 0), "has another thing in place of an array")
    thing.__setstate__(state)


@lru_cache(10_000)
def _setstate_home(kind: type) -> tuple[str, str] | None:
    """Return the class that defines the ``__setstate__`` of a type."""
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
    """Whether a class defines a method, or a computed attribute, of a name."""
    found = inspect.getattr_static(kind, name, None)
    if inspect.ismemberdescriptor(found) or inspect.isgetsetdescriptor(found):
        return False
    return callable(found) or hasattr(type(found), "__get__")
