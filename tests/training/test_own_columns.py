"""Custom models: the columns of a file that are features, and those that the model reads."""

import numpy as np
import pandas as pd
import pytest
from own_models import (
    Served,
    add_and_serve,
    assert_same_predictions,
    customers,
    model_add,
    own_predictions,
    records_of,
    rejection_message,
    save_and_serve,
    serve,
)
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from slipway.compiler.sql import model_sql
from slipway.models.manifest import read_manifest


@pytest.fixture(scope="module")
def numbers():
    X, y = customers()
    return X[["age", "spend"]], y


@pytest.fixture(scope="module")
def on_array(numbers):
    X, y = numbers
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(X.to_numpy(), y)


def file_of(X, y, *order, **written):
    return X.assign(left=y, id=range(len(X)))[list(order)].to_csv(**({"index": False} | written))


@pytest.mark.parametrize(
    ("order", "target"),
    [(("left", "age", "spend"), "left"), (("age", "left", "spend"), "left")],
    ids=["first", "between"],
)
def test_model_add_array_model_with_target_uses_the_other_columns(
    tmp_path, numbers, on_array, order, target
):
    X, y = numbers
    served = add_and_serve(on_array, tmp_path, file_of(X, y, *order), "--target", target)
    expected = own_predictions(on_array, X.head(12).to_numpy())
    assert_same_predictions(served, X.head(12), expected=expected)
    file = X.head(12).assign(left=y)[list(order)]
    assert len(served.csv(file.to_csv(index=False))) == 12


@pytest.mark.parametrize(
    "order",
    [("id", "age", "spend"), ("id", "age", "spend", "left")],
    ids=["no target", "an id too many"],
)
def test_model_add_array_model_with_ambiguous_columns_fails(tmp_path, numbers, on_array, order):
    X, y = numbers
    message = rejection_message(on_array, tmp_path, data=file_of(X, y, *order))
    assert "--features" in message
    assert all(name in message for name in order)


@pytest.mark.parametrize("order", [("left", "age", "spend"), ("age", "spend", "left")])
def test_model_add_array_model_without_target_never_uses_it_as_a_feature(
    tmp_path, numbers, on_array, order
):
    X, y = numbers
    done = model_add(on_array, tmp_path, data=file_of(X, y, *order))
    if done.exit_code == 0:
        assert read_manifest(tmp_path / "added.pkl").signature.names == ("age", "spend")
    else:
        assert "--target" in done.output


def test_model_add_array_model_with_features_uses_them(tmp_path, numbers, on_array):
    X, y = numbers
    words = ("--features", "age,spend", "--target", "left", "--drop", "id")
    served = add_and_serve(on_array, tmp_path, file_of(X, y, "id", "left", "spend", "age"), *words)
    assert_same_predictions(
        served, X.head(12), expected=own_predictions(on_array, X.head(12).to_numpy())
    )


def test_model_add_index_column_of_to_csv_is_dropped_with_a_note(tmp_path, numbers, on_array):
    X, y = numbers
    done = model_add(on_array, tmp_path, data=file_of(X, y, "age", "spend", "left", index=True))
    assert "Unnamed: 0" in done.output
    if done.exit_code == 0:
        served = Served(on_array, serve(tmp_path / "added.pkl"))
        assert_same_predictions(
            served, X.head(8), expected=own_predictions(on_array, X.head(8).to_numpy())
        )
    else:
        assert "--features age,spend" in done.output


def test_model_add_accuracy_no_better_than_the_base_rate_warns(tmp_path, numbers, on_array):
    X, y = numbers
    swapped = X.assign(left=y)[["spend", "age", "left"]].to_csv(index=False)
    words = ("--features", "spend,age", "--target", "left")
    failing = model_add(on_array, tmp_path, *words, data=swapped)
    right = model_add(on_array, tmp_path, "--features", "age,spend", *words[2:], data=swapped)
    assert failing.exit_code == right.exit_code == 0
    warning = "check the columns and the target"
    assert warning in failing.output
    assert warning not in right.output


