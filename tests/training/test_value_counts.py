"""Transformers fitted on counts equal those fitted on rows."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.interpolate import BSpline
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
)

from slipway.core.errors import SlipwayError
from slipway.models.features import Feature
from slipway.training.engines.chunked import value_counts as counting
from slipway.training.engines.chunked.quantiles import (
    METHODS,
    count_rows_for,
    make_rows_with_quantiles,
    quantiles,
)
from slipway.training.engines.chunked.transformers import assemble, fit_transformers
from slipway.training.engines.chunked.value_counts import Counts, ValueCounter

FEATURES = (
    Feature("colour", "category", "", "red"),
    Feature("town", "category", "", "x", nullable=True),
    Feature("weight", "number", "", 1.0),
    Feature("height", "number", "", 1.0, nullable=True),
    Feature("children", "integer", "", 1),
    Feature("year", "integer", "", 1, nullable=True),
    Feature("member", "flag", "", True),
)
DENSE, GAPS = ["weight", "children"], ["weight", "height", "children", "year"]
TEXTS, ALL_TEXTS = ["colour"], ["colour", "town"]


def draw_rows(n: int, seed: int) -> pd.DataFrame:
    """Draw rows with missing values, ties, rare levels and a nearly constant number."""
    rng = np.random.default_rng(seed)
    rank = np.minimum(rng.geometric(0.3, n), 9)
    weight = np.round(rng.normal(70, 12, n), int(rng.integers(0, 4)))
    height = np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n).round(1))
    year = np.where(rng.random(n) < 0.1, np.nan, rng.integers(1990, 2014, n))
    town = np.array(["a", "b", "ä", "", None], dtype=object)[rng.integers(0, 5, n)]
    X = pd.DataFrame({"colour": [f"c{r}" for r in rank], "town": town, "weight": weight})
    X["height"], X["children"], X["year"] = height, rng.poisson(1.2, n), year
    X["member"] = rng.random(n) < 0.3
    return X.astype({f.name: f.column_type for f in FEATURES})


def count_frame(X: pd.DataFrame) -> dict[str, Counts]:
    """Count values with pandas, independently of the tested code."""
    result = {}
    for name in X:
        counts = X[name].value_counts().sort_index()
        result[str(name)] = Counts(
            counts.index.to_numpy(), counts.to_numpy().astype(np.int64), int(X[name].isna().sum())
        )
    return result


def fit_both(part: Any, columns: Any, X: pd.DataFrame, **options: Any) -> tuple[Any, Any]:
    """Fit a pipeline's transformers with its own fit and from counts."""
    chosen = ColumnTransformer([("part", part, columns)], **options)
    whole = Pipeline([("columns", chosen), ("regression", LogisticRegression())])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ordinary = Pipeline([("columns", chosen)]).fit(X)
    return ordinary, fit_transformers(whole, count_frame(X), FEATURES)


def require_same(ordinary: Any, counted: Any, path: str = "") -> None:
    """Compare learned attributes recursively."""
    assert type(ordinary) is type(counted), path
    if isinstance(ordinary, BaseEstimator):
        assert set(vars(ordinary)) == set(vars(counted)), path
        for name, value in vars(ordinary).items():
            require_same(value, vars(counted)[name], f"{path}.{name}")
    elif isinstance(ordinary, list | tuple):
        assert len(ordinary) == len(counted), path
        for i, (one, other) in enumerate(zip(ordinary, counted, strict=True)):
            require_same(one, other, f"{path}[{i}]")
    elif isinstance(ordinary, np.ndarray) and ordinary.dtype == object:
        require_same(list(ordinary), list(counted), path)
    elif isinstance(ordinary, BSpline):
        np.testing.assert_allclose(ordinary.t, counted.t, rtol=1e-12, err_msg=path)
    elif isinstance(ordinary, np.ndarray | float | np.number):
        assert np.asarray(ordinary).dtype == np.asarray(counted).dtype, path
        # The variance of a constant column is rounding that depends on the order of addition.
        scale = np.max(np.abs(ordinary), initial=0.0, where=np.isfinite(ordinary))
        rounding = 1e-15 * max(1.0, float(scale))
        np.testing.assert_allclose(ordinary, counted, rtol=1e-12, atol=rounding, err_msg=path)
    elif isinstance(ordinary, dict):
        assert list(ordinary) == list(counted), path
        require_same(list(ordinary.values()), list(counted.values()), path)
    elif not callable(ordinary):
        assert ordinary == counted, path


