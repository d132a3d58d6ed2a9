"""Fit one transformer on distinct values and their counts as scikit-learn does on all rows.

The transformers are unmodified objects of scikit-learn. Their own ``fit`` gets a few rows that
lead to the same result. These are each distinct value once, rows with the same quantiles, or rows
with the same mean or most frequent value.
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
    count_rows_for,
    make_rows_with_quantiles,
    median,
    quantiles,
)
from slipway.training.engines.chunked.value_counts import Ints


class NotFromCounts(Exception):
    """A transformer cannot be fitted from counts; the message says why."""


@singledispatch
def fit_weighted(step: Any, columns: Columns) -> Any:
    """Fit a transformer.

    Parameters
    ----------
    step : transformer
        Unfitted.
    columns : Columns
        The input columns.

    Returns
    -------
    transformer
        A fitted clone; its learned attributes are those of a fit on all rows.

    Raises
    ------
    NotFromCounts
        The transformer needs more than the counts of its values.
    """
    raise NotFromCounts("its type is not supported")


@fit_weighted.register(Binarizer)
@fit_weighted.register(FunctionTransformer)
@fit_weighted.register(MissingIndicator)
def _fit_on_distinct(step: Any, columns: Columns) -> Any:
    """Fit a transformer that depends only on the set of values."""
    return clone(step).fit(columns.distinct_rows())


@fit_weighted.register(MinMaxScaler)
@fit_weighted.register(MaxAbsScaler)
def _(step: Any, columns: Columns) -> Any:
    fitted = _fit_on_distinct(step, columns)
    fitted.n_samples_seen_ = columns.rows
    return fitted


@fit_weighted.register
def _(step: StandardScaler, columns: Columns) -> Any:
    fitted = _fit_on_distinct(step, columns)
    by_column = [
        clone(step).fit(values[:, None].astype(np.float64), sample_weight=frequencies)
        for values, frequencies in columns.iter_columns()
    ]
    for name in ("mean_", "var_", "scale_"):
        if getattr(fitted, name) is not None:
            setattr(fitted, name, np.concatenate([getattr(scaler, name) for scaler in by_column]))
    seen = np.array(
        [frequencies[~pd.isna(values)].sum() for values, frequencies in columns.iter_columns()]
    )
    seen = seen.astype(np.asarray(fitted.n_samples_seen_).dtype)
    fitted.n_samples_seen_ = seen[0] if np.ptp(seen) == 0 else seen
    return fitted


@fit_weighted.register
def _(step: RobustScaler, columns: Columns) -> Any:
    low, high = step.quantile_range
    return _fit_on_quantiles(step, columns, np.unique([low / 100, 0.5, high / 100]))


@fit_weighted.register
def _(step: SplineTransformer, columns: Columns) -> Any:
    if not isinstance(step.knots, str) or step.knots == "uniform":
        return _fit_on_distinct(step, columns)
    ranks = 100 * np.linspace(start=0, stop=1, num=step.n_knots, dtype=np.float64)
    return _fit_on_quantiles(step, columns, np.true_divide(ranks, 100))


@fit_weighted.register
def _(step: KBinsDiscretizer, columns: Columns) -> Any:
    if step.subsample is not None and columns.rows > step.subsample:
        raise NotFromCounts("subsample draws random rows; set subsample=None to use all rows")
    if step.strategy == "uniform":
        fitted = clone(step)
        # The distinct values must not be sampled either.
        return (
            fitted.set_params(subsample=None)
            .fit(columns.distinct_rows())
            .set_params(subsample=step.subsample)
        )
    if step.strategy != "quantile" or step.quantile_method not in METHODS:
        raise NotFromCounts(
            f"strategy {step.strategy} with {step.quantile_method} is not supported"
        )
    bins = np.broadcast_to(step.n_bins, columns.width)
    levels = [np.true_divide(np.linspace(0, 100, n + 1), 100) for n in bins.tolist()]
    fitted = _fit_on_quantiles(step, columns, *levels, method=step.quantile_method)
    if step.dtype is None and "onehot" in step.encode:
        fitted._encoder.dtype = _numeric_type(columns.template)
    return fitted


def _numeric_type(template: Any) -> Any:
    """Return the type of the array to which scikit-learn converts a container."""
    kinds = list(template.dtypes) if isinstance(template, pd.DataFrame) else [template.dtype]
    result = np.result_type(*kinds)
    return np.dtype(np.float64) if result.kind == "O" else result


def _fit_on_quantiles(
    step: Any, columns: Columns, *levels: npt.NDArray[np.float64], method: str = "linear"
) -> Any:
    """Fit on rows with the same quantiles, given one or all columns' levels."""
    if sparse.issparse(columns.template):
        raise NotFromCounts("quantiles of sparse columns are not supported")
    by_column = levels if len(levels) > 1 else levels * columns.width
    n_rows = max(map(count_rows_for, by_column))
    cells = []
    for (values, frequencies), column_levels in zip(columns.iter_columns(), by_column, strict=True):
        numbers = values.astype(np.float64)
        missing = np.isnan(numbers)
        if missing.all():
            cells.append(np.full(n_rows + 1, np.nan))
            continue
        column_quantiles = quantiles(
            numbers[~missing], frequencies[~missing], column_levels, method
        )
        rows = make_rows_with_quantiles(column_levels, column_quantiles, n_rows)
        # The transformer must see a missing value if there is one, so that it can reject it.
        cells.append(np.append(rows, np.nan if missing.any() else rows[-1]))
    return clone(step).fit(columns.from_columns(cells, dtype=np.float64))


