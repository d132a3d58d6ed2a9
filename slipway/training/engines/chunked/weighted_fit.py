"""Fit one transformer on distinct values and their counts as scikit-learn would on all rows.

What is fitted are unmodified objects of scikit-learn, by their own ``fit``, on a few rows that
lead to the same result: each distinct value once where only these matter, rows with the same
quantiles, the mean or the most frequent value as often as there must be rows.
"""

from __future__ import annotations

import math
from functools import singledispatch
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse
from sklearn.base import clone
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
)
from sklearn.utils._mask import _get_mask

from slipway.training.engines.chunked.feature_columns import Columns
from slipway.training.engines.chunked.quantiles import (
    METHODS,
    median,
    quantiles,
    rows_for,
    rows_with_quantiles,
)
from slipway.training.engines.chunked.value_counts import Ints


class NotFromCounts(Exception):
    """Counts do not tell what a transformer would learn, for the reason given."""


@singledispatch
def fit_weighted(step: Any, columns: Columns) -> Any:
    """Fit a transformer.

    Parameters
    ----------
    step : transformer
        Unfitted.
    columns : Columns
        What it is given.

    Returns
    -------
    transformer
        A fitted clone; its learned attributes are those of a fit on all rows.

    Raises
    ------
    NotFromCounts
    """
    raise NotFromCounts("it is not among those that are learned from counts")


@fit_weighted.register(Binarizer)
@fit_weighted.register(FunctionTransformer)
@fit_weighted.register(MissingIndicator)
def _on_distinct(step: Any, columns: Columns) -> Any:
    """Fit what looks at nothing but which values there are."""
    return clone(step).fit(columns.distinct())


@fit_weighted.register(MinMaxScaler)
@fit_weighted.register(MaxAbsScaler)
def _(step: Any, columns: Columns) -> Any:
    fitted = _on_distinct(step, columns)
    fitted.n_samples_seen_ = columns.rows
    return fitted


@fit_weighted.register
def _(step: StandardScaler, columns: Columns) -> Any:
    fitted = _on_distinct(step, columns)
    each = [
        clone(step).fit(values[:, None].astype(np.float64), sample_weight=times)
        for values, times in columns.each()
    ]
    for name in ("mean_", "var_", "scale_"):
        if getattr(fitted, name) is not None:
            setattr(fitted, name, np.concatenate([getattr(one, name) for one in each]))
    seen = np.array([times[~pd.isna(values)].sum() for values, times in columns.each()])
    seen = seen.astype(np.asarray(fitted.n_samples_seen_).dtype)
    fitted.n_samples_seen_ = seen[0] if np.ptp(seen) == 0 else seen
    return fitted


@fit_weighted.register
def _(step: RobustScaler, columns: Columns) -> Any:
    low, high = step.quantile_range
    return _on_quantiles(step, columns, np.unique([low / 100, 0.5, high / 100]))


@fit_weighted.register
def _(step: SplineTransformer, columns: Columns) -> Any:
    if not isinstance(step.knots, str) or step.knots == "uniform":
        return _on_distinct(step, columns)
    ranks = 100 * np.linspace(start=0, stop=1, num=step.n_knots, dtype=np.float64)
    return _on_quantiles(step, columns, np.true_divide(ranks, 100))


@fit_weighted.register
def _(step: KBinsDiscretizer, columns: Columns) -> Any:
    if step.subsample is not None and columns.rows > step.subsample:
        raise NotFromCounts("subsample draws rows at random; subsample=None takes them all")
    if step.strategy == "uniform":
        fitted = clone(step)
        # Fewer rows than there are distinct values in all columns are no sample either.
        return (
            fitted.set_params(subsample=None)
            .fit(columns.distinct())
            .set_params(subsample=step.subsample)
        )
    if step.strategy != "quantile" or step.quantile_method not in METHODS:
        raise NotFromCounts(f"there is no rule for {step.strategy}, {step.quantile_method}")
    bins = np.broadcast_to(step.n_bins, columns.width)
    levels = [np.true_divide(np.linspace(0, 100, n + 1), 100) for n in bins.tolist()]
    fitted = _on_quantiles(step, columns, *levels, method=step.quantile_method)
    if step.dtype is None and "onehot" in step.encode:
        fitted._encoder.dtype = _numeric_type(columns.like)
    return fitted