def require_same_rows(ordinary: Any, counted: Any, X: pd.DataFrame, *, exact: bool = True) -> None:
    one, other = ordinary.transform(X), counted.transform(X)
    assert type(one) is type(other)
    one, other = (array.toarray() if sparse.issparse(array) else array for array in (one, other))
    if isinstance(one, pd.DataFrame):
        pd.testing.assert_frame_equal(one, other)
    elif exact:
        # The order of addition changes the rounding of a quantile or a sum.
        digit = 4 * np.finfo(float).eps
        size = np.nanmax(np.abs(one), initial=0.0) if one.dtype.kind == "f" else 0.0
        np.testing.assert_allclose(one, other, rtol=digit, atol=digit * size)
    else:
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11)


def filled(strategy: str, then: Any, **options: Any) -> Pipeline:
    return make_pipeline(SimpleImputer(strategy=strategy, **options), then)


bins = st.builds(
    KBinsDiscretizer,
    n_bins=st.integers(2, 40),
    encode=st.sampled_from(["onehot", "onehot-dense", "ordinal"]),
    strategy=st.sampled_from(["quantile", "uniform"]),
    quantile_method=st.sampled_from(METHODS),
    subsample=st.none(),
)
one_hot = st.builds(
    OneHotEncoder,
    drop=st.sampled_from([None, "first", "if_binary"]),
    sparse_output=st.booleans(),
    handle_unknown=st.sampled_from(["error", "ignore", "infrequent_if_exist"]),
    min_frequency=st.sampled_from([None, 1, 3, 40, 0.02, 0.3]),
    max_categories=st.sampled_from([None, 1, 2, 4]),
)
ordinal = st.builds(
    OrdinalEncoder,
    handle_unknown=st.just("use_encoded_value"),
    unknown_value=st.just(-1),
    encoded_missing_value=st.just(-2),
    min_frequency=st.sampled_from([None, 3, 0.1]),
    max_categories=st.sampled_from([None, 3]),
)
splines = st.builds(
    SplineTransformer,
    n_knots=st.integers(3, 12),
    degree=st.integers(1, 3),
    knots=st.sampled_from(["uniform", "quantile"]),
    extrapolation=st.sampled_from(["constant", "linear", "continue"]),
    include_bias=st.booleans(),
)
imputers = st.builds(
    SimpleImputer,
    strategy=st.sampled_from(["mean", "median", "most_frequent", "constant"]),
    add_indicator=st.booleans(),
)
EXACT = st.one_of(
    st.tuples(bins, st.just(DENSE)),
    st.tuples(one_hot, st.sampled_from([TEXTS, ALL_TEXTS, [*ALL_TEXTS, "children", "member"]])),
    st.tuples(ordinal, st.sampled_from([TEXTS, ["children", "year"]])),
    st.tuples(splines, st.just(DENSE)),
    st.builds(MinMaxScaler, feature_range=st.sampled_from([(0, 1), (-3, 2)])).map(
        lambda step: (step, GAPS)
    ),
    st.builds(
        RobustScaler,
        quantile_range=st.sampled_from([(25.0, 75.0), (10.0, 90.0), (33.3, 50.0)]),
        unit_variance=st.booleans(),
    ).map(lambda step: (step, GAPS)),
    st.sampled_from(
        [
            (MaxAbsScaler(), GAPS),
            (Binarizer(threshold=2.0), DENSE),
            (MissingIndicator(), GAPS),
            (MissingIndicator(features="all"), GAPS),
            (FunctionTransformer(np.log1p), ["children"]),
            ("passthrough", GAPS),
            (
                make_pipeline(
                    SimpleImputer(strategy="constant", fill_value="?", missing_values=None),
                    OneHotEncoder(min_frequency=5),
                ),
                ALL_TEXTS,
            ),
            (
                FeatureUnion(
                    [
                        ("value", filled("median", KBinsDiscretizer(7, subsample=None))),
                        ("gap", MissingIndicator(features="all")),
                        ("none", "drop"),
                    ],
                    transformer_weights={"value": 0.5},
                ),
                GAPS,
            ),
            (make_pipeline(OneHotEncoder(), MaxAbsScaler()), ["colour", "children"]),
            (FeatureUnion([("as it is", "passthrough"), ("bend", SplineTransformer())]), DENSE),
        ]
    ),
    st.tuples(imputers.filter(lambda step: step.strategy != "mean"), st.just(GAPS)),
)