@fit_weighted.register
def _(step: SimpleImputer, columns: Columns) -> Any:
    if sparse.issparse(columns.template) or callable(step.strategy):
        raise NotFromCounts("sparse columns and custom strategies are not supported")
    cells = [
        _make_rows(step, values, frequencies) for values, frequencies in columns.iter_columns()
    ]
    numeric = step.strategy in ("mean", "median")
    return clone(step).fit(columns.from_columns(cells, dtype=np.float64 if numeric else None))


def _make_rows(step: SimpleImputer, values: npt.NDArray[Any], frequencies: Ints) -> Any:
    """Build four rows with the same statistic and, if any, a missing value."""
    is_missing = _get_mask(values[:, None], step.missing_values)[:, 0]
    if is_missing.all():
        return np.repeat(values[:1], 4)
    known, counts = values[~is_missing], frequencies[~is_missing]
    statistic = known[0]
    if step.strategy == "mean":
        terms = (float(value) * int(n) for value, n in zip(known, counts, strict=True))
        statistic = math.fsum(terms) / int(counts.sum())
    elif step.strategy == "median":
        statistic = median(known.astype(np.float64), counts)
    elif step.strategy == "most_frequent":
        summed = pd.Series(counts).groupby(known, sort=False).sum()
        statistic = min(summed.index[summed == summed.max()])
    missing = values[is_missing][0] if is_missing.any() else statistic
    return np.array(
        [statistic] * 3 + [missing], dtype=values.dtype if statistic is known[0] else None
    )


@fit_weighted.register(OneHotEncoder)
@fit_weighted.register(OrdinalEncoder)
def _(step: Any, columns: Columns) -> Any:
    """Fit an encoder, and replace its counts of categories by the true ones."""
    values_and_frequencies = list(columns.iter_columns())
    fitted = clone(step)

    def identify(category_count: Ints, n_samples: int, col_idx: int) -> Any:
        categories = fitted.categories_[col_idx][: len(category_count)]
        counts = _count_categories(*values_and_frequencies[col_idx], categories)
        return type(fitted)._identify_infrequent(fitted, counts, columns.rows, col_idx)

    fitted._identify_infrequent = identify
    try:
        return fitted.fit(columns.distinct_rows())
    finally:
        del fitted.__dict__["_identify_infrequent"]


def _count_categories(
    values: npt.NDArray[Any], frequencies: Ints, categories: npt.NDArray[Any]
) -> Ints:
    """Count how often each category occurs."""
    counts: dict[Any, int] = {}
    for value, n in zip(values.tolist(), frequencies.tolist(), strict=True):
        key = _to_key(value)
        counts[key] = counts.get(key, 0) + n
    return np.array(
        [counts.get(_to_key(value), 0) for value in categories.tolist()], dtype=np.int64
    )


def _to_key(value: Any) -> Any:
    """Return a key under which NaN equals itself."""
    return "\0 nan" if isinstance(value, float) and math.isnan(value) else value