def _numeric_type(like: Any) -> Any:
    """Give the type of the array that scikit-learn makes of a container."""
    kinds = list(like.dtypes) if isinstance(like, pd.DataFrame) else [like.dtype]
    found = np.result_type(*kinds)
    return np.dtype(np.float64) if found.kind == "O" else found


def _on_quantiles(
    step: Any, columns: Columns, *levels: npt.NDArray[np.float64], method: str = "linear"
) -> Any:
    """Fit on rows with the same quantiles; the levels of all columns, or of each."""
    if sparse.issparse(columns.like):
        raise NotFromCounts("there is no rule for quantiles of sparse columns")
    by_column = levels if len(levels) > 1 else levels * columns.width
    n_rows = max(map(rows_for, by_column))
    cells = []
    for (values, times), wanted in zip(columns.each(), by_column, strict=True):
        numbers = values.astype(np.float64)
        gap = np.isnan(numbers)
        if gap.all():
            cells.append(np.full(n_rows + 1, np.nan))
            continue
        found = quantiles(numbers[~gap], times[~gap], wanted, method)
        rows = rows_with_quantiles(wanted, found, n_rows)
        # The transformer has to meet a gap if there is one, be it only to refuse it.
        cells.append(np.append(rows, np.nan if gap.any() else rows[-1]))
    return clone(step).fit(columns.of(cells, dtype=np.float64))


@fit_weighted.register
def _(step: SimpleImputer, columns: Columns) -> Any:
    if sparse.issparse(columns.like) or callable(step.strategy):
        raise NotFromCounts("there is no rule for sparse columns or a strategy of one's own")
    cells = [_with_statistic(step, values, times) for values, times in columns.each()]
    numeric = step.strategy in ("mean", "median")
    return clone(step).fit(columns.of(cells, dtype=np.float64 if numeric else None))


def _with_statistic(step: SimpleImputer, values: npt.NDArray[Any], times: Ints) -> Any:
    """Make up four rows with the same mean, median or most frequent value, and the gap."""
    gap = _get_mask(values[:, None], step.missing_values)[:, 0]
    if gap.all():
        return np.repeat(values[:1], 4)
    known, often = values[~gap], times[~gap]
    statistic = known[0]
    if step.strategy == "mean":
        terms = (float(value) * int(n) for value, n in zip(known, often, strict=True))
        statistic = math.fsum(terms) / int(often.sum())
    elif step.strategy == "median":
        statistic = median(known.astype(np.float64), often)
    elif step.strategy == "most_frequent":
        summed = pd.Series(often).groupby(known, sort=False).sum()
        statistic = min(summed.index[summed == summed.max()])
    missing = values[gap][0] if gap.any() else statistic
    return np.array(
        [statistic] * 3 + [missing], dtype=values.dtype if statistic is known[0] else None
    )


@fit_weighted.register(OneHotEncoder)
@fit_weighted.register(OrdinalEncoder)
def _(step: Any, columns: Columns) -> Any:
    """Fit an encoder; where it asks which categories are rare, it is told the true counts."""
    each = list(columns.each())
    fitted = clone(step)

    def identify(category_count: Ints, n_samples: int, col_idx: int) -> Any:
        categories = fitted.categories_[col_idx][: len(category_count)]
        counts = _occurrences(*each[col_idx], categories)
        return type(fitted)._identify_infrequent(fitted, counts, columns.rows, col_idx)

    fitted._identify_infrequent = identify
    try:
        return fitted.fit(columns.distinct())
    finally:
        del fitted.__dict__["_identify_infrequent"]


def _occurrences(values: npt.NDArray[Any], times: Ints, categories: npt.NDArray[Any]) -> Ints:
    """Count how often each category occurs."""
    found: dict[Any, int] = {}
    for value, n in zip(values.tolist(), times.tolist(), strict=True):
        key = _key(value)
        found[key] = found.get(key, 0) + n
    return np.array([found.get(_key(value), 0) for value in categories.tolist()], dtype=np.int64)


def _key(value: Any) -> Any:
    """Make NaN equal to itself."""
    return "\0 nan" if isinstance(value, float) and math.isnan(value) else value
