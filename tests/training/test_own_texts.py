"""Custom models: free texts and dates."""

import numpy as np
import pandas as pd
import pytest
from custom_steps import CalendarParts, euros, month_of
from own_models import (
    add_and_serve,
    assert_same_predictions,
    customers,
    own_prediction,
    save_and_serve,
)
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

WORDS = ["parcel", "late", "broken", "great", "refund", "angry", "happy", "box", "quick"]


@pytest.fixture(scope="module")
def tickets():
    draw = np.random.default_rng(0)
    texts = [" ".join(draw.choice(WORDS, draw.integers(4, 12))) for _ in range(200)]
    text = pd.Series([f"{words} ticket {i}" for i, words in enumerate(texts)], name="text")
    kinds = np.where(text.str.contains("angry|refund|broken"), "complaint", "other")
    return text, pd.Series(kinds, name="kind")


NEW = ["I am angry, the box came broken and late", "", "größer 😀\n\ttwo lines", "the " * 2_000]


@pytest.mark.parametrize("rows", ["series", "list", "file", "none"])
@pytest.mark.parametrize("vectorizer", [TfidfVectorizer(), HashingVectorizer(n_features=64)])
def test_texts_alone_are_one_feature_that_accepts_any_text(tmp_path, tickets, rows, vectorizer):
    text, y = tickets
    model = make_pipeline(vectorizer, LogisticRegression()).fit(text, y)
    if rows in ("series", "list"):
        served = save_and_serve(model, text if rows == "series" else text.tolist(), y, tmp_path)
    else:
        file = pd.DataFrame({"text": text, "kind": y}).to_csv(index=False)
        words = ("--target", "kind") if rows == "file" else ()
        served = add_and_serve(model, tmp_path, file if words else None, *words)
    (feature,) = served.metadata["signature"]["features"]
    assert feature["kind"] == "text"
    assert not feature.get("categories")
    name = feature["name"]
    asked = pd.DataFrame({name: [*text.head(3), *NEW]})
    expected = [own_prediction(model, [row]) for row in asked[name]]
    assert_same_predictions(served, asked, expected=expected, ways=["json", "array"])
    # An empty field or cell is a missing value, for which the pipeline raises.
    filled = asked.drop(index=4)
    assert_same_predictions(
        served, filled, expected=[*expected[:4], *expected[5:]], ways=["form", "csv"]
    )
    (empty,) = served.form([{name: ""}])
    assert isinstance(empty, str)
    assert "ticket 7" not in served.client.get("/metadata").text
    assert "<textarea" in served.client.get("/").text


def test_text_column_beside_others_accepts_any_text(tmp_path, tickets):
    text, y = tickets
    X = pd.DataFrame({"text": text, "length": text.str.len()})
    columns = make_column_transformer((TfidfVectorizer(), "text"), (StandardScaler(), ["length"]))
    model = make_pipeline(columns, LogisticRegression()).fit(X, y)
    served = save_and_serve(model, X, y, tmp_path)
    assert_same_predictions(served, X.head(4))
    new = pd.DataFrame({"text": NEW, "length": [len(text) for text in NEW]})
    assert_same_predictions(served, new, ways=["json", "array"])
    assert_same_predictions(served, new.drop(index=1), ways=["form", "csv"])
    assert served.feature("text")["kind"] == "text"
    answer = served.client.post("/predict", json={"text": "never seen", "length": 40}).json
    assert not answer.get("warnings")
    assert "ticket 7" not in served.client.get("/metadata").text


def test_long_text_is_predicted_up_to_the_limit(tmp_path, tickets):
    text, y = tickets
    X = pd.DataFrame({"text": [f"{'word ' * 60}{word}" for word in text], "n": range(len(text))})
    columns = make_column_transformer((TfidfVectorizer(), "text"), (StandardScaler(), ["n"]))
    model = make_pipeline(columns, LogisticRegression()).fit(X, y)
    served = save_and_serve(model, X, y, tmp_path)
    assert_same_predictions(served, X.head(3))
    long = pd.DataFrame({"text": ["a b " * 16_384], "n": [1]})
    assert_same_predictions(served, long)
    refused = served.client.post("/predict", json={"text": "a b " * 16_384 + "c", "n": 1})
    assert (refused.status_code, refused.json["errors"][0]["code"]) == (422, "too_long")


@pytest.mark.parametrize("length", [300, 5_000])
def test_long_category_is_a_category(tmp_path, length):
    X, y = customers()
    X["plan"] = X["plan"].map(lambda plan: plan + "x" * length)
    columns = make_column_transformer((OneHotEncoder(), ["plan"]), remainder="passthrough")
    model = make_pipeline(columns, LogisticRegression(max_iter=500)).fit(X, y)
    assert_same_predictions(save_and_serve(model, X, y, tmp_path), X.head(4))


