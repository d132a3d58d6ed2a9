"""The names that the pickle of a fitted model may contain, and what it may do with each.

``made``
    A class. Its objects begin empty, without their constructor, and then get their state.
``built``
    A name that a pickle calls. A constructor of ours answers the call (``slipway/unpickling``).
``named``
    A function or class that a model only refers to, such as the ``func`` of a
    ``FunctionTransformer``. The pickle cannot call it.
``spare``
    A part that no prediction needs, such as a cache on disk. An empty object stands for it.
"""

from __future__ import annotations

import inspect
from typing import Any, Literal

Permission = Literal["made", "built", "named", "spare", "own"]

_BUILT = {
    "_codecs": {"encode": "basic.make_bytes"},
    "builtins": {
        "bytearray": "basic.make_bytearray",
        "bytes": "basic.make_bytes_of_list",
        "complex": "basic.make_complex",
        "frozenset": "basic.make_frozenset",
        "getattr": "basic.find_zone_reader",
        "list": "basic.make_list",
        "range": "basic.make_range",
        "set": "basic.make_set",
        "slice": "basic.make_slice",
        "tuple": "basic.make_tuple",
    },
    "collections": {
        "Counter": "basic.make_counter",
        "OrderedDict": "basic.make_ordered",
        "defaultdict": "basic.make_default",
    },
    "copyreg": {"_reconstructor": ""},
    "datetime": {
        "date": "basic.make_date",
        "datetime": "basic.make_datetime",
        "time": "basic.make_time",
        "timedelta": "basic.make_duration",
        "timezone": "basic.make_timezone",
    },
    "decimal": {"Decimal": "basic.make_decimal"},
    "functools": {"partial": ""},
    "numpy": {"dtype": "arrays.make_dtype"},
    "numpy._core.multiarray": {
        "_reconstruct": "arrays.make_empty_array",
        "scalar": "arrays.make_scalar",
    },
    "numpy._core.numeric": {"_frombuffer": "arrays.make_array_of_buffer"},
    "numpy.core.multiarray": {
        "_reconstruct": "arrays.make_empty_array",
        "scalar": "arrays.make_scalar",
    },
    "numpy.core.numeric": {"_frombuffer": "arrays.make_array_of_buffer"},
    "numpy.ma.core": {"_mareconstruct": "arrays.make_empty_masked"},
    "numpy.random._pickle": {
        "__bit_generator_ctor": "generators.make_bit_generator",
        "__generator_ctor": "generators.make_generator",
        "__randomstate_ctor": "generators.make_random_state",
    },
    "numpy.random.bit_generator": {"__pyx_unpickle_SeedSequence": "generators.make_seed"},
    "pandas._libs.arrays": {"__pyx_unpickle_NDArrayBacked": "frames.make_backed"},
    "pandas._libs.internals": {"_unpickle_block": "frames.make_block"},
    "pandas._libs.interval": {"Interval": "frames.make_interval"},
    "pandas._libs.tslibs.nattype": {"__nat_unpickle": "frames.make_not_a_time"},
    "pandas._libs.tslibs.timedeltas": {"_timedelta_unpickle": "frames.make_timedelta"},
    "pandas._libs.tslibs.timestamps": {"_unpickle_timestamp": "frames.make_timestamp"},
    "pandas.core.arrays.string_": {"StringDtype": "frames.make_string_dtype"},
    "pandas.core.indexes.base": {"_new_Index": "frames.make_index"},
    "pandas.core.indexes.datetimes": {"_new_DatetimeIndex": "frames.make_dates_index"},
    "pandas.core.indexes.interval": {"_new_IntervalIndex": "frames.make_interval_index"},
    "pandas.core.internals.managers": {"BlockManager": "frames.make_manager"},
    "pytz": {"_UTC": "basic.make_old_zone", "_p": "basic.make_old_zone"},
    "sklearn.metrics._dist_metrics": {"newObj": "compiled.make_new"},
    "sklearn.neighbors._ball_tree": {"newObj": "compiled.make_new"},
    "sklearn.neighbors._kd_tree": {"newObj": "compiled.make_new"},
    "sklearn.tree._tree": {"Tree": "compiled.make_tree"},
}
# Fixed steps of time, each with its count; the others of pandas call functions.
_OFFSETS = "Nano Micro Milli Second Minute Hour Day"
_MADE = {
    "builtins": "object",
    "catboost.core": "CatBoost CatBoostClassifier CatBoostRegressor",
    "lightgbm.basic": "Booster",
    "optbinning.binning.binning_statistics": "BinningTable ContinuousBinningTable "
    "MulticlassBinningTable",
    "pandas.core.arrays.boolean": "BooleanArray BooleanDtype",
    "pandas.core.arrays.floating": "Float32Dtype Float64Dtype FloatingArray",
    "pandas.core.arrays.integer": "Int8Dtype Int16Dtype Int32Dtype Int64Dtype IntegerArray "
    "UInt8Dtype UInt16Dtype UInt32Dtype UInt64Dtype",
    "pandas.core.dtypes.dtypes": "CategoricalDtype DatetimeTZDtype",
    "pandas.core.frame": "DataFrame",
    "pandas.core.internals.managers": "SingleBlockManager",
    "pandas.core.series": "Series",
    "scipy.interpolate._bsplines": "BSpline",
    "scipy.sparse._coo": "coo_array coo_matrix",
    "scipy.sparse._csc": "csc_array csc_matrix",
    "scipy.sparse._csr": "csr_array csr_matrix",
    "scipy.sparse._dia": "dia_array dia_matrix",
    "sklearn.calibration": "_CalibratedClassifier",
    "sklearn.cluster._birch": "_CFNode _CFSubcluster",
    "sklearn.cluster._bisect_k_means": "_BisectingTree",
    "sklearn.compose._column_transformer": "_RemainderColsList make_column_selector",
    "sklearn.ensemble._hist_gradient_boosting.predictor": "TreePredictor",
    "sklearn.impute._iterative": "_ImputerTriplet",
    "sklearn.metrics._scorer": "_CurveScorer _PassthroughScorer _Scorer",
    "sklearn.neural_network._stochastic_optimizers": "AdamOptimizer SGDOptimizer",
    "sklearn.utils._bunch": "Bunch",
    "sklearn.utils._metadata_requests": "MetadataRequest MethodMetadataRequest MethodPair "
    "MetadataRouter RouterMappingPair",
    "skrub._table_vectorizer": "ShortReprDict",
    "skrub.selectors._base": "All And Cols Filter Inv NameFilter Not Or Sub XOr",
    "xgboost.core": "Booster",
}
_NAMED = {
    "builtins": "bool dict float int str",
    "numpy": "append asarray atleast_1d atleast_2d average clip column_stack concatenate cumprod "
    "cumsum diff expand_dims hstack isin max mean median min nan_to_num nanmax nanmean nanmedian "
    "nanmin nanstd nanvar ndarray ones_like percentile prod quantile ravel reshape round "
    "searchsorted squeeze std stack sum transpose var vstack where zeros_like",
    "numpy.ma": "MaskedArray",
    "numpy.ma.core": "MaskedArray",
    "numpy.random._mt19937": "MT19937",
    "numpy.random._pcg64": "PCG64 PCG64DXSM",
    "numpy.random._philox": "Philox",
    "numpy.random._sfc64": "SFC64",
    "numpy.random.bit_generator": "SeedSequence",
    "pandas._libs.missing": "NA",
    "pandas.core.arrays.categorical": "Categorical",
    "pandas.core.arrays.datetimes": "DatetimeArray",
    "pandas.core.arrays.string_": "StringArray",
    "pandas.core.arrays.timedeltas": "TimedeltaArray",
    "pandas.core.indexes.base": "Index",
    "pandas.core.indexes.category": "CategoricalIndex",
    "pandas.core.indexes.datetimes": "DatetimeIndex",
    "pandas.core.indexes.interval": "IntervalIndex",
    "pandas.core.indexes.multi": "MultiIndex",
    "pandas.core.indexes.range": "RangeIndex",
    "pandas.core.indexes.timedeltas": "TimedeltaIndex",
    "scipy._lib.array_api_compat.numpy._aliases": "asarray",
    "sklearn.cluster._kmeans": "_kmeans_single_elkan _kmeans_single_lloyd",
    "sklearn.feature_selection._mutual_info": "mutual_info_classif mutual_info_regression",
    "sklearn.feature_selection._univariate_selection": "chi2 f_classif f_oneway f_regression "
    "r_regression",
    "sklearn.metrics.pairwise": "additive_chi2_kernel chi2_kernel cosine_distances "
    "cosine_similarity euclidean_distances haversine_distances laplacian_kernel linear_kernel "
    "manhattan_distances polynomial_kernel rbf_kernel sigmoid_kernel",
    "sklearn.preprocessing._data": "add_dummy_feature binarize maxabs_scale minmax_scale normalize "
    "robust_scale scale",
    "sklearn.utils.validation": "check_array",
    "skrub._dataframe._common": "has_nulls is_any_date is_bool is_categorical is_duration is_float "
    "is_integer is_numeric is_object is_string",
    "skrub._table_vectorizer": "_created_by_predicate",
    "skrub.selectors._selectors": "_cardinality_below",
    "zoneinfo": "ZoneInfo",
}
# A cache on disk with its path, and distributions that a search draws from.
_SPARE = ("joblib._store_backends", "joblib.memory", "pathlib", "scipy.stats.")
# Modules all of whose own classes are plain numbers and arithmetic.
_FAMILIES: dict[str, Permission] = {
    "sklearn._loss._loss": "built",
    "sklearn._loss.link": "made",
    "sklearn._loss.loss": "made",
    "sklearn.gaussian_process.kernels": "made",
    "sklearn.linear_model._sgd_fast": "built",
    "sklearn.metrics._dist_metrics": "named",
    "sklearn.model_selection._split": "made",
    "sklearn.neighbors._ball_tree": "named",
    "sklearn.neighbors._kd_tree": "named",
}
_METRICS = frozenset(f"sklearn.metrics._{kind}" for kind in ("classification", "ranking"))
_METRICS |= {"sklearn.metrics._regression", "sklearn.metrics.cluster._supervised"}
_UFUNCS = frozenset({"numpy", "scipy.special", "scipy.special._ufuncs"})
_UFUNCS |= {"scipy.special._special_ufuncs"}
_LIBRARIES = (
    "sklearn",
    "xgboost",
    "lightgbm",
    "imblearn",
    "category_encoders",
    "feature_engine",
    "optbinning",
    "skrub",
)
# Their estimators evaluate expressions, or fetch models from a network.
_UNSAFE = (
    "skrub._data_ops",
    "skrub._llm_encoder",
    "skrub._text_encoder",
)


