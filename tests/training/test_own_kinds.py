"""Custom models: a feature accepts what the pipeline predicts, not only training values."""

import numpy as np
import pandas as pd
import pytest
from own_models import (
    add_and_serve,
    assert_same_predictions,
    customers,
    equal,
    own_prediction,
    save_and_serve,
)
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.naive_bayes import MultinomialNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    QuantileTransformer,
    SplineTransformer,
    StandardScaler,
)

ESTIMATORS = [LogisticRegression(max_iter=500), RandomForestClassifier(5, random_state=0)]
both = pytest.mark.parametrize("estimator", ESTIMATORS, ids=["scorecard", "pickle"])


def counted():
    X, y = customers()
    return X.assign(visits=(X["spend"] // 10).astype("int32")), y


@both
@pytest.mark.parametrize("rows", ["rows", "no rows", "file"])
def test_fraction_in_an_integer_column_is_predicted(tmp_path, estimator, rows):
    X, y = counted()
    columns = make_column_transformer((OneHotEncoder(), ["plan"]), remainder=StandardScaler())
    model = make_pipeline(columns, estimator).fit(X, y)
    if rows == "rows":
        served = save_and_serve(model, X, y, tmp_path)
    else:
        text = X.assign(left=y).to_csv(index=False) if rows == "file" else None
        served = add_and_serve(model, tmp_path, text, *(("--target", "left") if text else ()))
    assert_same_predictions(served, X.head(8))
    halves = X.head(8).assign(age=X["age"].head(8) + 0.5, visits=np.arange(8) / 3 - 1)
    assert_same_predictions(served, halves)
    answer = served.client.post(
        "/predict", json={"plan": "max", "age": 40.5, "spend": 3, "visits": 1}
    )
    message = [warning["code"] for warning in answer.json.get("warnings", [])]
    assert ("not_whole" in message) == (rows != "no rows")


@both
def test_integers_of_an_encoder_follow_the_encoder(tmp_path, estimator):
    X, y = counted()
    X["visits"] = X["visits"] % 5
    encoder = OneHotEncoder(handle_unknown="ignore")
    columns = make_column_transformer((encoder, ["visits"]), remainder="drop")
    model = make_pipeline(columns, estimator).fit(X, y)
    served = save_and_serve(model, X, y, tmp_path)
    odd = pd.DataFrame({"visits": [1.0, 1.5, -3.0, 1e9]})
    assert_same_predictions(served, odd)
    strict = make_column_transformer((OneHotEncoder(), ["visits"]), remainder="drop")
    model = make_pipeline(strict, estimator).fit(X, y)
    expected = assert_same_predictions(save_and_serve(model, X, y, tmp_path), odd)
    assert [isinstance(outcome, str) for outcome in expected] == [False, True, True, True]


STEPS = {
    "scale": StandardScaler(),
    "bins": KBinsDiscretizer(3, encode="ordinal", quantile_method="averaged_inverted_cdf"),
    "quantiles": QuantileTransformer(n_quantiles=20),
    "power": PowerTransformer(),
    "spline": SplineTransformer(n_knots=4),
    "spline that raises": SplineTransformer(n_knots=4, extrapolation="error"),
    "root": FunctionTransformer(np.sqrt),
    "logarithm": FunctionTransformer(np.log1p),
    "codes": OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
}
NUMBERS = (0.0, -0.0, -1.0, 1e-320, 17.25, 1e6, -1e6, 1e15, 1e300, -1e300, np.nan)


@both
@pytest.mark.parametrize("name", STEPS)
def test_numbers_far_from_training_are_predicted_as_by_the_pipeline(tmp_path, estimator, name):
    X, y = customers()
    X = X[["age", "spend"]]
    columns = make_column_transformer((STEPS[name], ["age", "spend"]))
    model = make_pipeline(columns, estimator).fit(X, y)
    served = save_and_serve(model, X, y, tmp_path)
    spend = pd.DataFrame({"age": 40.0, "spend": NUMBERS})
    age = pd.DataFrame({"age": NUMBERS, "spend": 20.0})
    assert_same_predictions(served, pd.concat([spend, age], ignore_index=True))


@pytest.mark.parametrize(
    "estimator",
    [MultinomialNB(), KNeighborsClassifier(3), HistGradientBoostingClassifier(max_iter=3)],
)
def test_negative_numbers_follow_the_estimator(tmp_path, estimator):
    X, y = customers()
    X = X[["age", "spend"]]
    served = save_and_serve(estimator.fit(X, y), X, y, tmp_path)
    assert_same_predictions(served, pd.DataFrame({"age": [-3, 20], "spend": [1.0, -20.0]}))


def test_regression_that_overflows_is_rejected_as_by_the_pipeline(tmp_path):
    X, _ = customers()
    X = X[["age", "spend"]]
    model = make_pipeline(StandardScaler(), PoissonRegressor()).fit(X, X["spend"])
    served = save_and_serve(model, X, X["spend"], tmp_path)
    assert_same_predictions(
        served, pd.DataFrame({"age": [40.0, 40.0, 1e5], "spend": [10.0, 1e9, 1e9]})
    )
    model = Ridge().fit(X, X["spend"])
    assert_same_predictions(
        save_and_serve(model, X, None, tmp_path), pd.DataFrame({"age": [1e308], "spend": [-1e308]})
    )


@both
def test_flag_column_accepts_the_values_of_the_pipeline(tmp_path, estimator):
    X, y = customers()
    X = X[["spend"]].assign(vip=X["plan"] == "max")
    columns = make_column_transformer((OneHotEncoder(), ["vip"]), remainder="passthrough")
    model = make_pipeline(columns, estimator).fit(X, y)
    served = save_and_serve(model, X, y, tmp_path)
    assert_same_predictions(served, X.head(8))
    gap = X.head(1).assign(vip=pd.Series([None], dtype=object))
    assert_same_predictions(served, gap)
    right = own_prediction(model, pd.DataFrame({"spend": [2.5], "vip": [True]}))
    answers = served.csv("spend,vip\n2.5,TRUE\n2.5,True\n2.5,true\n2.5, true\n")
    assert len(answers) == 4
    assert all(equal(answer, right) for answer in answers)


def test_number_on_an_edge_is_predicted_as_by_the_pipeline(tmp_path):
    X, y = customers()
    bins = KBinsDiscretizer(4, encode="onehot", quantile_method="averaged_inverted_cdf")
    model = make_pipeline(bins, LogisticRegression()).fit(X[["age", "spend"]], y)
    served = save_and_serve(model, X[["age", "spend"]], y, tmp_path)
    edges = bins.bin_edges_[1]
    near = np.concatenate([edges, np.nextafter(edges, -np.inf), np.nextafter(edges, np.inf)])
    assert_same_predictions(served, pd.DataFrame({"age": 40, "spend": near}))
