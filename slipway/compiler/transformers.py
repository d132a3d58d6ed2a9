"""The rules: what each scikit-learn transformer makes of each of its columns.

A rule says, for every column that a fitted transformer gives, which column it reads, and through
which stages a number goes on its way. What becomes of a category, and of a number that can only
be one of a few, no rule has to say: the transformer itself is asked.
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

from slipway.compiler.columns import NotAScorecard, is_gap
from slipway.compiler.curves import of_ranks, of_splines
from slipway.models.stages import Affine, Clip, Name, Named, Pieces, Stage, step_function

KEEP = object()


@dataclass(frozen=True)
class OutputColumn:
    """One column that a transformer gives.

    Attributes
    ----------
    source : int
        The column that it reads.
    stages : tuple of Stage
        What a number goes through.
    filled : object
        What a number becomes that an earlier function has made NaN, where it does not stay NaN.
    tells_gaps : bool
        Whether the column only says whether the value is missing.
    """

    source: int
    stages: tuple[Stage, ...] = ()
    filled: Any = KEEP
    tells_gaps: bool = False


@singledispatch
def output_columns(step: Any) -> list[OutputColumn]:
    """Say what a fitted transformer makes of its columns, in the order of its output."""
    raise NotAScorecard(f"no rule for {type(step).__name__}")


@output_columns.register
def _(step: SimpleImputer) -> list[OutputColumn]:
    learned = [_plain(value) for value in step.statistics_]
    # An all-missing column is dropped; None is a value like any other.
    empty = [isinstance(value, float) and math.isnan(value) for value in learned]
    kept = [i for i, gone in enumerate(empty) if step.keep_empty_features or not gone]
    made = [_imputed(step, i, _plain(step.statistics_[i])) for i in kept]
    return made + (output_columns(step.indicator_) if step.add_indicator else [])


def _imputed(step: SimpleImputer, i: int, statistic: Any) -> OutputColumn:
    """Put a statistic where the imputer's missing value stands."""
    if is_gap(step.missing_values):
        return OutputColumn(i, filled=statistic)
    if not isinstance(step.missing_values, int | float) or isinstance(statistic, str):
        raise NotAScorecard("no rule for a SimpleImputer of texts that stand for missing")
    gap = float(step.missing_values)
    edges, same = (gap, math.nextafter(gap, math.inf)), (0.0, 1.0)
    return OutputColumn(i, (Pieces(edges, (0.0,) * 3, (same, (float(statistic),), same)),))


@output_columns.register
def _(step: MissingIndicator) -> list[OutputColumn]:
    if not is_gap(step.missing_values):
        raise NotAScorecard("no rule for a MissingIndicator of anything but NaN")
    return [OutputColumn(int(i), tells_gaps=True) for i in step.features_]


@output_columns.register
def _(step: StandardScaler) -> list[OutputColumn]:
    means = step.mean_ if step.with_mean else np.zeros(step.n_features_in_)
    scales = step.scale_ if step.with_std else np.ones(step.n_features_in_)
    return _scaled(means, scales)


@output_columns.register
def _(step: RobustScaler) -> list[OutputColumn]:
    centers = step.center_ if step.with_centering else np.zeros(step.n_features_in_)
    scales = step.scale_ if step.with_scaling else np.ones(step.n_features_in_)
    return _scaled(centers, scales)


@output_columns.register
def _(step: MaxAbsScaler) -> list[OutputColumn]:
    made = _scaled(np.zeros(step.n_features_in_), step.scale_)
    if not step.clip:
        return made
    return [OutputColumn(one.source, (*one.stages, Clip(-1.0, 1.0))) for one in made]


@output_columns.register
def _(step: MinMaxScaler) -> list[OutputColumn]:
    low, high = map(float, step.feature_range)
    clip = (Clip(low, high),) if step.clip else ()
    pairs = zip(step.scale_.tolist(), step.min_.tolist(), strict=True)
    return [OutputColumn(i, (Affine(times=t, plus=p), *clip)) for i, (t, p) in enumerate(pairs)]


def _scaled(centers: Any, scales: Any) -> list[OutputColumn]:
    """Subtract, then divide."""
    pairs = zip(centers.tolist(), scales.tolist(), strict=True)
    return [OutputColumn(i, (Affine(subtract=c, divide=s),)) for i, (c, s) in enumerate(pairs)]


@output_columns.register
def _(step: Binarizer) -> list[OutputColumn]:
    # The threshold itself is still below.
    edge = math.nextafter(float(step.threshold), math.inf)
    return [
        OutputColumn(i, (step_function((edge,), (0.0, 1.0)),)) for i in range(step.n_features_in_)
    ]


@output_columns.register
def _(step: KBinsDiscretizer) -> list[OutputColumn]:
    made = []
    for i, all_edges in enumerate(step.bin_edges_):
        edges = all_edges[1:-1].tolist()
        bins = np.eye(len(edges) + 1).tolist()
        if step.encode == "ordinal":
            bins = [list(range(len(edges) + 1))]
        made += [OutputColumn(i, (step_function(edges, points),)) for points in bins]
    return made


@output_columns.register
def _(step: OneHotEncoder) -> list[OutputColumn]:
    return _encoded(step, [_width(step, i) for i in range(len(step.categories_))])


@output_columns.register
def _(step: OrdinalEncoder) -> list[OutputColumn]:
    return _encoded(step, [1] * len(step.categories_))


@output_columns.register
def _(step: TargetEncoder) -> list[OutputColumn]:
    width = len(step.classes_) if step.target_type_ == "multiclass" else 1
    return _encoded(step, [width] * len(step.categories_))


def _encoded(step: Any, widths: list[int]) -> list[OutputColumn]:
    return [OutputColumn(i) for i, width in enumerate(widths) for _ in range(width)]


def known_levels(step: Any) -> list[tuple[Any, ...]] | None:
    """Return the values that an encoder tells apart in each column; None for other steps."""
    if not isinstance(step, OneHotEncoder | OrdinalEncoder | TargetEncoder):
        return None
    return [tuple(c for c in known.tolist() if not is_gap(c)) for known in step.categories_]


def _width(step: OneHotEncoder, i: int) -> int:
    """Count the columns that a one-hot encoder makes of one; rare categories share one."""
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
    return [OutputColumn(i, each) for i, each in enumerate(stages)]


@output_columns.register
def _(step: QuantileTransformer) -> list[OutputColumn]:
    return [OutputColumn(i, stages) for i, stages in enumerate(of_ranks(step))]


@output_columns.register
def _(step: SplineTransformer) -> list[OutputColumn]:
    filled = 0.0 if step.handle_missing == "zeros" else KEEP
    columns = range(step.n_features_in_)
    return [OutputColumn(i, stages, filled) for i in columns for stages in of_splines(step, i)]


@output_columns.register
def _(step: PolynomialFeatures) -> list[OutputColumn]:
    made = []
    for powers in step.powers_:
        used = np.flatnonzero(powers)
        if len(used) > 1:
            raise NotAScorecard("PolynomialFeatures makes products of two features")
        i = int(used[0]) if len(used) else 0
        power = int(powers[i])
        made.append(OutputColumn(i, (Pieces((), (0.0,), ((0.0,) * power + (1.0,),)),)))
    return made


def _select(step: Any) -> list[OutputColumn]:
    """Keep some columns as they are."""
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


def _plain(value: Any) -> Any:
    """Give a numpy scalar as Python's own."""
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