def _listed(names: dict[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset((module, name) for module, text in names.items() for name in text.split())


CONSTRUCTORS: dict[tuple[str, str], str] = {
    (module, name): path for module, names in _BUILT.items() for name, path in names.items()
}
CONSTRUCTORS |= {
    ("pandas._libs.tslibs.offsets", name): "frames.make_offset" for name in _OFFSETS.split()
}
EXACT: dict[tuple[str, str], Permission] = {
    **dict.fromkeys(_listed(_MADE), "made"),
    **dict.fromkeys(_listed(_NAMED), "named"),
    **dict.fromkeys(CONSTRUCTORS, "built"),
}


def is_unneeded(module: str) -> bool:
    """Whether a module's objects are never needed for a prediction."""
    return module in _SPARE or module.startswith(_SPARE[-1])


def may_contain(module: str) -> bool:
    """Whether anything on the list can be in a module; no other module is imported."""
    package, *inner = module.split(".")
    if package in _LIBRARIES:
        unsafe = any(module == each or module.startswith(f"{each}.") for each in _UNSAFE)
        return not unsafe and not any(part == "conftest" or "test" in part for part in inner)
    return module in _UFUNCS


def permission_of(module: str, name: str, found: Any) -> Permission | None:
    """Return how something that was found by its name may be used; None where it may not.

    Parameters
    ----------
    module, name : str
        By which it was found; it must be at home there, because a module of scikit-learn also
        has in it whatever it imports.
    found : object

    Returns
    -------
    {"made", "built", "named"} or None
    """
    if module in _UFUNCS:
        return "named" if _is_plain_numpy(found) else None
    at_home = getattr(found, "__module__", "") == module and getattr(found, "__name__", "") == name
    if not at_home or not may_contain(module):
        return None
    if isinstance(found, type):
        return _FAMILIES.get(module) or ("made" if _is_estimator(found) else None)
    if _FAMILIES.get(module) == "built" and name.startswith("__pyx_unpickle_"):
        return "built"
    return "named" if module in _METRICS and not name.startswith("_") else None


def _is_plain_numpy(found: Any) -> bool:
    """Whether it is arithmetic by element, or the type of one number."""
    import numpy as np

    return isinstance(found, np.ufunc) or (
        isinstance(found, type) and issubclass(found, np.generic)
    )


def _is_estimator(found: type) -> bool:
    from sklearn.base import BaseEstimator

    return issubclass(found, BaseEstimator) and not inspect.isabstract(found)
