"""Custom models: steps and settings of scikit-learn, each saved, loaded and compared."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import sklearn
from custom_steps import dummies, less_the_mean, ranks, share_within
from own_models import (
    assert_same_predictions,
    attempt,
    customers,
    own_predictions,
    rejection_message,
    save_and_serve,
)
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import (
    LinearDiscriminantAnalysis,
    QuadraticDiscriminantAnalysis,
)
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.feature_selection import SelectKBest
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.metrics import make_scorer
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    OneHotEncoder,
    PolynomialFeatures,
    QuantileTransformer,
    SplineTransformer,
    StandardScaler,
)
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

import slipway
from slipway.compiler.sql import model_sql
from slipway.core.errors import SlipwayError
from slipway.models.manifest import read_manifest

LR = LogisticRegression


def gappy():
    X, y = customers()
    X = X.astype({"age": float}).assign(vip=X["spend"] > 90)
    X.loc[::11, "age"] = np.nan
    return X, y


def prepared(*numbers):
    steps = numbers or (SimpleImputer(), StandardScaler())
    return make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["plan"]),
        (make_pipeline(*steps), ["age", "spend"]),
        ("passthrough", ["vip"]),
    )


LAST = {
    "SVC": (CalibratedClassifierCV(SVC(), cv=2),),
    "MLP": (MLPClassifier((4,), max_iter=30, random_state=0),),
    "KNN": (KNeighborsClassifier(),),
    "GaussianNB": (GaussianNB(),),
    "QDA": (QuadraticDiscriminantAnalysis(reg_param=0.1),),
    "LDA": (LinearDiscriminantAnalysis(),),
    "AdaBoost": (AdaBoostClassifier(n_estimators=3),),
    "Bagging": (BaggingClassifier(LR(), n_estimators=3),),
    "Voting": (VotingClassifier([("a", LR()), ("b", GaussianNB())], voting="soft"),),
    "Stacking": (StackingClassifier([("a", LR()), ("b", GaussianNB())], cv=2),),
    "boosting": (GradientBoostingClassifier(n_estimators=3),),
    "PCA": (PCA(2), LR()),
    "Nystroem": (Nystroem(n_components=10, random_state=0), LR()),
    "products": (PolynomialFeatures(2, interaction_only=True), LR(max_iter=500)),
    "union": (make_union(StandardScaler(), MinMaxScaler()), LR()),
    "best": (SelectKBest(k=3), LR()),
    "SGD": (SGDClassifier(loss="log_loss", random_state=0),),
    "huber": (SGDClassifier(loss="modified_huber", random_state=0),),
}


@pytest.mark.parametrize("name", LAST)
def test_last_step_of_every_kind_equals_the_pipeline(tmp_path, name):
    X, y = gappy()
    model = make_pipeline(prepared(), *LAST[name]).fit(X, y)
    assert_same_predictions(save_and_serve(model, X, y, tmp_path), X.head(10))


IMPUTERS = {
    "neighbours": KNNImputer(),
    "iterative": IterativeImputer(),
    "iterative forest": IterativeImputer(DecisionTreeClassifier(max_depth=2), max_iter=2),
    "indicator": SimpleImputer(add_indicator=True),
    "constant": SimpleImputer(strategy="constant", fill_value=-1.0),
}


@pytest.mark.parametrize("name", IMPUTERS)
def test_imputer_equals_the_pipeline(tmp_path, name):
    X, y = gappy()
    imputer = IMPUTERS[name]
    if name == "iterative forest":
        X["age"], X["spend"] = X["age"].round(-1), X["spend"].round(-2)
    model = make_pipeline(prepared(imputer, StandardScaler()), LR()).fit(X, y)
    assert_same_predictions(save_and_serve(model, X, y, tmp_path), X.head(12))


@pytest.mark.parametrize(
    "estimator",
    [
        HistGradientBoostingClassifier(max_iter=3),
        GradientBoostingClassifier(n_estimators=3),
        RandomForestClassifier(3, random_state=0),
        LR(),
        SGDClassifier(loss="log_loss", random_state=0),
    ],
)
def test_three_classes_equal_the_pipeline(tmp_path, estimator):
    X, _ = gappy()
    y = pd.qcut(X["spend"], 3, labels=["low", "middle", "high"]).astype(str)
    model = make_pipeline(prepared(), estimator).fit(X, y)
    assert_same_predictions(save_and_serve(model, X, y, tmp_path), X.head(10))


@pytest.mark.parametrize("output", ["pandas", "polars"])
@pytest.mark.parametrize("last", [LR(), RandomForestClassifier(3, random_state=0)])
def test_transform_output_of_the_notebook_is_kept(tmp_path, output, last):
    X, y = gappy()
    with sklearn.config_context(transform_output=output):
        first = make_column_transformer(
            (SimpleImputer(), ["age", "spend"]),
            remainder="passthrough",
            verbose_feature_names_out=False,
        )
        second = make_column_transformer(
            (OneHotEncoder(sparse_output=False), ["plan"]), (StandardScaler(), ["age", "spend"])
        )
        model = make_pipeline(first, second, last)
        model.fit(X, y)
        expected = own_predictions(model, X.head(8))
        served = save_and_serve(model, X, y, tmp_path)
    assert sklearn.get_config()["transform_output"] == "default"
    assert_same_predictions(served, X.head(8), expected=expected)


def test_memory_of_a_pipeline_is_not_needed_to_predict(tmp_path):
    X, y = gappy()
    with tempfile.TemporaryDirectory() as cache:
        model = make_pipeline(prepared(), LR(), memory=cache).fit(X, y)
        served = save_and_serve(model, X, y, tmp_path)
    assert_same_predictions(served, X.head(5))
    assert not Path(cache).exists()


@pytest.mark.parametrize(
    "search",
    [
        RandomizedSearchCV(
            make_pipeline(prepared(), LR()),
            {"logisticregression__C": scipy.stats.loguniform(0.01, 10)},
            n_iter=2,
            cv=2,
            random_state=0,
        ),
        GridSearchCV(
            make_pipeline(prepared(), LR()),
            {"logisticregression__C": [0.1, 1.0]},
            scoring=make_scorer(share_within),
            cv=2,
        ),
        GridSearchCV(
            make_pipeline(prepared(), RandomForestClassifier(3, random_state=0)),
            {"randomforestclassifier__max_depth": [2, 3]},
            scoring={"a": "accuracy", "b": make_scorer(share_within)},
            refit="b",
            cv=2,
        ),
    ],
    ids=["distribution", "scorer", "several scorers"],
)
def test_search_predicts_as_its_best_estimator(tmp_path, search):
    X, y = gappy()
    assert_same_predictions(save_and_serve(search.fit(X, y), X, y, tmp_path), X.head(8))


NARROW = {
    "constant quantile": (QuantileTransformer(n_quantiles=20), lambda num: num * 0 + 3),
    "narrow quantile": (QuantileTransformer(n_quantiles=20), lambda num: 1e9 + num * 1e-9),
    "normal quantile": (
        QuantileTransformer(n_quantiles=20, output_distribution="normal"),
        lambda num: num * 0 + 3,
    ),
    "constant periodic spline": (
        SplineTransformer(degree=1, n_knots=3, extrapolation="periodic"),
        lambda num: num * 0 + 3,
    ),
    "narrow spline": (SplineTransformer(n_knots=3), lambda num: 1e9 + num * 1e-7),
    "constant scale": (StandardScaler(), lambda num: num * 0 + 3),
    "range": (MinMaxScaler(clip=True), lambda num: num * 0 - 1e300),
}


@pytest.mark.parametrize("name", NARROW)
def test_column_of_one_value_equals_the_pipeline(tmp_path, name):
    step, narrow = NARROW[name]
    X, y = customers()
    num = pd.Series(np.random.default_rng(1).normal(size=len(X)))
    X = pd.DataFrame({"k": narrow(num), "num": num})
    model = make_pipeline(step, LR(max_iter=300)).fit(X, y)
    served = save_and_serve(model, X, y, tmp_path)
    assert_same_predictions(served, X.head(4))
    other = pd.DataFrame({"k": [X["k"].max() + 1.0, 0.0, -1e6], "num": 0.25})
    assert_same_predictions(served, other)


@pytest.mark.parametrize("drop", ["first", "if_binary"])
def test_dropped_first_category_with_a_constant_text_equals_the_pipeline(tmp_path, drop):
    X, y = customers()
    X = X[["plan", "spend"]].assign(only="only")
    step = OneHotEncoder(drop=drop, handle_unknown="ignore")
    columns = make_column_transformer((step, ["only", "plan"]), remainder=StandardScaler())
    model = make_pipeline(columns, LR()).fit(X, y)
    served = save_and_serve(model, X, y, tmp_path)
    assert_same_predictions(served, X.head(5))
    assert_same_predictions(served, X.head(2).assign(only="other", plan=["max", "gold"]))


def test_spline_that_raises_beside_a_column_of_few_values_is_compared(tmp_path):
    X, y = customers()
    X = pd.DataFrame({"k": X["age"] % 4, "num": X["spend"]})
    step = SplineTransformer(n_knots=3, extrapolation="error")
    model = make_pipeline(step, LR(max_iter=500)).fit(X, y)
    served = save_and_serve(model, X, y, tmp_path)
    assert_same_predictions(served, X.head(5))
    assert_same_predictions(served, pd.DataFrame({"k": [1, 9, 1], "num": [20.0, 20.0, -3.0]}))
    manifest = read_manifest(tmp_path / "model.pkl")
    text = attempt(lambda: model_sql(manifest, table="t", dialect="duckdb"))
    assert "SplineTransformer" in text or "scorecard" in text or "SELECT" in text


BATCHES = {
    "mean": (less_the_mean, ["age", "spend"]),
    "ranks": (ranks, ["age", "spend"]),
    "dummies": (dummies, ["plan", "age", "spend"]),
}


@pytest.mark.parametrize("name", BATCHES)
def test_step_that_depends_on_other_rows_is_rejected_by_name(tmp_path, name):
    function, columns = BATCHES[name]
    X, y = customers()
    model = make_pipeline(FunctionTransformer(function), LR(max_iter=500)).fit(X[columns], y)
    with pytest.raises(SlipwayError) as refused:
        slipway.save(model, X[columns], y, tmp_path / "model.pkl")
    assert "functiontransformer" in refused.value.message.lower()
    assert not (tmp_path / "model.pkl").exists()
    text = X[columns].assign(left=y).to_csv(index=False)
    message = rejection_message(model, tmp_path, "--target", "left", data=text)
    assert "functiontransformer" in message.lower()
