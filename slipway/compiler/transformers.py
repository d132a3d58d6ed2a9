"""Rules for transformers: the output columns of each scikit-learn transformer.

A rule lists the output columns of a fitted transformer. For each it names the input column and
the stages that a number goes through. Rules do not cover categories and other discrete values:
``probing`` calls the transformer itself for those.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np
from sklearn.feature_selection import (
    RFE,
    RFECV,
    GenericUnivariateSelect,
    SelectFdr,
    SelectFpr,
    SelectFromModel,
    SelectFwe,
    SelectKBest,
    SelectPercentile,
    SequentialFeatureSelector,
    VarianceThreshold,
)
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)

from slipway.compiler.columns import NotAScorecard, is_missing
from slipway.compiler.curves import build_quantile_stages, build_spline_stages
from slipway.models.stages import Affine, Clip, Name, Named, Pieces, Stage, step_function

KEEP_NAN = object()


@dataclass(frozen=True)
class OutputColumn:
    """One output column of a transformer.

    Attributes
    ----------
    source : int
        The input column.
    stages : tuple of Stage
        The stages applied to a number.
    fill_value : object
        The replacement for a NaN that an earlier function returned; ``KEEP_NAN`` for none.
    is_indicator : bool
        Whether the column only marks missing values.
    """

    source: int
    stages: tuple[Stage, ...] = ()
    fill_value: Any = KEEP_NAN
    is_indicator: bool = False


@singledispatch
def output_columns(step: Any) -> list[OutputColumn]:
    """List the output columns of a fitted transformer, in order."""
    raise NotAScorecard(f"no rule for {type(step).__name__}")


@output_columns.register
def _(step: SimpleImputer) -> list[OutputColumn]:
    learned = [_to_python(value) for value in step.statistics_]
    # The imputer drops a column that is entirely missing. None counts as a value.
    empty = [isinstance(value, float) and math.isnan(value) for value in learned]
    kept = [i for i, gone in enumerate(empty) if step.keep_empty_features or not gone]
    columns = [_replace_missing(step, i, _to_python(step.statistics_[i])) for i in kept]
    return columns + (output_columns(step.indicator_) if step.add_indicator else [])


def _replace_missing(step: SimpleImputer, i: int, statistic: Any) -> OutputColumn:
    """Replace the imputer's marker of missing values by a statistic."""
    if is_missing(step.missing_values):
        return OutputColumn(i, fill_value=statistic)
    if not isinstance(step.missing_values, int | float) or isinstance(statistic, str):
        raise NotAScorecard("no rule for SimpleImputer with a text as missing_values or fill_value")
    marker = float(step.missing_values)
    edges, same = (marker, math.nextafter(marker, math.inf)), (0.0, 1.0)
    return OutputColumn(i, (Pieces(edges, (0.0,) * 3, (same, (float(statistic),), same)),))


@output_columns.register
def _(step: MissingIndicator) -> list[OutputColumn]:
    if not is_missing(step.missing_values):
        raise NotAScorecard("no rule for MissingIndicator with missing_values other than NaN")
    return [OutputColumn(int(i), is_indicator=True) for i in step.features_]


@output_columns.register
def _(step: StandardScaler) -> list[OutputColumn]:
    means = step.mean_ if step.with_mean else np.zeros(step.n_features_in_)
    scales = step.scale_ if step.with_std else np.ones(step.n_features_in_)
    return _scale(means, scales)


@output_columns.register
def _(step: RobustScaler) -> list[OutputColumn]:
    centers = step.center_ if step.with_centering else np.zeros(step.n_features_in_)
    scales = step.scale_ if step.with_scaling else np.ones(step.n_features_in_)
    return _scale(centers, scales)


@output_columns.register
def _(step: MaxAbsScaler) -> list[OutputColumn]:
    columns = _scale(np.zeros(step.n_features_in_), step.scale_)
    if not step.clip:
        return columns
    return [OutputColumn(column.source, (*column.stages, Clip(-1.0, 1.0))) for column in columns]


@output_columns.register
def _(step: MinMaxScaler) -> list[OutputColumn]:
    low, high = map(float, step.feature_range)
    clip = (Clip(low, high),) if step.clip else ()
    pairs = zip(step.scale_.tolist(), step.min_.tolist(), strict=True)
    return [OutputColumn(i, (Affine(times=t, plus=p), *clip)) for i, (t, p) in enumerate(pairs)]


def _scale(centers: Any, scales: Any) -> list[OutputColumn]:
    """Subtract the centers, then divide by the scales."""
    pairs = zip(centers.tolist(), scales.tolist(), strict=True)
    return [OutputColumn(i, (Affine(subtract=c, divide=s),)) for i, (c, s) in enumerate(pairs)]


@output_columns.register
def _(step: Binarizer) -> list[OutputColumn]:
    # The threshold itself belongs to the lower interval.
    edge = math.nextafter(float(step.threshold), math.inf)
    return [
        OutputColumn(i, (step_function((edge,), (0.0, 1.0)),)) for i in range(step.n_features_in_)
    ]


