"""What the pickle of a fitted model is made of: the names that ``pickles.py`` lets through.

There are two ways for a name to be on the list. What is ``CALLED`` may be called with whatever
a pickle gives it, so that it must be harmless with every argument. What is ``MADE`` is a class
whose objects come into being empty, without their constructor, and are then given their state;
that is how Python writes any object that does not ask for more, and it lets classes in whose
constructors open files.
"""

from __future__ import annotations

from typing import Any, Literal

Way = Literal["called", "made"]

_CALLED = {
    "builtins": "bool bytearray bytes complex dict float frozenset int list object range set slice "
    "str tuple",
    "collections": "Counter OrderedDict defaultdict",
    "datetime": "date datetime time timedelta timezone",
    "decimal": "Decimal",
    "functools": "partial",
    "numpy": "asarray average clip diff dtype max mean median min nan_to_num nanmax nanmean "
    "nanmedian nanmin nanstd ndarray prod ravel reshape round std sum var",
    "numpy._core.multiarray": "_reconstruct scalar",
    "numpy._core.numeric": "_frombuffer",
    "numpy.core.multiarray": "_reconstruct scalar",
    "numpy.core.numeric": "_frombuffer",
    "numpy.ma": "MaskedArray",
    "numpy.ma.core": "MaskedArray _mareconstruct",
    "numpy.random._mt19937": "MT19937",
    "numpy.random._pcg64": "PCG64",
    "numpy.random._pickle": "__bit_generator_ctor __generator_ctor __randomstate_ctor",
    "numpy.random.bit_generator": "SeedSequence __pyx_unpickle_SeedSequence",
    "pandas._libs.arrays": "__pyx_unpickle_NDArrayBacked",
    "pandas._libs.internals": "_unpickle_block",
    "pandas._libs.interval": "Interval",
    "pandas._libs.missing": "NA",
    "pandas._libs.tslibs.timestamps": "_unpickle_timestamp",
    "pandas.core.arrays.string_": "StringDtype",
    "pandas.core.indexes.base": "_new_Index",
    "pandas.core.indexes.datetimes": "_new_DatetimeIndex",
    "pandas.core.indexes.interval": "_new_IntervalIndex",
    "pandas.core.internals.managers": "BlockManager",
    "scipy._lib.array_api_compat.numpy._aliases": "asarray",
    "sklearn.cluster._kmeans": "_kmeans_single_elkan _kmeans_single_lloyd",
    "sklearn.feature_selection._mutual_info": "mutual_info_classif mutual_info_regression",
    "sklearn.feature_selection._univariate_selection": "chi2 f_classif f_oneway f_regression "
    "r_regression",
    "sklearn.metrics._dist_metrics": "newObj",
    "sklearn.metrics.pairwise": "cosine_similarity laplacian_kernel linear_kernel "
    "polynomial_kernel rbf_kernel sigmoid_kernel",
    "sklearn.neighbors._ball_tree": "newObj",
    "sklearn.neighbors._kd_tree": "newObj",
    "sklearn.tree._tree": "Tree",
    "sklearn.utils.validation": "check_array",
}
_MADE = {
    "lightgbm.basic": "Booster",
    "pandas.core.arrays.boolean": "BooleanArray BooleanDtype",
    "pandas.core.arrays.categorical": "Categorical",
    "pandas.core.arrays.datetimes": "DatetimeArray",
    "pandas.core.arrays.floating": "Float32Dtype Float64Dtype FloatingArray",
    "pandas.core.arrays.integer": "Int8Dtype Int16Dtype Int32Dtype Int64Dtype IntegerArray",
    "pandas.core.arrays.string_": "StringArray",
    "pandas.core.dtypes.dtypes": "CategoricalDtype",
    "pandas.core.frame": "DataFrame",
    "pandas.core.indexes.base": "Index",
    "pandas.core.indexes.category": "CategoricalIndex",
    "pandas.core.indexes.datetimes": "DatetimeIndex",
    "pandas.core.indexes.interval": "IntervalIndex",
    "pandas.core.indexes.multi": "MultiIndex",
    "pandas.core.indexes.range": "RangeIndex",
    "pandas.core.internals.managers": "SingleBlockManager",
    "pandas.core.series": "Series",
    "scipy.interpolate._bsplines": "BSpline",
    "scipy.interpolate._interpolate": "interp1d",
    "scipy.sparse._coo": "coo_array coo_matrix",
    "scipy.sparse._csc": "csc_array csc_matrix",
    "scipy.sparse._csr": "csr_array csr_matrix",
    "scipy.sparse._dia": "dia_array dia_matrix",
    "sklearn.calibration": "_CalibratedClassifier",
    "sklearn.cluster._birch": "_CFNode _CFSubcluster",
    "sklearn.cluster._bisect_k_means": "_BisectingTree",
    "sklearn.compose._column_transformer": "_RemainderColsList make_column_selector",
    "sklearn.ensemble._hist_gradient_boosting.predictor": "TreePredictor",
    "sklearn.metrics._scorer": "_CurveScorer _PassthroughScorer _Scorer",
    "sklearn.neural_network._stochastic_optimizers": "AdamOptimizer SGDOptimizer",
    "sklearn.utils._bunch": "Bunch",
    "sklearn.utils._metadata_requests": "MetadataRequest MethodMetadataRequest MethodPair "
    "MetadataRouter RouterMappingPair",
    "xgboost.core": "Booster",
}
# Modules all of whose own classes are plain numbers and arithmetic.
_FAMILIES: dict[str, Way] = {
    "sklearn._loss._loss": "called",
    "sklearn._loss.link": "made",
    "sklearn._loss.loss": "made",
    "sklearn.gaussian_process.kernels": "made",
    "sklearn.linear_model._sgd_fast": "called",
    "sklearn.metrics._dist_metrics": "made",
    "sklearn.model_selection._split": "made",
    "sklearn.neighbors._ball_tree": "made",
    "sklearn.neighbors._kd_tree": "made",
}
_METRICS = frozenset(f"sklearn.metrics._{kind}" for kind in ("classification", "ranking"))
_METRICS |= {"sklearn.metrics._regression", "sklearn.metrics.cluster._supervised"}
_UFUNCS = frozenset({"numpy", "scipy.special", "scipy.special._ufuncs"})
_UFUNCS |= {"scipy.special._special_ufuncs"}
_LIBRARIES = ("sklearn", "xgboost", "lightgbm")


