"""Check what a pickle has built before anything asks it for a prediction.

Each object is of a listed class by then, but a model also finds methods by their names and calls
what it holds. So names of methods, functions and inner estimators are checked where they stand.
"""

from __future__ import annotations

import functools
import re
import types
from typing import Any

from slipway.models.unpickling.basic import Constructor
from slipway.models.unpickling.placeholder import Placeholder
from slipway.models.unpickling.plain import CONTAINERS, atoms, split_words
from slipway.models.unpickling.rejection import require

# What scikit-learn calls on an inner estimator by a name that is kept beside it.
METHODS = split_words(
    "auto default decision_function predict predict_proba predict_log_proba score_samples "
    "transform fit_transform"
)
_METHOD_NAMES = split_words(
    "response_method _response_method stack_method stack_method_ chain_method chain_method_"
)
_ESTIMATORS = split_words(
    "estimator estimator_ _estimator base_estimator base_estimator_ best_estimator_ estimators "
    "estimators_ named_estimators_ final_estimator final_estimator_ classifier classifier_ "
    "regressor regressor_ transformer transformer_ model model_ clusterer clusterer_ pca pca_ "
    "encoder encoder_ scaler scaler_ imputer imputer_ initial_imputer_ init_ "
    "calibrated_classifiers_ calibrators le_ _le _label_encoder label_encoder_ label_binarizer_ "
    "_label_binarizer _encoder _scaler _imputer _preprocessor _transformer _final_estimator "
    "ordinal_encoder one_hot_encoder base_contrast_encoder feature_encoder label_encoder "
    "_mapper _bin_mapper _discretizer bin_mapper_ nbrs_ _centerer regression_ imputer_estimator"
)
# Lists of tuples, in which the estimator is the second.
_STEPS = split_words("steps transformer_list transformers transformers_")
_NO_FIT = split_words(
    "_CalibratedClassifier _SigmoidCalibration _ConstantPredictor _BinMapper TreePredictor"
)
# Attributes that hold a function, or the name of one that the library itself knows.
_FUNCTIONS = split_words(
    "func inverse_func metric metric_ kernel kernel_ analyzer tokenizer preprocessor link "
    "score_func importance_getter activation distance_func affinity decode_error function "
    "functions aggregations"
)
_NAME = re.compile(r"[A-Za-z][\w ,-]*_?(\.[A-Za-z]\w*)*")
_SCORERS = split_words("owner scorer_ scorers_ scoring scorer _scorer _curve_scorer _scorers")
# None of these is asked for a prediction, so that a part that was not made may stand there.
_SPARE = split_words(
    "memory scoring scorer_ cv param_distributions param_grid cv_results_ callbacks "
    "best_params_ multimetric_"
)
_FUNCTION_TYPES: tuple[type, ...] = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
)
_VALUES = (bool, dict, float, int, list, object, set, str, tuple, bytes, frozenset)


class Graph:
    """A walk over everything that a model holds.

    Parameters
    ----------
    own : set of (str, str)
        Modules and names that the operator has allowed; the attributes of these classes are
        their own.
    """

    def __init__(self, own: frozenset[tuple[str, str]]) -> None:
        self._names = own
        self._pending: list[Any] = []
        self._seen: dict[int, Any] = {}

    def check(self, root: Any) -> None:
        """Check all that can be reached from an object.

        Raises
        ------
        PickleRejected
            Something stands where a model has another thing.
        """
        self._pending.append(root)
        while self._pending:
            value = self._pending.pop()
            if type(value) in atoms() or id(value) in self._seen:
                continue
            # Kept, so that no other object gets its identity.
            self._seen[id(value)] = value
            self._check(value)

    def _check(self, value: Any) -> None:
        kind = type(value)
        if kind in CONTAINERS:
            self._add(value)
        elif issubclass(kind, dict):
            self._add(value.values())
            if kind is not dict and hasattr(value, "__dict__"):
                self._add(vars(value).values())
        elif kind.__module__.startswith("numpy"):
            self._check_numpy(value)
        elif issubclass(kind, type):
            self._check_class(value)
        elif isinstance(value, _FUNCTION_TYPES):
            return
        elif kind is functools.partial:
            # What is bound was checked when it was bound; its objects are checked here.
            self._add([*value.args, *value.keywords.values()])
        else:
            self._check_object(value)

    def _add(self, values: Any) -> None:
        if not atoms().issuperset(map(type, values)):
            self._pending.extend(values)

    def _check_numpy(self, value: Any) -> None:
        import numpy as np

        if isinstance(value, np.ndarray) and value.dtype == np.dtype(object):
            self._add(np.asarray(value).ravel().tolist())

    def _check_class(self, value: type) -> None:
        import numpy as np

        known = value in _VALUES or issubclass(value, np.generic) or value is np.ndarray
        known = known or value in atoms() or self._is_own(value)
        require(known, f"holds the class {value.__name__} itself")

    def _is_own(self, kind: type) -> bool:
        module = kind.__module__
        return bool({(module, kind.__qualname__), (module, "*")} & self._names)

    def _check_object(self, value: Any) -> None:
        kind = type(value)
        require(kind is not Constructor, "holds a function that only a pickle calls")
        if kind is Placeholder:
            require(False, f"needs {'.'.join(value.name)}")
        attributes = getattr(value, "__dict__", None)
        if attributes is None or kind.__module__.startswith("pandas."):
            return
        own = self._is_own(kind)
        for name, held in list(attributes.items()):
            if type(held) in atoms() and type(held) is not str:
                continue
            if name in _SPARE and not own and contains_placeholder(held):
                attributes[name] = None
                continue
            check_attribute(kind, name, held, own=own)
            self._pending.append(held)
        _check_reader(kind, attributes)


