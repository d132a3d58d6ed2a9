"""Custom models: missing values and empty texts in training, JSON, forms and files."""

import io

import numpy as np
import pandas as pd
import pytest
from own_models import (
    add_and_serve,
    assert_same_predictions,
    customers,
    equal,
    own_prediction,
    own_predictions,
    save_and_serve,
)
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

ESTIMATORS = [LogisticRegression(), RandomForestClassifier(5, random_state=0)]
both = pytest.mark.parametrize("estimator", ESTIMATORS, ids=["scorecard", "pickle"])
WORDS = ("NA", "NaN", "nan", "None", "null", "N/A", "#N/A", "NULL", "<NA>", "n/a")


def encoded(estimator, *texts, numbers=("age", "spend")):
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), list(texts)),
        (make_pipeline(SimpleImputer(), StandardScaler()), list(numbers)),
    )
    return make_pipeline(columns, estimator)


@both
@pytest.mark.parametrize("road", ["save", "model add"])
def test_empty_text_imputed_before_the_fit_is_a_category(tmp_path, estimator, road):
    X, y = customers()
    X.loc[::7, "plan"] = ""
    y = y.where(X["plan"] != "", 1)
    model = encoded(estimator, "plan").fit(X, y)
    if road == "save":
        served = save_and_serve(model, X, y, tmp_path)
    else:
        served = add_and_serve(
            model, tmp_path, X.assign(left=y).to_csv(index=False), "--target", "left"
        )
    assert_same_predictions(served, X.head(15))
    assert "" in served.feature("plan")["categories"]


@both
def test_empty_text_beside_missing_values_is_missing_in_files(tmp_path, estimator):
    X, y = customers()
    X.loc[::7, "plan"] = ""
    X.loc[::5, "plan"] = np.nan
    model = encoded(estimator, "plan").fit(X, y)
    served = save_and_serve(model, X, y, tmp_path)
    assert_same_predictions(served, X.head(15), ways=["json", "array"])
    read = X.head(15).replace({"plan": {"": np.nan}})
    assert_same_predictions(served, read, ways=["form", "csv"])


@both
@pytest.mark.parametrize("word", WORDS)
def test_text_for_missing_values_in_a_file_is_missing_as_in_training(tmp_path, estimator, word):
    X, y = customers()
    X["garage"] = np.random.default_rng(1).choice(["attached", word, "carport"], len(X))
    y = y ^ (X["garage"] == word)
    X["spend"] = X["spend"].astype(object)
    X.loc[::11, "spend"] = word
    text = X.assign(left=y).to_csv(index=False)
    read = pd.read_csv(io.StringIO(text))
    target = read.pop("left")
    model = encoded(estimator, "plan", "garage").fit(read, target)
    served = add_and_serve(model, tmp_path, text, "--target", "left")
    assert_same_predictions(served, read.head(24), ways=["json", "array", "form", "csv"])
    assert_same_predictions(served, read.head(24), sent_rows=X.head(24), ways=["form", "csv"])
    assert word in served.metadata["signature"].get("missing", WORDS)


def test_text_for_missing_values_that_is_a_category_stays_a_category(tmp_path):
    X, y = customers()
    X["plan"] = X["plan"].replace({"max": "NA", "plus": "None"})
    model = encoded(LogisticRegression(), "plan").fit(X, y)
    served = save_and_serve(model, X, y, tmp_path)
    assert_same_predictions(served, X.head(15))
    assert served.csv("plan,age,spend\nnan,40,\n") == served.csv("plan,age,spend\n,40,NA\n")