@pytest.mark.parametrize("index", [True, False], ids=["index", "no index"])
def test_model_add_model_with_names_ignores_other_columns(tmp_path, index):
    X, y = customers()
    columns = make_column_transformer(
        (OneHotEncoder(), ["plan"]), (StandardScaler(), ["age", "spend"])
    )
    model = make_pipeline(columns, LogisticRegression()).fit(X, y)
    file = X.assign(left=y, customer=range(len(X))).to_csv(index=index)
    served = add_and_serve(model, tmp_path, file, "--target", "left")
    assert_same_predictions(served, X.head(8))
    assert served.metadata["signature"]["target"]["name"] == "left"
    assert served.metadata["base_rate"] == pytest.approx(y.mean())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: text.replace("left", "age", 1), "age"),
        (lambda text: text.replace("age", "years", 1), "age"),
        (lambda text: text.upper(), "age"),
        (lambda text: text.splitlines()[0] + "\n", "row"),
        (lambda text: "", "rows.csv"),
    ],
    ids=["column twice", "column missing", "capitals", "header only", "empty"],
)
def test_model_add_unsuitable_file_fails_with_one_line(tmp_path, change, reason):
    X, y = customers()
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X[["age", "spend"]], y)
    text = X[["age", "spend"]].assign(left=y).to_csv(index=False)
    message = rejection_message(model, tmp_path, data=change(text))
    assert reason in message
    assert message.count("\n") <= 3


def wide_rows():
    X, y = customers()
    account = [f"acc-{i:05d}" for i in range(len(X))]
    remark = [f"remark {i} " + "x" * (i % 7 * 60) for i in range(len(X))]
    joined = pd.date_range("2024-01-01", periods=len(X), freq="D")
    return X.assign(account=account, remark=remark, joined=joined, score=np.inf), y


def reading(estimator, **named):
    columns = [
        ("plan", OneHotEncoder(handle_unknown="ignore"), ["plan"]),
        ("numbers", StandardScaler(), ["age", "spend"]),
    ]
    return make_pipeline(ColumnTransformer(columns, **named), estimator)


@pytest.mark.parametrize(
    "estimator",
    [LogisticRegression(), RandomForestClassifier(5, random_state=0)],
    ids=["scorecard", "pickle"],
)
def test_unused_columns_are_not_required_checked_or_published(tmp_path, estimator):
    X, y = wide_rows()
    model = reading(estimator).fit(X, y)
    served = save_and_serve(model, X, y, tmp_path)
    names = [feature["name"] for feature in served.metadata["signature"]["features"]]
    assert names == ["plan", "age", "spend"]
    assert "acc-0" not in served.client.get("/metadata").text
    assert_same_predictions(served, X.head(8), sent_rows=X.head(8)[names])
    assert_same_predictions(served, X.head(8))
    record = {"plan": "max", "age": 33, "spend": 120.5}
    right = served.predict(record)
    assert right == served.predict(
        record | {"account": ["any", {"thing": 1}], "remark": "y" * 100_000}
    )
    assert right == served.predict(record | {"joined": "no date", "score": None, "account": True})
    assert "unknown" in served.client.post("/predict", json=record | {"nobody": 1}).text.lower()


def test_unused_columns_in_files_and_sql_are_ignored(tmp_path):
    X, y = customers()
    X = X.assign(name=[f"n{i}" for i in range(len(X))])
    model = reading(LogisticRegression()).fit(X, y)
    served = save_and_serve(model, X, y, tmp_path)
    assert_same_predictions(served, X.head(5), ways=["csv"])
    text = model_sql(read_manifest(tmp_path / "model.pkl"), table="t", dialect="duckdb")
    assert "name" not in text
    again = add_and_serve(model, tmp_path, X.assign(left=y).to_csv(index=False), "--target", "left")
    assert_same_predictions(again, X.head(5), sent_rows=X.head(5)[["plan", "age", "spend"]])


def test_unused_columns_without_rows_are_omitted(tmp_path):
    X, y = wide_rows()
    model = reading(LogisticRegression()).fit(X, y)
    served = add_and_serve(model, tmp_path, None)
    assert_same_predictions(served, X.head(5), sent_rows=X.head(5)[["plan", "age", "spend"]])


def test_remainder_passthrough_reads_every_column(tmp_path):
    X, y = customers()
    X = X.assign(visits=X["spend"] // 10)
    model = reading(LogisticRegression(max_iter=500), remainder="passthrough").fit(X, y)
    served = save_and_serve(model, X, y, tmp_path)
    assert_same_predictions(served, X.head(8))
    assert isinstance(served.predict({"plan": "max", "age": 3, "spend": 2.0}), str)
    assert len(records_of(X)[0]) == len(served.metadata["signature"]["features"])