def _listed(names: dict[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset((module, name) for module, text in names.items() for name in text.split())


EXACT: dict[tuple[str, str], Way] = {
    **dict.fromkeys(_listed(_MADE), "made"),
    **dict.fromkeys(_listed(_CALLED), "called"),
}


def may_hold(module: str) -> bool:
    """Whether anything on the list can be in a module; no other module is imported."""
    package, *inner = module.split(".")
    if package in _LIBRARIES:
        return not any(part in ("conftest", "tests") or "test" in part for part in inner)
    return module in _UFUNCS


def way_of(module: str, name: str, found: Any) -> Way | None:
    """Give how something that was found by its name may be used; None where it may not.

    Parameters
    ----------
    module, name : str
        By which it was found; it must be at home there, because a module of scikit-learn also
        has in it whatever it imports.
    found : object

    Returns
    -------
    {"called", "made"} or None
    """
    if module in _UFUNCS:
        return "called" if _is_plain_numpy(found) else None
    at_home = getattr(found, "__module__", "") == module and getattr(found, "__name__", "") == name
    if not at_home or not may_hold(module):
        return None
    if isinstance(found, type):
        return _FAMILIES.get(module) or ("made" if _is_estimator(found) else None)
    return "called" if module in _METRICS and not name.startswith("_") else None


def _is_plain_numpy(found: Any) -> bool:
    """Whether it is arithmetic by element, or the type of one number."""
    import numpy as np

    return isinstance(found, np.ufunc) or (
        isinstance(found, type) and issubclass(found, np.generic)
    )


def _is_estimator(found: type) -> bool:
    from sklearn.base import BaseEstimator

    return issubclass(found, BaseEstimator)