def dated(days):
    X, _ = customers()
    X["day"] = days
    month = pd.to_datetime(X["day"]).dt.month
    return X, pd.Series((month < 6).astype(int), name="left")


def by_month(X, y):
    step = make_pipeline(FunctionTransformer(month_of), OneHotEncoder(handle_unknown="ignore"))
    columns = make_column_transformer(
        (step, ["day"]), (OneHotEncoder(), ["plan"]), (StandardScaler(), ["age", "spend"])
    )
    return make_pipeline(columns, LogisticRegression()).fit(X, y)


DAYS = pd.date_range("2025-01-01", periods=240, freq="D")


def test_dates_as_texts_accept_days_not_in_training(tmp_path):
    X, y = dated(DAYS.strftime("%Y-%m-%d"))
    model = by_month(X, y)
    served = save_and_serve(model, X, y, tmp_path)
    later = X.head(8).assign(day=pd.date_range("2027-03-01", periods=8).strftime("%Y-%m-%d"))
    assert_same_predictions(served, later)
    odd = X.head(3).assign(day=["2027-02-30", "yesterday", "March 3, 2027"])
    expected = assert_same_predictions(served, odd)
    assert [isinstance(outcome, str) for outcome in expected] == [True, True, False]


@pytest.mark.parametrize(
    "moments",
    [
        DAYS,
        DAYS + pd.Timedelta("3h 4m 5.678901s"),
        DAYS.tz_localize("UTC"),
        DAYS.tz_localize("Europe/Berlin"),
        DAYS.astype("datetime64[s]"),
        pd.Series(DAYS.date, dtype=object),
    ],
    ids=["days", "moments", "utc", "berlin", "seconds", "dates"],
)
@pytest.mark.parametrize("own_step", [False, True], ids=["function", "step"])
def test_dates_and_times_keep_their_type_and_zone(tmp_path, moments, own_step):
    X, y = dated(moments)
    if own_step:
        columns = make_column_transformer((OneHotEncoder(), ["plan"]), remainder=StandardScaler())
        model = make_pipeline(CalendarParts(), columns, LogisticRegression()).fit(X, y)
    else:
        model = by_month(X, y)
    served = save_and_serve(model, X, y, tmp_path)
    expected = assert_same_predictions(served, X.iloc[::40])
    assert not any(isinstance(outcome, str) for outcome in expected)
    assert served.feature("day")["kind"] == "datetime"
    record = {"plan": "max", "age": 40, "spend": 3.5, "day": "no day"}
    assert isinstance(served.predict(record), str)


def test_missing_date_equals_the_pipeline(tmp_path):
    X, y = dated(DAYS)
    X.loc[::9, "day"] = pd.NaT
    served = save_and_serve(by_month(X, y), X, y, tmp_path)
    assert_same_predictions(served, X.head(12))


def test_dates_parsed_in_the_notebook_are_dates_in_a_file(tmp_path):
    X, y = dated(DAYS)
    model = by_month(X, y)
    served = add_and_serve(
        model, tmp_path, X.assign(left=y).to_csv(index=False), "--target", "left"
    )
    assert_same_predictions(served, X.head(12))


def test_texts_read_by_a_function_are_not_categories(tmp_path):
    X, y = customers()
    X["spend"] = X["spend"].map(lambda value: f"EUR {value}")
    step = make_pipeline(FunctionTransformer(euros), StandardScaler())
    columns = make_column_transformer((step, ["spend"]), (OneHotEncoder(), ["plan"]))
    model = make_pipeline(columns, LogisticRegression()).fit(X, y)
    served = save_and_serve(model, X, y, tmp_path)
    new = X.head(3).assign(spend=["EUR 123456.75", "free", ""])
    expected = assert_same_predictions(served, new, ways=["json", "array"])
    assert [isinstance(outcome, str) for outcome in expected] == [False, True, True]
    assert served.feature("spend")["kind"] == "text"


def test_text_column_with_texts_for_missing_values_is_saved(tmp_path):
    X, y = customers()
    X["note"] = np.resize(["", "NA", "good day", "bad night", "null"], len(X))
    columns = make_column_transformer(
        (TfidfVectorizer(), "note"), (StandardScaler(), ["age", "spend"])
    )
    model = make_pipeline(columns, LogisticRegression()).fit(X, y)
    served = save_and_serve(model, X, y, tmp_path)
    expected = assert_same_predictions(served, X.head(10), ways=["json", "array"])
    assert not any(isinstance(outcome, str) for outcome in expected)
