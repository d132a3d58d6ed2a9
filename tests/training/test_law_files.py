"""The law for files: pandas steps before the fit, then ``flask model add --data``."""

import io
import tempfile
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from custom_steps import month_of
from hypothesis import HealthCheck, example, given, note, settings
from hypothesis import strategies as st
from hypothesis_profiles import examples
from own_models import (
    Served,
    assert_same_predictions,
    csv_rows,
    equal,
    model_add,
    own_predictions,
    rejection_message,
    row_outcome,
    serve,
)
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
)

ROWS = 80
law = settings(
    max_examples=examples(12, 100), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


class Habits(NamedTuple):
    """The user's steps between the file and the fit."""

    seed: int
    written: str  # the text for a missing value in the file
    separator: str
    target_place: int
    index: bool
    identifier: bool
    filled: str  # the replacement of missing texts before the fit
    text_codes: bool  # whether codes are read as texts
    category: bool  # whether texts become a pandas category
    dates: str
    labels: str
    encoder: str
    numbers: str
    last: str


habits = st.builds(
    Habits,
    seed=st.integers(0, 2**16),
    written=st.sampled_from(["", "", "NA", "nan", "null", "N/A"]),
    separator=st.sampled_from([",", ",", ",", ";"]),
    target_place=st.integers(0, 3),
    index=st.booleans(),
    identifier=st.booleans(),
    filled=st.sampled_from(["no", "empty", "word", "imputer"]),
    text_codes=st.booleans(),
    category=st.booleans(),
    dates=st.sampled_from(["none", "texts", "parsed"]),
    labels=st.sampled_from(["0/1", "yes/no", "True/False", "three"]),
    encoder=st.sampled_from(["one-hot", "codes"]),
    numbers=st.sampled_from(["scale", "range", "as they are"]),
    last=st.sampled_from(["logistic", "forest"]),
)


def raw_frame(given: Habits) -> pd.DataFrame:
    """Return the frame that is written to the file."""
    draw = np.random.default_rng(given.seed)
    texts = draw.choice(np.array(["basic", "a, b", 'q"x', "größer"], dtype=object), ROWS)
    X = pd.DataFrame(
        {
            "plan": np.where(draw.random(ROWS) < 0.2, None, texts),
            "code": draw.choice(["01", "02", "10", "7"], ROWS),
            "age": draw.integers(18, 80, ROWS),
            "spend": np.where(draw.random(ROWS) < 0.2, np.nan, draw.gamma(2, 40, ROWS).round(2)),
            "vip": draw.random(ROWS) < 0.3,
        }
    )
    if given.dates != "none":
        X["day"] = pd.date_range("2025-01-01", periods=ROWS, freq="4D").strftime("%Y-%m-%d")
    if given.identifier:
        X.insert(0, "customer", [f"c{i}" for i in range(ROWS)])
    classes = {
        "0/1": [0, 1],
        "yes/no": ["yes", "no"],
        "True/False": [True, False],
        "three": ["lo", "mid", "hi"],
    }
    labels = draw.choice(np.array(classes[given.labels]), ROWS)
    X.insert(min(given.target_place, X.shape[1]), "left", labels)
    return X


def file_text(given: Habits, raw: pd.DataFrame) -> str:
    """Write the file."""
    if given.filled == "empty":
        # Only an empty cell represents the empty text.
        return raw.to_csv(index=given.index, sep=given.separator)
    return raw.to_csv(index=given.index, sep=given.separator, na_rep=given.written)


def read_back(given: Habits, text: str) -> pd.DataFrame:
    """Read the file, and apply the steps before the fit."""
    X = pd.read_csv(
        io.StringIO(text),
        sep=given.separator,
        index_col=0 if given.index else None,
        dtype={"code": str} if given.text_codes else None,
        parse_dates=["day"] if given.dates == "parsed" else None,
    )
    if given.filled in ("empty", "word"):
        X["plan"] = X["plan"].fillna("" if given.filled == "empty" else "none")
    if given.category:
        X["plan"] = X["plan"].astype("category")
    return X


def model_of(given: Habits):
    """Build the pipeline."""
    encoder = {
        "one-hot": OneHotEncoder(handle_unknown="ignore"),
        "codes": OrdinalEncoder(
            handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2
        ),
    }[given.encoder]
    texts = [SimpleImputer(strategy="most_frequent")] if given.filled == "imputer" else []
    scale = {"scale": [StandardScaler()], "range": [MinMaxScaler()], "as they are": []}
    steps = [
        (make_pipeline(*texts, encoder), ["plan"]),
        (encoder, ["code"]),
        (make_pipeline(SimpleImputer(), *scale[given.numbers]), ["age", "spend"]),
        ("passthrough", ["vip"]),
    ]
    if given.dates != "none":
        months = make_pipeline(
            FunctionTransformer(month_of), OneHotEncoder(handle_unknown="ignore")
        )
        steps.append((months, ["day"]))
    last = {
        "logistic": LogisticRegression(max_iter=50),
        "forest": RandomForestClassifier(3, max_depth=4, random_state=0),
    }[given.last]
    return make_pipeline(make_column_transformer(*steps), last)


def as_the_file_has_it(given: Habits, X: pd.DataFrame) -> pd.DataFrame:
    """Return the rows as from a plain ``read_csv``, with only a known empty text filled in."""
    if given.filled != "word":
        return X
    plan = X["plan"].astype(object)
    return X.assign(plan=plan.where(plan != "none", np.nan))


@law
@example(
    Habits(
        1,
        "",
        ",",
        0,
        True,
        True,
        "empty",
        True,
        True,
        "parsed",
        "0/1",
        "one-hot",
        "scale",
        "logistic",
    )
)
@given(habits)
def test_training_file_is_predicted_as_in_the_notebook(given):
    text = file_text(given, raw_frame(given))
    read = read_back(given, text)
    labels = read.pop("left")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = model_of(given).fit(read.drop(columns="customer", errors="ignore"), labels)
    with tempfile.TemporaryDirectory() as folder:
        done = model_add(model, Path(folder), "--target", "left", data=text)
        note(done.output)
        assert "Traceback" not in done.output
        if given.separator != "," and done.exit_code == 1:
            assert "separat" in done.output or "semicolon" in done.output
            return
        assert done.exit_code == 0, done.output
        served = Served(model, serve(Path(folder) / "added.pkl"))
        names = list(model.feature_names_in_)
        rows = as_the_file_has_it(given, read)[names].head(12)
        expected = own_predictions(model, rows)
        assert_same_predictions(served, rows, expected=expected, ways=["json", "array", "form"])
        head = "\n".join(text.splitlines()[:13]) + "\n"
        answer = served.client.post("/predict_file", data=head.encode(), content_type="text/csv")
        assert answer.status_code == 200, answer.text
        for row, right in zip(csv_rows(answer.text, given.separator), expected, strict=True):
            assert equal(row_outcome(row), right), (row, right)


def test_dummies_before_the_fit_require_the_file_of_dummies(tmp_path):
    text = file_text(CALM, raw_frame(CALM))
    # Names of columns must not contain a quote.
    read = pd.read_csv(io.StringIO(text)).replace({"plan": {'q"x': "plus"}})
    labels = read.pop("left")
    X = pd.get_dummies(read[["plan", "age", "vip"]])
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, labels)
    message = rejection_message(model, tmp_path, "--target", "left", data=text)
    assert "plan_basic" in message
    file = X.assign(left=labels).to_csv(index=False)
    done = model_add(model, tmp_path, "--target", "left", data=file)
    assert done.exit_code == 0, done.output
    assert_same_predictions(Served(model, serve(tmp_path / "added.pkl")), X.head(8))


CALM = Habits(
    3, "", ",", 5, False, False, "no", False, False, "none", "0/1", "one-hot", "scale", "logistic"
)


@pytest.mark.parametrize("labels", [["young", "old"], None])
def test_cut_intervals_in_a_file_are_predicted_as_in_the_notebook(tmp_path, labels):
    text = file_text(CALM, raw_frame(CALM))
    read = pd.read_csv(io.StringIO(text))
    band = pd.cut(read["age"], [0, 45, 90], labels=labels).astype(str)
    X = read[["spend"]].fillna(0.0).assign(band=band)
    columns = make_column_transformer((OneHotEncoder(), ["band"]), remainder="passthrough")
    model = make_pipeline(columns, LogisticRegression(max_iter=500)).fit(X, read["left"])
    file = X.assign(left=read["left"]).to_csv(index=False)
    done = model_add(model, tmp_path, "--target", "left", data=file)
    assert done.exit_code == 0, done.output
    assert_same_predictions(Served(model, serve(tmp_path / "added.pkl")), X.head(8))
