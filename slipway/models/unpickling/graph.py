"""Check the objects of a pickle before the first prediction.

All objects have allowed classes, but models also look up methods by name and call their attributes.
Therefore attributes that contain method names, functions or inner estimators are checked.
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

# Methods that scikit-learn calls on an inner estimator by a stored name.
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
# Lists of tuples whose second element is an estimator.
_STEPS = split_words("steps transformer_list transformers transformers_")
_NO_FIT = split_words(
    "_CalibratedClassifier _SigmoidCalibration _ConstantPredictor _BinMapper TreePredictor"
)
# Attributes that contain a function, or the name of a function of the library.
_FUNCTIONS = split_words(
    "func inverse_func metric metric_ kernel kernel_ analyzer tokenizer preprocessor link "
    "score_func importance_getter activation distance_func affinity decode_error function "
    "functions aggregations"
)
_NAME = re.compile(r"[A-Za-z][\w ,-]*_?(\.[A-Za-z]\w*)*")
_SCORERS = split_words("owner scorer_ scorers_ scoring scorer _scorer _curve_scorer _scorers")
# Predictions do not use these attributes, so that they may contain placeholders.
_UNUSED = split_words(
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
    """A traversal of all objects of a model.

    Parameters
    ----------
    own : set of (str, str)
        Modules and names that the operator has allowed; attributes of these classes are not
        checked.
    """

    def __init__(self, own: frozenset[tuple[str, str]]) -> None:
        self._own_names = own
        self._pending: list[Any] = []
        self._seen: dict[int, Any] = {}

    def check(self, root: Any) -> None:
        """Check all objects that are reachable from an object.

        Raises
        ------
        PickleRejected
            An attribute contains an unexpected object.
        """
        self._pending.append(root)
        while self._pending:
            value = self._pending.pop()
            if type(value) in atoms() or id(value) in self._seen:
                continue
            # Keep a reference, so that no other object gets the same identity.
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
            # The unpickler checked the types of bound values; check their contents here.
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
        require(known, f"contains the class {value.__name__}")

    def _is_own(self, kind: type) -> bool:
        module = kind.__module__
        return bool({(module, kind.__qualname__), (module, "*")} & self._own_names)

    def _check_object(self, value: Any) -> None:
        kind = type(value)
        require(kind is not Constructor, "contains a function that only pickles call")
        if kind is Placeholder:
            require(False, f"needs {'.'.join(value.name)}")
        attributes = getattr(value, "__dict__", None)
        if attributes is None or kind.__module__.startswith("pandas."):
            return
        own = self._is_own(kind)
        for name, attribute in list(attributes.items()):
            if type(attribute) in atoms() and type(attribute) is not str:
                continue
            if name in _UNUSED and not own and contains_placeholder(attribute):
                attributes[name] = None
                continue
            check_attribute(kind, name, attribute, own=own)
            self._pending.append(attribute)
        _reject_file_readers(kind, attributes)


def check_attribute(kind: type, name: str, value: Any, *, own: bool = False) -> None:
    """Check an attribute whose name implies how a library uses it.

    Raises
    ------
    PickleRejected
        The attribute should be a method name, a function or an estimator, but is not.
    """
    where = f"in {kind.__name__}.{name}"
    if name in _METHOD_NAMES:
        require(_are_methods(value), f"contains an unknown method name {where}")
    if own:
        return
    if name in _STEPS:
        require(_are_steps(value), f"has no estimator {where}")
    elif name in _ESTIMATORS:
        require(_are_estimators(value), f"has no estimator {where}")
    elif name in _FUNCTIONS:
        require(_is_function(value), f"has no allowed function {where}")
    elif name not in _SCORERS:
        require(not _is_scorer(value), f"has a scorer {where}")
    fitted = name.endswith("_") or name.startswith("_")
    if fitted and kind.__module__.startswith("sklearn."):
        require(not _is_frame(value), f"has a frame {where}")


def _are_steps(value: Any) -> bool:
    """Whether the second element of each tuple is an estimator; the third are columns."""
    if type(value) not in (list, tuple):
        return _are_estimators(value)
    are_pairs = all(type(step) in (list, tuple) and len(step) > 1 for step in value)
    return are_pairs and all(_is_estimator(step[1]) for step in value)


def _are_methods(value: Any) -> bool:
    """Whether values are names of prediction methods, or None."""
    names = value if type(value) in (list, tuple) else [value]
    return all(name is None or (type(name) is str and name in METHODS) for name in names)


def _is_estimator(value: Any) -> bool:
    kind = type(value)
    known = kind in atoms() or isinstance(value, type) or kind.__name__ in _NO_FIT
    return (
        known
        or (callable(getattr(kind, "fit", None)) and not _is_frame(value))
        or kind is Placeholder
    )


def _are_estimators(value: Any, depth: int = 4) -> bool:
    """Whether values are estimators, possibly in nested lists and dictionaries."""
    kind = type(value)
    if issubclass(kind, dict):
        value = list(value.values())
    elif kind.__module__ == "numpy" and hasattr(value, "dtype"):
        value = value.ravel().tolist() if value.dtype.hasobject else []
    elif kind not in CONTAINERS:
        return _is_estimator(value)
    return depth > 0 and all(_are_estimators(element, depth - 1) for element in value)


def _is_function(value: Any) -> bool:
    """Whether a value is a function, or the name of a function of the library."""
    if type(value) is str:
        known = _NAME.fullmatch(value) is not None and "__" not in value
        return known and value not in _WRITERS and not value.startswith("to_")
    if type(value) in (list, tuple):
        return all(map(_is_function, value))
    return not _is_scorer(value) and not _is_frame(value)


# Names of methods that write files or run code, which pandas' agg() would look up.
_WRITERS = split_words("eval query pipe apply agg aggregate transform map applymap")


def _is_scorer(value: Any) -> bool:
    return type(value).__module__ == "sklearn.metrics._scorer"


def _is_frame(value: Any) -> bool:
    """Whether a value is a frame or a series, whose methods are not those of a model."""
    return type(value).__module__ in ("pandas.core.frame", "pandas.core.series")


def _reject_file_readers(kind: type, attributes: dict[str, Any]) -> None:
    """Reject vectorizers that open files named in their input."""
    modules = [base.__module__ for base in kind.__mro__] if "input" in attributes else []
    if "sklearn.feature_extraction.text" in modules:
        valid = type(attributes["input"]) is str and attributes["input"] == "content"
        require(valid, f"has a {kind.__name__} that opens files named in its input")


def contains_placeholder(root: Any) -> bool:
    """Whether an object contains a placeholder."""
    pending, seen = [root], set()
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
