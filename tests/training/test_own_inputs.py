"""Custom models: the types of X in the fit and in ``save``."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from custom_steps import CalendarParts, Selected, with_ratio
from own_models import (
    Answer,
    add_and_serve,
    assert_same_predictions,
    customers,
    own_prediction,
    own_predictions,
    save_and_serve,
)
from scipy.sparse import coo_array, csc_matrix, csr_array, csr_matrix
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

ESTIMATORS = [LogisticRegression(), RandomForestClassifier(5, random_state=0)]
both = pytest.mark.parametrize("estimator", ESTIMATORS, ids=["scorecard", "pickle"])


def numbers():
    X, y = customers()
    return X[["age", "spend"]].astype(float), y


def mixed(estimator):
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["plan"]), (StandardScaler(), ["age", "spend"])
    )
    return make_pipeline(columns, estimator)


@both
@pytest.mark.parametrize("convert", [pl.from_pandas, pa.Table.from_pandas, pd.DataFrame])
def test_frame_of_any_library_is_accepted(tmp_path, estimator, convert):
    X, y = customers()
    given = convert(X)
    try:
        model = mixed(estimator).fit(given, y)
    except (TypeError, ValueError, AttributeError):
        model = mixed(estimator).fit(X, y)
    served = save_and_serve(model, given, pl.Series("left", y.to_list()), tmp_path)
    assert served.metadata["signature"]["target"]["name"] == "left"
    expected = own_predictions(model, X.head(8))
    assert_same_predictions(served, X.head(8), expected=expected)


ARRAYS = {
    "array": np.asarray,
    "list": lambda X: X.to_numpy().tolist(),
    "csr": lambda X: csr_matrix(X.to_numpy()),
    "csr array": lambda X: csr_array(X.to_numpy()),
    "csc": lambda X: csc_matrix(X.to_numpy()),
    "coo": lambda X: coo_array(X.to_numpy()),
    "float32": lambda X: X.to_numpy(np.float32),
    "fortran": lambda X: np.asfortranarray(X.to_numpy()),
    "polars": pl.from_pandas,
}


@both
@pytest.mark.parametrize("fitted", ["array", "frame"])
@pytest.mark.parametrize("given", ARRAYS)
def test_rows_without_names_are_accepted_as_in_scikit_learn(tmp_path, estimator, fitted, given):
    X, y = numbers()
    model = make_pipeline(StandardScaler(with_mean=False), estimator)
    rows = ARRAYS[given](X)
    model.fit(X if fitted == "frame" else rows, y)
    served = save_and_serve(model, rows, y, tmp_path)
    names = [feature["name"] for feature in served.metadata["signature"]["features"]]
    assert len(names) == 2
    asked = X.head(8).set_axis(names, axis=1)
    if given == "float32":
        asked = asked.astype(np.float32)
    expected = own_predictions(
        model, asked.set_axis(X.columns, axis=1) if fitted == "frame" else asked.to_numpy()
    )
    assert_same_predictions(served, asked, expected=expected, exact=False)
    assert (set(names) == {"age", "spend"}) == (fitted == "frame" or given == "polars")


@both
def test_array_model_with_a_frame_uses_its_names(tmp_path, estimator):
    X, y = numbers()
    model = make_pipeline(StandardScaler(), estimator).fit(X.to_numpy(), y)
    served = save_and_serve(model, X, y, tmp_path)
    assert_same_predictions(
        served, X.head(8), expected=own_predictions(model, X.head(8).to_numpy())
    )


def test_frame_with_numeric_names_is_accepted(tmp_path):
    X, y = numbers()
    X.columns = range(2)
    for estimator in ESTIMATORS:
        model = make_pipeline(StandardScaler(), estimator).fit(X, y)
        served = save_and_serve(model, X, y, tmp_path)
        assert_same_predictions(
            served,
            X.head(4).set_axis(["0", "1"], axis=1),
            expected=own_predictions(model, X.head(4)),
        )


@pytest.mark.parametrize("road", ["save", "file"])
@pytest.mark.parametrize(
    "first",
    [Selected(("spend", "age")), FunctionTransformer(with_ratio)],
    ids=["step", "function"],
)
def test_first_step_without_names_gets_the_frame(tmp_path, road, first):
    X, y = numbers()
    model = make_pipeline(first, StandardScaler(), LogisticRegression()).fit(X, y)
    if road == "save":
        served = save_and_serve(model, X, y, tmp_path)
    else:
        words = ("--features", "age,spend", "--target", "left")
        served = add_and_serve(model, tmp_path, X.assign(left=y).to_csv(index=False), *words)
    assert_same_predictions(served, X.head(8))


def test_first_step_that_reads_dates_gets_the_frame(tmp_path):
    X, y = customers()
    X["day"] = pd.date_range("2025-01-01", periods=len(X), freq="D").strftime("%Y-%m-%d")
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["plan", "month"]), remainder=StandardScaler()
    )
    model = make_pipeline(CalendarParts(), columns, LogisticRegression(max_iter=500)).fit(X, y)
    served = save_and_serve(model, X, y, tmp_path)
    assert_same_predictions(served, X.head(8))
    assert_same_predictions(served, X.head(2).assign(day=["2031-12-31", "not a day"]))
    text = X.assign(left=y).to_csv(index=False)
    words = ("--features", "plan,age,spend,day", "--target", "left")
    assert_same_predictions(add_and_serve(model, tmp_path, text, *words), X.head(8))


@pytest.mark.parametrize("rows", [True, False], ids=["rows", "no rows"])
def test_dicts_have_one_feature_for_each_key(tmp_path, rows):
    X, y = customers()
    dicts = [{k: v for k, v in row.items() if v != "basic"} for row in X.to_dict("records")]
    model = make_pipeline(DictVectorizer(), LogisticRegression(max_iter=3000)).fit(dicts, y)
    served = (
        save_and_serve(model, dicts, y, tmp_path) if rows else add_and_serve(model, tmp_path, None)
    )
    for record in ({"plan": "max", "age": 40, "spend": 2.5}, {"age": 3, "spend": 1.5}):
        assert served.predict(record) == own_prediction(model, [record])
    # A value that is not in any row counts as absent.
    unseen = {"plan": "gold", "age": 40, "spend": 2.5}
    assert served.predict(unseen) == own_prediction(model, [unseen])


@pytest.mark.parametrize("shape", ["column", "array", "frame", "list", "polars", "text"])
def test_target_of_any_shape_is_accepted(tmp_path, shape):
    X, y = numbers()
    targets = {
        "column": y.to_frame(),
        "array": y.to_numpy(),
        "frame": y.to_frame().to_numpy(),
        "list": y.tolist(),
        "polars": pl.Series("left", y.to_list()),
        "text": y.map({0: "stays", 1: "leaves"}),
    }
    labels = targets["text"] if shape == "text" else y
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, labels)
    served = save_and_serve(model, X, targets[shape], tmp_path)
    (first, *_) = assert_same_predictions(served, X.head(4))
    assert isinstance(first, Answer)
    base_rate = served.metadata["base_rate"]
    assert base_rate == pytest.approx((labels == model.classes_[1]).mean())