@both
@pytest.mark.parametrize("rows", ["rows", "no rows"])
def test_missing_value_not_in_training_is_predicted_with_a_warning(tmp_path, estimator, rows):
    X, y = customers()
    texts = make_pipeline(
        SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")
    )
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    columns = make_column_transformer((texts, ["plan"]), (numbers, ["age", "spend"]))
    model = make_pipeline(columns, estimator).fit(X, y)
    gaps = X.head(6).astype({"age": float})
    gaps.loc[0, "plan"] = np.nan
    gaps.loc[1, "age"] = gaps.loc[2, "spend"] = np.nan
    served = (
        save_and_serve(model, X, y, tmp_path)
        if rows == "rows"
        else add_and_serve(model, tmp_path, None)
    )
    expected = assert_same_predictions(served, gaps)
    assert not any(isinstance(outcome, str) for outcome in expected)
    answer = served.client.post("/predict", json={"plan": "max", "age": None, "spend": 2.5}).json
    message = [w["field"] for w in answer.get("warnings", []) if w["code"] == "missing_value"]
    assert message == ["age"] * (rows == "rows")


def test_missing_value_of_boosting_without_missing_in_training_is_predicted(tmp_path):
    X, y = customers()
    X = X[["age", "spend"]]
    model = HistGradientBoostingClassifier(max_iter=5).fit(X, y)
    served = save_and_serve(model, X, y, tmp_path)
    gaps = X.head(4).astype(float)
    gaps.iloc[0, 0] = gaps.iloc[1, 1] = np.nan
    assert_same_predictions(served, gaps)


def test_missing_value_that_raises_makes_the_feature_required_with_a_reason(tmp_path):
    X, y = customers()
    columns = make_column_transformer((StandardScaler(), ["spend"]), remainder="drop")
    model = make_pipeline(columns, LogisticRegression()).fit(X, y)
    served = save_and_serve(model, X, y, tmp_path)
    gap = X.head(2).assign(spend=[np.nan, 3.0])
    (first, _) = assert_same_predictions(served, gap)
    assert isinstance(first, str)
    assert served.feature("spend")["reasons"]["required"]


@both
@pytest.mark.parametrize("fill", [None, np.nan], ids=["None", "NaN"])
def test_missing_text_imputed_by_the_most_frequent_equals_the_pipeline(tmp_path, estimator, fill):
    _, y = customers()
    texts = pd.Series([fill, "y", "x", fill] * 60, dtype=object)
    X = pd.DataFrame({"c": texts, "num": np.random.default_rng(0).normal(size=240)})
    step = make_pipeline(
        SimpleImputer(strategy="most_frequent", missing_values=fill),
        OneHotEncoder(handle_unknown="ignore"),
    )
    columns = make_column_transformer((step, ["c"]), remainder="passthrough")
    model = make_pipeline(columns, estimator).fit(X, y)
    served = save_and_serve(model, X, y, tmp_path)
    assert_same_predictions(served, X.head(6))
    new = X.head(2).assign(c=pd.Series(["new", fill], dtype=object))
    assert_same_predictions(served, new)


@both
def test_missing_none_as_the_most_frequent_text_is_predicted(tmp_path, estimator):
    _, y = customers()
    X = pd.DataFrame({"c": pd.Series([None, None, "x"] * 80, dtype=object), "num": range(240)})
    step = make_pipeline(
        SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")
    )
    columns = make_column_transformer((step, ["c"]), remainder=StandardScaler())
    model = make_pipeline(columns, estimator).fit(X, y)
    assert_same_predictions(save_and_serve(model, X, y, tmp_path), X.head(6))


@both
def test_missing_indicator_of_texts_equals_the_pipeline(tmp_path, estimator):
    X, y = customers()
    X = X.assign(plan=X["plan"].mask(X["spend"] > 100))
    step = make_pipeline(
        SimpleImputer(strategy="most_frequent", add_indicator=True),
        OneHotEncoder(handle_unknown="ignore"),
    )
    columns = make_column_transformer((step, ["plan"]), (StandardScaler(), ["age", "spend"]))
    model = make_pipeline(columns, estimator).fit(X, y)
    served = save_and_serve(model, X, y, tmp_path)
    assert_same_predictions(served, X.head(12))
    assert_same_predictions(served, X.head(3).assign(plan=["new", np.nan, "max"]))