@output_columns.register
def _(step: KBinsDiscretizer) -> list[OutputColumn]:
    columns = []
    for i, all_edges in enumerate(step.bin_edges_):
        edges = all_edges[1:-1].tolist()
        bins = np.eye(len(edges) + 1).tolist()
        if step.encode == "ordinal":
            bins = [list(range(len(edges) + 1))]
        columns += [OutputColumn(i, (step_function(edges, points),)) for points in bins]
    return columns


@output_columns.register
def _(step: OneHotEncoder) -> list[OutputColumn]:
    return _encode(step, [_count_columns(step, i) for i in range(len(step.categories_))])


@output_columns.register
def _(step: OrdinalEncoder) -> list[OutputColumn]:
    return _encode(step, [1] * len(step.categories_))


@output_columns.register
def _(step: TargetEncoder) -> list[OutputColumn]:
    width = len(step.classes_) if step.target_type_ == "multiclass" else 1
    return _encode(step, [width] * len(step.categories_))


def _encode(step: Any, widths: list[int]) -> list[OutputColumn]:
    return [OutputColumn(i) for i, width in enumerate(widths) for _ in range(width)]


def list_levels(step: Any) -> list[tuple[Any, ...]] | None:
    """Return the categories of each column of an encoder; None for other steps."""
    if not isinstance(step, OneHotEncoder | OrdinalEncoder | TargetEncoder):
        return None
    return [tuple(c for c in known.tolist() if not is_missing(c)) for known in step.categories_]


def _count_columns(step: OneHotEncoder, i: int) -> int:
    """Count the output columns of a one-hot encoder for one input; rare categories share one."""
    infrequent = getattr(step, "infrequent_categories_", [None] * (i + 1))[i]
    merged = 0 if infrequent is None else len(infrequent) - 1
    dropped = step.drop_idx_ is not None and step.drop_idx_[i] is not None
    return len(step.categories_[i]) - merged - int(dropped)


@output_columns.register
def _(step: FunctionTransformer) -> list[OutputColumn]:
    function = _FUNCTIONS.get(step.func)
    if step.func is not None and (function is None or step.kw_args):
        name = getattr(step.func, "__name__", repr(step.func))
        raise NotAScorecard(f"no rule for FunctionTransformer({name})")
    stages = (Named(function),) if function else ()
    return [OutputColumn(i, stages) for i in range(step.n_features_in_)]


@output_columns.register
def _(step: PowerTransformer) -> list[OutputColumn]:
    name: Name = "box-cox" if step.method == "box-cox" else "yeo-johnson"
    stages: list[tuple[Stage, ...]] = [(Named(name, (float(p),)),) for p in step.lambdas_]
    if step.standardize:
        scaled = output_columns(step._scaler)
        stages = [(*first, *then.stages) for first, then in zip(stages, scaled, strict=True)]
    return [OutputColumn(i, path) for i, path in enumerate(stages)]


@output_columns.register
def _(step: QuantileTransformer) -> list[OutputColumn]:
    return [OutputColumn(i, stages) for i, stages in enumerate(build_quantile_stages(step))]


@output_columns.register
def _(step: SplineTransformer) -> list[OutputColumn]:
    fill_value = 0.0 if step.handle_missing == "zeros" else KEEP_NAN
    return [
        OutputColumn(i, stages, fill_value)
        for i in range(step.n_features_in_)
        for stages in build_spline_stages(step, i)
    ]


@output_columns.register
def _(step: PolynomialFeatures) -> list[OutputColumn]:
    columns = []
    for powers in step.powers_:
        used = np.flatnonzero(powers)
        if len(used) > 1:
            raise NotAScorecard("PolynomialFeatures multiplies two features")
        i = int(used[0]) if len(used) else 0
        power = int(powers[i])
        columns.append(OutputColumn(i, (Pieces((), (0.0,), ((0.0,) * power + (1.0,),)),)))
    return columns


def _select(step: Any) -> list[OutputColumn]:
    """Keep some columns unchanged."""
    return [OutputColumn(int(i)) for i in step.get_support(indices=True)]


for _selector in (
    GenericUnivariateSelect,
    RFE,
    RFECV,
    SelectFdr,
    SelectFpr,
    SelectFromModel,
    SelectFwe,
    SelectKBest,
    SelectPercentile,
    SequentialFeatureSelector,
    VarianceThreshold,
):
    output_columns.register(_selector, _select)


def _to_python(value: Any) -> Any:
    """Convert a numpy scalar to a Python object."""
    return value.item() if isinstance(value, np.generic) else value


_FUNCTIONS: dict[Any, Name] = {
    np.log: "log",
    np.log1p: "log1p",
    np.log2: "log2",
    np.log10: "log10",
    np.exp: "exp",
    np.expm1: "expm1",
    np.sqrt: "sqrt",
    np.square: "square",
    np.abs: "absolute",
    np.negative: "negative",
    np.reciprocal: "reciprocal",
}