@settings(max_examples=150, deadline=None)
@given(EXACT, st.integers(12, 400), st.integers(0, 10**6), st.sampled_from([0.0, 0.3, 1.0]))
def test_transformers_fitted_on_counts_equal_those_fitted_on_rows(
    chosen: tuple[Any, list[str]], n: int, seed: int, threshold: float
) -> None:
    part, columns = chosen
    X = draw_rows(n, seed)
    options = {"sparse_threshold": threshold}
    try:
        ordinary, counted = fit_both(part, columns, X, **options)
    except (ValueError, ZeroDivisionError):
        # Rows that scikit-learn rejects are rejected from counts as well.
        chosen_step = ColumnTransformer([("part", part, columns)])
        whole = Pipeline([("columns", chosen_step), ("regression", LogisticRegression())])
        with pytest.raises(SlipwayError):
            fit_transformers(whole, count_frame(X), FEATURES)
        return
    require_same(ordinary, counted)
    require_same_rows(ordinary, counted, X)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(
        [
            (StandardScaler(), GAPS),
            (StandardScaler(with_mean=False), DENSE),
            (StandardScaler(with_std=False), GAPS),
            (SimpleImputer(strategy="mean", add_indicator=True), GAPS),
            (filled("mean", StandardScaler()), GAPS),
            (filled("mean", KBinsDiscretizer(6, subsample=None, strategy="uniform")), GAPS),
            (make_pipeline(OneHotEncoder(), StandardScaler(with_mean=False)), TEXTS),
        ]
    ),
    st.integers(12, 400),
    st.integers(0, 10**6),
)
def test_sums_over_counts_equal_sums_over_rows_up_to_rounding(
    chosen: tuple[Any, list[str]], n: int, seed: int
) -> None:
    part, columns = chosen
    X = draw_rows(n, seed)
    ordinary, counted = fit_both(part, columns, X)
    require_same(ordinary, counted)
    require_same_rows(ordinary, counted, X, exact=False)


@settings(max_examples=20, deadline=None)
@given(st.integers(20, 300), st.integers(0, 10**6))
def test_mixed_columns_with_pandas_output_are_equal(n: int, seed: int) -> None:
    X = draw_rows(n, seed)
    columns = ColumnTransformer(
        [
            ("texts", OneHotEncoder(sparse_output=False), make_column_selector("colour")),
            ("bins", KBinsDiscretizer(4, encode="ordinal", subsample=None), ["weight"]),
            ("gone", "drop", ["town", "member"]),
        ],
        remainder=SimpleImputer(strategy="median"),
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ordinary = Pipeline([("columns", columns)]).fit(X)
    whole = Pipeline([("columns", columns), ("regression", LogisticRegression())])
    counted = fit_transformers(whole, count_frame(X), FEATURES)
    require_same(ordinary, counted)
    require_same_rows(ordinary, counted, X)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-5, 5), st.integers(1, 60)), min_size=1, max_size=9),
    st.sampled_from(METHODS),
    st.integers(1, 60),
)
def test_quantiles_of_counts_equal_numpy_exactly(
    pairs: list[tuple[int, int]], method: Any, n_levels: int
) -> None:
    values = np.array([value / 7 for value, _ in pairs])
    times = np.array([n for _, n in pairs])
    percentages = np.linspace(0, 100, n_levels + 1)
    expected = np.percentile(np.repeat(values, times), percentages, method=method)
    levels = np.true_divide(percentages, 100)
    result = quantiles(values, times, levels, method)
    np.testing.assert_array_equal(result, expected)
    rows = make_rows_with_quantiles(levels, result, count_rows_for(levels))
    np.testing.assert_array_equal(np.percentile(rows, percentages, method=method), expected)