def check_attribute(kind: type, name: str, held: Any, *, own: bool = False) -> None:
    """Check what stands under a name, where the name says what a library does with it.

    Raises
    ------
    PickleRejected
        It is not a method's name, a function or an estimator where the library needs one.
    """
    where = f"in {kind.__name__}.{name}"
    if name in _METHOD_NAMES:
        require(_is_method(held), f"names another method {where}")
    if own:
        return
    if name in _STEPS:
        require(_are_steps(held), f"has no estimator {where}")
    elif name in _ESTIMATORS:
        require(_are_estimators(held), f"has no estimator {where}")
    elif name in _FUNCTIONS:
        require(_is_function(held), f"has no function of a model {where}")
    elif name not in _SCORERS:
        require(not _is_scorer(held), f"has a scorer {where}")
    fitted = name.endswith("_") or name.startswith("_")
    if fitted and kind.__module__.startswith("sklearn."):
        require(not _is_frame(held), f"has a frame {where}")


def _are_steps(held: Any) -> bool:
    """Whether the second of each tuple is an estimator; the third are columns, which are not."""
    if type(held) not in (list, tuple):
        return _are_estimators(held)
    pairs = all(type(each) in (list, tuple) and len(each) > 1 for each in held)
    return pairs and all(_is_estimator(each[1]) for each in held)


def _is_method(held: Any) -> bool:
    """Whether one name of a method, or several, are those that make predictions."""
    several = held if type(held) in (list, tuple) else [held]
    return all(each is None or (type(each) is str and each in METHODS) for each in several)


def _is_estimator(held: Any) -> bool:
    kind = type(held)
    known = kind in atoms() or isinstance(held, type) or kind.__name__ in _NO_FIT
    return (
        known
        or (callable(getattr(kind, "fit", None)) and not _is_frame(held))
        or kind is Placeholder
    )


def _are_estimators(held: Any, depth: int = 4) -> bool:
    """Whether these are estimators, in lists and dictionaries as libraries keep them."""
    kind = type(held)
    if issubclass(kind, dict):
        held = list(held.values())
    elif kind.__module__ == "numpy" and hasattr(held, "dtype"):
        held = held.ravel().tolist() if held.dtype.hasobject else []
    elif kind not in CONTAINERS:
        return _is_estimator(held)
    return depth > 0 and all(_are_estimators(each, depth - 1) for each in held)


def _is_function(held: Any) -> bool:
    """Whether it is a function, or what a library itself makes of a name."""
    if type(held) is str:
        known = _NAME.fullmatch(held) is not None and "__" not in held
        return known and held not in _WRITERS and not held.startswith("to_")
    if type(held) in (list, tuple):
        return all(map(_is_function, held))
    return not _is_scorer(held) and not _is_frame(held)


# Names by which pandas' agg() would find a method that writes files or runs code.
_WRITERS = split_words("eval query pipe apply agg aggregate transform map applymap")


def _is_scorer(held: Any) -> bool:
    return type(held).__module__ == "sklearn.metrics._scorer"


def _is_frame(held: Any) -> bool:
    """Whether it is a frame or a series, whose methods are no model's."""
    return type(held).__module__ in ("pandas.core.frame", "pandas.core.series")


def _check_reader(kind: type, attributes: dict[str, Any]) -> None:
    """Reject what opens files by the names in its input."""
    modules = [base.__module__ for base in kind.__mro__] if "input" in attributes else []
    if "sklearn.feature_extraction.text" in modules:
        right = type(attributes["input"]) is str and attributes["input"] == "content"
        require(right, f"has a {kind.__name__} that opens files named in its input")


def contains_placeholder(held: Any) -> bool:
    """Whether a part that was not made is in here."""
    pending, seen = [held], set()
    while pending:
        value = pending.pop()
        if type(value) is Placeholder:
            return True
        if type(value) in atoms() or id(value) in seen or isinstance(value, type):
            continue
        seen.add(id(value))
        if type(value) in CONTAINERS:
            pending.extend(value)
        elif isinstance(value, dict):
            pending.extend(value.values())
        elif type(value).__module__.startswith("numpy"):
            hasobject = getattr(getattr(value, "dtype", None), "hasobject", False)
            pending.extend(value.ravel().tolist() if hasobject else ())
        else:
            pending.extend(getattr(value, "__dict__", {}).values())
    return False
