"""Compare the columns of Spark and of the fitted scikit-learn steps cell by cell."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import sparse
from sklearn.compose import make_column_transformer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
)
from small_problem import PROBLEM

from slipway.core.errors import SlipwayError
from slipway.models.features import Feature
from slipway.training.engines.spark.design_matrix import make_vectors, spark_design

pytest_plugins = ["engines"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Bins whose width"),
    pytest.mark.filterwarnings("ignore:Found unknown categories"),
]
TEXTS = np.array(["a", "b", "it's", 'say "x"', "back\\slash", "é", "line\nbreak", ""], dtype=object)
FEATURES = (
    Feature("text", "category", "Texts", "a", nullable=True),
    Feature("Text", "integer", "A name that differs in case only, of few numbers", 1),
    Feature("gaps", "number", "With gaps", 1.5, nullable=True),
    Feature("full number", "number", "Without gaps, with a blank in its name", 1.5),
    Feature("flag", "flag", "A flag", True),
)


def rows(n_rows, seed=0):
    """Draw rows with frequent values, so that many lie on the edges of bins."""
    draw = np.random.default_rng(seed)
    text = draw.choice(TEXTS, n_rows, p=[0.5, 0.2, 0.1, 0.1, 0.04, 0.03, 0.02, 0.01])
    text[draw.random(n_rows) < 0.1] = None
    gaps = np.where(draw.random(n_rows) < 0.2, np.nan, draw.integers(-20, 20, n_rows) / 10)
    full = draw.integers(1, 400, n_rows) / 100
    columns = [text, draw.integers(0, 6, n_rows), gaps, full, draw.random(n_rows) < 0.4]
    return pd.DataFrame({f.name: c for f, c in zip(FEATURES, columns, strict=True)})


def edged(fitted_bins, X):
    """Add the exact edges of bins, and the numbers beside them, to the rows."""
    edges = fitted_bins.bin_edges_[0][1:-1]
    beside = [edges, np.nextafter(edges, np.inf), np.nextafter(edges, -np.inf)]
    exact = X.copy()
    exact.loc[: 3 * len(edges) - 1, "full number"] = np.concatenate(beside)
    return exact


def compared(spark, folder, fitted, X):
    """Return the columns of Spark and of scikit-learn."""
    problem = replace(PROBLEM, features=FEATURES)
    design = spark_design(fitted, problem, {"text", "gaps"})
    file = folder / "rows.parquet"
    table = pa.Table.from_pandas(X.assign(late=np.arange(len(X)) % 2), preserve_index=False)
    pq.write_table(table, file)
    spark.conf.set("spark.sql.caseSensitive", "true")
    vectors = make_vectors(spark.read.parquet(str(file)), design).collect()
    ours = np.array([row.features.toArray() for row in vectors])
    expected = fitted.transform(X)
    expected = (
        expected.toarray() if sparse.issparse(expected) else np.asarray(expected, dtype=float)
    )
    assert [row.label for row in vectors] == [float(i % 2) for i in range(len(X))]
    return design, ours, expected[:, list(design.places)]


def bins(n_bins=7, **settings):
    return KBinsDiscretizer(n_bins, subsample=None, **settings)


def coded():
    with_gaps = FeatureUnion(
        [
            ("value", make_pipeline(SimpleImputer(strategy="median"), bins())),
            ("missing", MissingIndicator(features="all")),
        ]
    )
    rare = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=30)
    whole = OneHotEncoder(drop="first", handle_unknown="ignore")
    return make_column_transformer(
        (rare, ["text"]),
        (whole, ["Text"]),
        (OneHotEncoder(), ["flag"]),
        (with_gaps, ["gaps"]),
        (bins(), ["full number"]),
        (Binarizer(threshold=2.0), ["full number"]),
    )


def test_coded_columns_equal_scikit_learn_on_edges_and_unseen(spark, tmp_path):
    X = rows(600)
    steps = Pipeline([("columns", coded().fit(X))])
    other = edged(steps[0].named_transformers_["kbinsdiscretizer"], rows(300, seed=1))
    other.loc[0:9, "text"] = "no such level"
    other.loc[0:9, "Text"] = 77
    design, ours, expected = compared(spark, tmp_path, steps, other)
    assert not design.numbers
    assert (ours == expected).all()


def numeric():
    filled = SimpleImputer(strategy="mean", add_indicator=True)
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    return make_column_transformer(
        (make_pipeline(ordinal, StandardScaler()), ["text"]),
        (make_pipeline(OneHotEncoder(), StandardScaler(with_mean=False)), ["Text"]),
        (make_pipeline(filled, RobustScaler()), ["gaps"]),
        (make_pipeline(SimpleImputer(), SplineTransformer(4)), ["gaps"]),
        (make_pipeline(FunctionTransformer(np.log1p), MinMaxScaler()), ["full number"]),
        (PowerTransformer(), ["full number"]),
        (QuantileTransformer(n_quantiles=20), ["full number"]),
        (PolynomialFeatures(3, include_bias=False), ["full number"]),
        (bins(encode="ordinal"), ["full number"]),
        ("passthrough", ["flag"]),
    )


def test_numeric_columns_equal_scikit_learn(spark, tmp_path):
    X = rows(600)
    steps = Pipeline([("columns", numeric().fit(X))])
    design, ours, expected = compared(spark, tmp_path, steps, rows(300, seed=1))
    assert len(design.numbers) > 10
    assert ours == pytest.approx(expected, rel=1e-10, abs=1e-12)


def test_overlapping_columns_have_separate_codes(spark, tmp_path):
    X = rows(400)
    twice = make_column_transformer((OneHotEncoder(), ["Text"]), (OneHotEncoder(), ["Text"]))
    design, ours, expected = compared(spark, tmp_path, Pipeline([("twice", twice.fit(X))]), X)
    assert [*design.codes.values()] == [7, 7]
    assert (ours == expected).all()


def test_product_of_features_raises():
    both = make_column_transformer((PolynomialFeatures(2), ["Text", "full number"]))
    fitted = Pipeline([("products", both.fit(rows(50)))])
    with pytest.raises(SlipwayError, match="multiplies two features; use --engine memory"):
        spark_design(fitted, replace(PROBLEM, features=FEATURES), ())


def test_missing_value_that_a_step_rejects_raises():
    plain = make_column_transformer((bins(), ["gaps"]))
    fitted = Pipeline([("bins", plain.fit(rows(50).dropna()))])
    with pytest.raises(SlipwayError, match="rejects missing values of gaps"):
        spark_design(fitted, replace(PROBLEM, features=FEATURES), {"gaps"})