@both
@pytest.mark.parametrize("strength", [1.0, 1e-7], ids=["strong", "weak"])
def test_flag_with_missing_values_of_read_csv_keeps_them(tmp_path, estimator, strength):
    X, y = customers()
    flags = np.random.default_rng(2).choice(np.array([True, False, np.nan], dtype=object), len(X))
    X = X[["spend"]].assign(f=flags)
    if isinstance(estimator, LogisticRegression):
        estimator = LogisticRegression(C=strength)
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["f"]), remainder="passthrough"
    )
    model = make_pipeline(columns, estimator).fit(X, y)
    served = save_and_serve(model, X, y, tmp_path)
    expected = assert_same_predictions(served, X.head(12))
    assert not any(isinstance(outcome, str) for outcome in expected)


@pytest.mark.parametrize("dtype", ["boolean", "Int64", "Float64", "string"])
@pytest.mark.parametrize("gaps", [True, False], ids=["gaps", "complete"])
def test_nullable_pandas_column_equals_the_pipeline(tmp_path, dtype, gaps):
    X, y = customers()
    draw = np.random.default_rng(3)
    result = {
        "boolean": draw.choice([True, False], len(X)),
        "Int64": draw.integers(0, 5, len(X)),
        "Float64": draw.normal(size=len(X)),
        "string": draw.choice(["a", "b"], len(X)),
    }
    column = pd.Series(result[dtype], dtype=dtype)
    X = X[["spend"]].assign(c=column.mask(draw.random(len(X)) < 0.2) if gaps else column)
    numeric = make_pipeline(SimpleImputer(), StandardScaler())
    step = OneHotEncoder(handle_unknown="ignore") if dtype == "string" else numeric
    if dtype == "string" and gaps:
        # scikit-learn raises for pandas.NA among texts.
        X["c"] = X["c"].astype(object).where(X["c"].notna(), np.nan)
    columns = make_column_transformer((step, ["c"]), remainder="passthrough")
    model = make_pipeline(columns, LogisticRegression(max_iter=500)).fit(X, y)
    expected = assert_same_predictions(save_and_serve(model, X, y, tmp_path), X.head(12))
    assert not any(isinstance(outcome, str) for outcome in expected)


def test_number_that_becomes_missing_is_predicted_as_by_the_pipeline(tmp_path):
    _, y = customers()
    X = pd.DataFrame({"num": np.abs(np.random.default_rng(1).normal(size=240))})
    steps = (FunctionTransformer(np.log1p), SimpleImputer(), LogisticRegression())
    model = make_pipeline(*steps).fit(X, y)
    served = save_and_serve(model, X, y, tmp_path)
    expected = assert_same_predictions(
        served, pd.DataFrame({"num": [0.5, -0.5, -2.0, np.nan, -1e9]})
    )
    assert not isinstance(expected[2], str)
    model = make_pipeline(SimpleImputer(), LogisticRegression()).fit(X, y)
    assert_same_predictions(
        save_and_serve(model, X, y, tmp_path), pd.DataFrame({"num": [0.5, np.nan]})
    )


def test_column_of_only_missing_values_is_predicted_as_by_the_pipeline(tmp_path):
    X, y = customers()
    X = X[["age", "spend"]].assign(nothing=np.nan)
    model = DecisionTreeClassifier(max_depth=4, random_state=0).fit(X, y)
    served = save_and_serve(model, X, y, tmp_path)
    assert_same_predictions(served, X.head(4))
    assert_same_predictions(served, X.head(2).assign(nothing=[1.0, -3.5]))
    without = {"age": 40, "spend": 12.5}
    assert equal(
        served.predict(without),
        own_prediction(model, pd.DataFrame([without | {"nothing": np.nan}])),
    )
    assert own_predictions(model, X.head(1)) == served.json(
        [{"age": int(X.age[0]), "spend": X.spend[0]}]
    )
