"""The names that the pickle of a fitted model may contain, and their permissions.

``instantiable``
    A class. Its objects are created empty, without their constructor, and then restored.
``callable``
    A function or class that a pickle calls. A constructor of this package replaces it.
``reference``
    A function or class that a model only refers to, such as the ``func`` of a
    ``FunctionTransformer``. The pickle cannot call it.
``placeholder``
    A part that predictions do not need, such as a cache on disk. An empty object replaces it.
``custom``
    A name that the operator has allowed.
"""

from __future__ import annotations

import inspect
from typing import Any, Literal

Permission = Literal["instantiable", "callable", "reference", "placeholder", "custom"]

_CONSTRUCTOR_PATHS = {
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
    "pytz": {"_UTC": "basic.make_pytz_zone", "_p": "basic.make_pytz_zone"},
    "sklearn.metrics._dist_metrics": {"newObj": "compiled.make_new"},
    "sklearn.neighbors._ball_tree": {"newObj": "compiled.make_new"},
    "sklearn.neighbors._kd_tree": {"newObj": "compiled.make_new"},
    "sklearn.tree._tree": {"Tree": "compiled.make_tree"},
}
# Offsets that are fixed durations; other offsets of pandas call functions.
_OFFSETS = "Nano Micro Milli Second Minute Hour Day"
_INSTANTIABLE = {
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
_REFERENCES = {
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
# Caches on disk with their paths, and distributions of randomized searches.
_UNNEEDED = ("joblib._store_backends", "joblib.memory", "pathlib", "scipy.stats.")
# Modules that define only classes of plain numbers and arithmetic.
_FAMILIES: dict[str, Permission] = {
    "sklearn._loss._loss": "callable",
    "sklearn._loss.link": "instantiable",
    "sklearn._loss.loss": "instantiable",
    "sklearn.gaussian_process.kernels": "instantiable",
    "sklearn.linear_model._sgd_fast": "callable",
    "sklearn.metrics._dist_metrics": "reference",
    "sklearn.model_selection._split": "instantiable",
    "sklearn.neighbors._ball_tree": "reference",
    "sklearn.neighbors._kd_tree": "reference",
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
# Estimators that evaluate expressions or download models.
_UNSAFE = (
    "skrub._data_ops",
    "skrub._llm_encoder",
    "skrub._text_encoder",
)


def _split_names(names: dict[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset((module, name) for module, text in names.items() for name in text.split())


CONSTRUCTORS: dict[tuple[str, str], str] = {
    (module, name): path
    for module, names in _CONSTRUCTOR_PATHS.items()
    for name, path in names.items()
}
CONSTRUCTORS |= {
    ("pandas._libs.tslibs.offsets", name): "frames.make_offset" for name in _OFFSETS.split()
}
EXACT: dict[tuple[str, str], Permission] = {
    **dict.fromkeys(_split_names(_INSTANTIABLE), "instantiable"),
    **dict.fromkeys(_split_names(_REFERENCES), "reference"),
    **dict.fromkeys(CONSTRUCTORS, "callable"),
}


def is_unneeded(module: str) -> bool:
    """Whether predictions never need the objects of a module."""
    return module in _UNNEEDED or module.startswith(_UNNEEDED[-1])


def may_contain(module: str) -> bool:
    """Whether a module may contain allowed names; other modules are never imported."""
    package, *inner = module.split(".")
    if package in _LIBRARIES:
        unsafe = any(module == prefix or module.startswith(f"{prefix}.") for prefix in _UNSAFE)
        return not unsafe and not any(part == "conftest" or "test" in part for part in inner)
    return module in _UFUNCS


def permission_of(module: str, name: str, value: Any) -> Permission | None:
    """Return the permission of an object, or None if it is not allowed.

    Parameters
    ----------
    module, name : str
        The module and the name of the object. The module must define the object, because
        modules of scikit-learn also contain the names that they import.
    value : object

    Returns
    -------
    {"instantiable", "callable", "reference"} or None
    """
    if module in _UFUNCS:
        return "reference" if _is_plain_numpy(value) else None
    is_defined_here = (
        getattr(value, "__module__", "") == module and getattr(value, "__name__", "") == name
    )
    if not is_defined_here or not may_contain(module):
        return None
    if isinstance(value, type):
        return _FAMILIES.get(module) or ("instantiable" if _is_estimator(value) else None)
    if _FAMILIES.get(module) == "callable" and name.startswith("__pyx_unpickle_"):
        return "callable"
    return "reference" if module in _METRICS and not name.startswith("_") else None


def _is_plain_numpy(value: Any) -> bool:
    """Whether an object is a universal function or a scalar type of numpy."""
    import numpy as np

    return isinstance(value, np.ufunc) or (
        isinstance(value, type) and issubclass(value, np.generic)
    )


def _is_estimator(kind: type) -> bool:
    from sklearn.base import BaseEstimator

    return issubclass(kind, BaseEstimator) and not inspect.isabstract(kind)