@given(
    st.lists(
        st.lists(st.sampled_from([None, "a", "b", "ä", "", "zz"]), max_size=30),
        min_size=1,
        max_size=8,
    )
)
def test_value_counter_batches_sum_to_their_rows(batches: list[list[str | None]]) -> None:
    tally = ValueCounter("town")
    for batch in batches:
        tally.add(pa.array(batch, pa.string()))
    counts = tally.counts()
    rows = [value for batch in batches for value in batch]
    assert counts.rows == len(rows)
    assert counts.missing == rows.count(None)
    assert counts.values.tolist() == sorted({value for value in rows if value is not None})
    assert counts.counts.tolist() == [rows.count(value) for value in counts.values]


def test_value_counter_many_numbers_are_merged_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "MAX_PENDING", 10)
    rng = np.random.default_rng(0)
    tally, rows = ValueCounter("weight"), rng.integers(0, 50, 1000) / 4 - 3
    for batch in np.split(rows, 20):
        tally.add(pa.array(batch))
    values, counts = np.unique(rows, return_counts=True)
    assert tally.distinct < 200
    np.testing.assert_array_equal(tally.counts().values, values)
    np.testing.assert_array_equal(tally.counts().counts, counts)


def test_value_counter_nan_is_missing_and_minus_zero_is_zero() -> None:
    tally = ValueCounter("height")
    tally.add(pa.array([0.0, -0.0, float("nan"), None, 2.0]))
    counts = tally.counts()
    assert counts.values.tolist() == [0.0, 2.0]
    assert counts.counts.tolist() == [2, 1]
    assert counts.missing == 2
    assert not np.signbit(counts.values).any()


def own_function(X: Any) -> Any:
    return X[:, [0]] * X[:, [1]]


@pytest.mark.parametrize(
    ("part", "columns", "message"),
    [
        (PowerTransformer(), ["weight"], "PowerTransformer cannot be fitted in chunks"),
        (KBinsDiscretizer(subsample=50), ["weight"], "subsample=None"),
        (KBinsDiscretizer(strategy="kmeans", subsample=None), ["weight"], "kmeans"),
        (SimpleImputer(strategy=np.max), GAPS, "custom strategies are not supported"),
        (
            make_pipeline(MinMaxScaler((1, 2)), FunctionTransformer(own_function), MinMaxScaler()),
            DENSE,
            "and on another feature",
        ),
        (StandardScaler(), ["colour"], "StandardScaler"),
    ],
)
def test_step_not_fitted_from_counts_raises_with_its_name(
    part: Any, columns: list[str], message: str
) -> None:
    whole = Pipeline(
        [
            ("columns", ColumnTransformer([("part", part, columns)])),
            ("regression", LogisticRegression()),
        ]
    )
    with pytest.raises(SlipwayError, match=message):
        fit_transformers(whole, count_frame(draw_rows(100, 0)), FEATURES)


@pytest.mark.parametrize("output", ["default", "pandas"])
def test_assembled_pipeline_equals_a_fitted_one(output: str) -> None:
    X = draw_rows(200, 3)
    y = (X.weight > 70).astype(int)
    columns = ColumnTransformer([("part", OneHotEncoder(sparse_output=False), TEXTS)])
    whole: Pipeline = Pipeline(
        [("columns", columns.set_output(transform=output)), ("regression", LogisticRegression())]
    )
    transformers = fit_transformers(whole, count_frame(X), FEATURES)
    fitted = whole.fit(X, y)
    regression = fitted[-1]
    built = assemble(
        whole,
        transformers,
        regression.coef_[0],
        regression.intercept_[0],
        n_iter=int(regression.n_iter_[0]),
        names=transformers.get_feature_names_out() if output == "pandas" else None,
    )
    require_same(fitted, built)
    np.testing.assert_array_equal(built.predict_proba(X), fitted.predict_proba(X))
