"""Training on a local Spark with small tables that contain every case.

The reference is scikit-learn's own Newton on the same rows in memory.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    KBinsDiscretizer,
    OneHotEncoder,
    PolynomialFeatures,
    StandardScaler,
    TargetEncoder,
)
from small_problem import PROBLEM

from slipway.core.errors import SlipwayError
from slipway.core.files import file_sha256
from slipway.data.dataset import FOLD, Dataset, DatasetManifest, Part
from slipway.data.problem import Problem
from slipway.models.features import Feature
from slipway.training.engines.spark.fit import fit_in_session, fit_spark

pytest_plugins = ["engines"]
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:Bins whose width")]
EVERY_FOLD = range(10)

FEATURES = (
    Feature("kind", "category", "Many levels, some rare", "a", nullable=True),
    Feature("always", "category", "One level", "x"),
    Feature("grade", "integer", "Few numbers", 1),
    Feature("weight", "number", "With gaps", 1.5, nullable=True),
    Feature("size", "number", "Without gaps", 1.5),
    Feature("fragile", "flag", "A flag", True),
)


def everything():
    """Build a pipeline with every kind of column for Spark."""
    bins = KBinsDiscretizer(5, quantile_method="averaged_inverted_cdf", subsample=None)
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=20), ["kind"]),
        (OneHotEncoder(drop="first"), ["grade", "fragile"]),
        (OneHotEncoder(), ["always"]),
        (make_pipeline(SimpleImputer(strategy="median", add_indicator=True), bins), ["weight"]),
        (make_union(StandardScaler(), bins), ["size"]),
    )
    regression = LogisticRegression(C=0.7, solver="newton-cholesky", tol=1e-10)
    return make_pipeline(columns, regression)


def drawn(n_rows, seed=0):
    """Draw rows with missing values, rare levels, levels to quote in SQL, and their target."""
    draw = np.random.default_rng(seed)
    levels = np.array(["a", "b'", 'c"', "d\\", "é", "", "rare", "rarer"], dtype=object)
    kind = draw.choice(levels, n_rows, p=[0.3, 0.3, 0.15, 0.1, 0.08, 0.05, 0.01, 0.01])
    kind[draw.random(n_rows) < 0.05] = None
    size = np.round(draw.lognormal(size=n_rows), 1)
    weight = np.where(draw.random(n_rows) < 0.2, np.nan, np.round(draw.normal(size=n_rows), 1))
    grade, fragile = draw.integers(1, 5, n_rows), draw.random(n_rows) < 0.3
    odds = 0.8 * (kind == "a") + 0.3 * grade - size / 2 + np.nan_to_num(weight) - fragile
    late = (draw.random(n_rows) < 1 / (1 + np.exp(-odds))).astype(int)
    columns = [kind, np.full(n_rows, "x", dtype=object), grade, weight, size, fragile]
    names = [feature.name for feature in FEATURES]
    return pd.DataFrame(dict(zip(names, columns, strict=True))), pd.Series(late)


def problem_of(pipeline, features=FEATURES) -> Problem:
    return replace(PROBLEM, features=features, pipeline=lambda: pipeline, order_column="late")


def store(folder, X, y, folds=None):
    """Write rows as ``flask etl`` would, in two files."""
    table = pa.Table.from_pandas(X.assign(late=y), preserve_index=False)
    folds = np.arange(len(y)) % 10 if folds is None else folds
    table = table.append_column(FOLD, pa.array(folds, pa.int8()))
    half = -(-len(y) // 2)
    parts = []
    for number, piece in enumerate((table[:half], table[half:])):
        file = folder / f"part-{number}.parquet"
        pq.write_table(piece, file)
        parts.append(Part(file.name, len(piece), file_sha256(file)))
    manifest = DatasetManifest(
        "parcels", "", "", "", "", 0.0, None, len(y), len(y), {}, {}, {}, tuple(parts), {}
    )
    return Dataset(folder, manifest)


@pytest.fixture
def fitted(spark):
    """Fit in the session that these tests share."""

    def run(problem, stored, folds=EVERY_FOLD):
        return fit_in_session(spark, problem, stored, folds, [].append)

    return run


def test_small_table_with_everything_equals_scikit_learn(fitted, tmp_path):
    X, y = drawn(1_500)
    folds = np.arange(len(y)) % 10
    ours = fitted(problem_of(everything()), store(tmp_path, X, y), folds=range(8))
    used = folds < 8
    theirs = everything().fit(X[used], y[used])
    assert np.abs(ours[-1].coef_ - theirs[-1].coef_).max() < 1e-8
    assert np.abs(ours.predict_proba(X) - theirs.predict_proba(X)).max() < 1e-9
    # A level that all rows have has no effect in either fit.
    names = list(ours[:-1].get_feature_names_out())
    constant = names.index("onehotencoder-3__always_x")
    assert ours[-1].coef_[0, constant] == 0
    assert abs(theirs[-1].coef_[0, constant]) < 1e-9


def test_small_table_with_very_strong_effects_still_converges(fitted, tmp_path):
    X, y = drawn(400)
    X["size"] = y + 0.001 * X["size"]
    pipeline = make_pipeline(
        make_column_transformer((StandardScaler(), ["size"])),
        LogisticRegression(C=1e4, solver="newton-cholesky", tol=1e-10, max_iter=500),
    )
    features = tuple(f for f in FEATURES if f.name == "size")
    ours = fitted(problem_of(pipeline, features), store(tmp_path, X[["size"]], y))
    theirs = pipeline.fit(X[["size"]], y)
    assert ours[-1].coef_ == pytest.approx(theirs[-1].coef_, rel=1e-6)


def last(**settings):
    return make_pipeline(
        make_column_transformer((OneHotEncoder(), ["kind"])), LogisticRegression(**settings)
    )


def products():
    first = make_column_transformer((PolynomialFeatures(2), ["grade", "size"]))
    return make_pipeline(first, LogisticRegression())


def by_target():
    return make_pipeline(make_column_transformer((TargetEncoder(), ["kind"])), LogisticRegression())


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        (last(l1_ratio=0.5, solver="saga"), "'logisticregression'.*l1_ratio=0"),
        (last(C=np.inf), "'logisticregression'.*C=1.0"),
        (last(fit_intercept=False), "'logisticregression'.*fit_intercept=True"),
        (last(class_weight="balanced"), "'logisticregression'.*class_weight=None"),
        (make_pipeline(StandardScaler(), Ridge()), "'ridge'.*--engine memory"),
    ],
)
def test_pipeline_with_another_objective_raises_with_the_step(fitted, tmp_path, pipeline, message):
    X, y = drawn(20)
    with pytest.raises(SlipwayError, match=message):
        fitted(problem_of(pipeline), store(tmp_path, X, y))


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        (products(), "PolynomialFeatures.*--engine memory"),
        (by_target(), "TargetEncoder.*--engine memory"),
    ],
)
def test_pipeline_with_a_step_not_fitted_from_counts_raises_with_the_step(
    fitted, tmp_path, pipeline, message
):
    X, y = drawn(200)
    with pytest.raises(SlipwayError, match=message):
        fitted(problem_of(pipeline), store(tmp_path, X, y))


def test_rows_of_one_class_raise(fitted, tmp_path):
    X, y = drawn(50)
    with pytest.raises(SlipwayError, match="two classes"):
        fitted(problem_of(everything()), store(tmp_path, X, 0 * y))


def test_no_rows_raise(fitted, tmp_path):
    X, y = drawn(50)
    with pytest.raises(SlipwayError, match="two classes"):
        fitted(problem_of(everything()), store(tmp_path, X, y, folds=np.full(50, 9)), folds=[1])


def test_rows_that_spark_cannot_read_raise_without_a_stack_trace(fitted, tmp_path):
    X, y = drawn(50)
    stored = store(tmp_path, X, y)
    stored.files[1].write_bytes(b"no Parquet")
    with pytest.raises(SlipwayError, match="Spark could not finish") as raised:
        fitted(problem_of(everything()), stored)
    assert "\n" not in str(raised.value)


def test_spark_connect_server_raises(tmp_path):
    X, y = drawn(50)
    with pytest.raises(SlipwayError, match="spark://host:port"):
        fit_spark(
            problem_of(everything()),
            store(tmp_path, X, y),
            master="sc://127.0.0.1:15002",
            folds=EVERY_FOLD,
            progress=print,
        )
