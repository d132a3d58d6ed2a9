"""Pickles of allowed names only, each of which runs code if it is not checked."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from attack_pickles import Calls
from numpy.random import _pickle as generators
from pandas.core.indexes.base import _new_Index
from pandas.core.indexes.datetimes import _new_DatetimeIndex
from pandas.core.indexes.interval import _new_IntervalIndex
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import StackingClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.feature_selection import SelectFromModel
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.metrics._scorer import _PassthroughScorer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import Bunch
from sklearn.utils.validation import check_array

RANDOM_STATE = getattr(generators, "__randomstate_ctor")
GENERATOR = getattr(generators, "__generator_ctor")
BIT_GENERATOR = getattr(generators, "__bit_generator_ctor")


def writing_scorer(canary: Path) -> Any:
    """Return a scorer that writes the canary when called with a path."""
    return functools.partial(_PassthroughScorer(None), method_caller("to_csv"))


def method_caller(method: str) -> Pipeline:
    """Return a pipeline whose score() calls a method of a frame by name."""
    stacking = StackingClassifier(estimators=[])
    stacking.estimators_ = [FrozenEstimator(pd.DataFrame({"a": [1.0]}))]
    stacking.stack_method_ = [method]
    last = DummyClassifier()
    last.classes_ = np.array([0, 1])
    return Pipeline([("s", stacking), ("c", last)])


INTERFACE = {"shape": (1 << 20,), "typestr": "<f8", "data": (4096, False), "version": 3}


def with_attribute(name: str, value: Any) -> Any:
    """Return an estimator with an attribute that it normally does not have."""
    return set_attributes(DummyClassifier(), **{name: value})


def set_attributes(estimator: Any, **attributes: Any) -> Any:
    vars(estimator).update(attributes)
    return estimator


# Each function takes the path of a file that must not be written.
MISUSES: dict[str, Callable[[Path], Any]] = {
    "generator": lambda canary: Calls(GENERATOR, str(canary), writing_scorer(canary)),
    "random state": lambda canary: Calls(RANDOM_STATE, str(canary), writing_scorer(canary)),
    "generator of an object": lambda canary: Calls(GENERATOR, DummyClassifier()),
    "bit generator": lambda canary: Calls(BIT_GENERATOR, DummyClassifier),
    "mean": lambda canary: Calls(np.mean, with_attribute("mean", writing_scorer(canary))),
    "std": lambda canary: Calls(np.std, with_attribute("std", writing_scorer(canary))),
    "max of objects": lambda canary: Calls(
        np.max, np.array([writing_scorer(canary), 1], dtype=object)
    ),
    "clip": lambda canary: Calls(
        np.clip, with_attribute("clip", writing_scorer(canary)), str(canary), None
    ),
    "exp of objects": lambda canary: Calls(
        np.exp, np.array([writing_scorer(canary)], dtype=object)
    ),
    "reshape": lambda canary: Calls(
        np.reshape, with_attribute("reshape", writing_scorer(canary)), str(canary)
    ),
    "asarray": lambda canary: Calls(
        np.asarray, with_attribute("__array__", writing_scorer(canary))
    ),
    "asarray of an address": lambda canary: Calls(
        np.asarray, with_attribute("__array_interface__", INTERFACE)
    ),
    "array struct": lambda canary: Calls(
        np.asarray, with_attribute("__array_struct__", writing_scorer(canary))
    ),
    "metric": lambda canary: Calls(
        accuracy_score, with_attribute("__array__", writing_scorer(canary)), [1]
    ),
    "check_array": lambda canary: Calls(
        check_array, with_attribute("__array__", writing_scorer(canary))
    ),
    "index": lambda canary: Calls(_new_Index, pd.Index, {"data": with_attribute("__array__", 1)}),
    "dates": lambda canary: Calls(
        _new_DatetimeIndex,
        pd.DatetimeIndex,
        {"data": with_attribute("__array__", writing_scorer(canary))},
    ),
    "class of an index": lambda canary: Calls(
        _new_DatetimeIndex, writing_scorer(canary), {"data": str(canary)}
    ),
    "intervals": lambda canary: Calls(
        _new_IntervalIndex, writing_scorer(canary), {"left": str(canary), "right": 1}
    ),
    "a method's name": lambda canary: method_caller("eval"),
    "a frame in the place of an estimator": lambda canary: FrozenEstimator(pd.DataFrame()),
    "a frame in a pipeline": lambda canary: Pipeline([("a", pd.DataFrame()), ("b", "passthrough")]),
    "a frame in a union": lambda canary: FeatureUnion([("a", pd.Series([1]))]),
    "a frame in a fitted attribute": lambda canary: set_attributes(
        DummyClassifier(), tree_=pd.DataFrame()
    ),
    "a scorer as a function": lambda canary: FunctionTransformer(make_scorer(accuracy_score)),
    "a scorer as a kernel": lambda canary: set_attributes(
        LogisticRegression(), kernel=make_scorer(len)
    ),
    "a method in an instance": lambda canary: set_attributes(LogisticRegression(), predict=np.mean),
    "a private path": lambda canary: SelectFromModel(
        LogisticRegression(), importance_getter="__init__.__globals__"
    ),
    "input of files": lambda canary: CountVectorizer(input="filename"),
    "megabytes": lambda canary: Calls(bytearray, 2**31),
    "a list of a range": lambda canary: Calls(list, range(2**40)),
    "a string of a length": lambda canary: Calls(bytes, 2**31),
    "a class as a function": lambda canary: FunctionTransformer(DummyClassifier),
    "a constructor as a function": lambda canary: FunctionTransformer(GENERATOR),
    "a bunch with a method": lambda canary: Calls(Bunch, writing_scorer(canary)),
    "an array filled by an object": lambda canary: Calls(
        np.ndarray, (1 << 30,), np.dtype("f8"), DummyClassifier()
    ),
    "an estimator of a call": lambda canary: Calls(FrozenEstimator, pd.DataFrame()),
}


def misuse(name: str, canary: Path) -> bytes:
    """Return the pickle of a misuse."""
    return pickle.dumps(MISUSES[name](canary))
