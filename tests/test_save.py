"""slipway.save: a fitted pipeline of one's own, served with no code changed."""

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import slipway
from slipway.config import Settings
from slipway.errors import SlipwayError
from slipway.web import create_app


@pytest.fixture(scope="module")
def tumours():
    X, y = load_breast_cancer(as_frame=True, return_X_y=True)
    return X, y.map({0: "malignant", 1: "benign"}).rename("diagnosis")


def people(n=300):
    draw = np.random.default_rng(7)
    X = pd.DataFrame(
        {
            "sex": draw.choice(["female", "male"], n),
            "age": np.where(draw.random(n) < 0.1, np.nan, draw.uniform(1, 80, n)),
            "class": draw.integers(1, 4, n),
            "alone": draw.random(n) < 0.5,
        }
    )
    return X, pd.Series((X["sex"] == "female") & (X["class"] < 3), name="survived")


def serve(path, **settings):
    return create_app(ROOT, Settings(model=path, **settings)).test_client()


@pytest.mark.parametrize(
    ("estimator", "engine"),
    [(LogisticRegression(), "scorecard"), (RandomForestClassifier(10, random_state=0), "pickle")],
    ids=["logistic", "forest"],
)
def test_save_model_of_ones_own_is_served_with_the_pipelines_answers(
    tmp_path, tumours, estimator, engine
):
    X, y = tumours
    pipeline = make_pipeline(
        make_column_transformer((StandardScaler(), list(X.columns))), estimator
    ).fit(X, y)
    manifest = slipway.save(pipeline, X, y, tmp_path / "model.pkl", name="tumours")
    client = serve(tmp_path / "model.pkl")
    assert client.get("/metadata").json["engine"] == engine
    assert manifest.signature.target.classes == ("benign", "malignant")
    records = X.head(50).to_dict("records")
    answers = client.post("/predict", json=records).json
    due = pipeline.predict_proba(X.head(50))[:, 1]
    np.testing.assert_allclose([a["probability"] for a in answers], due, rtol=0, atol=1e-12)
    explained = client.post("/predict?explain=1", json=records[0])
    assert explained.status_code == (200 if engine == "scorecard" else 422)
    if engine == "pickle":
        assert explained.json["code"] == "not_explainable"
    for page in ("/", "/model", "/apidocs/", "/file"):
        assert client.get(page).status_code == 200
    assert "mean radius" in client.get("/apispec_1.json").text


def test_save_infers_kinds_gaps_and_categories(tmp_path):
    X, y = people()
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["sex", "class", "alone"])
    )
    pipeline = make_pipeline(columns, LogisticRegression()).fit(X, y)
    manifest = slipway.save(pipeline, X, y, tmp_path / "model.pkl")
    features = {feature.name: feature for feature in manifest.signature.features}
    kinds = {name: feature.kind for name, feature in features.items()}
    assert kinds == {"sex": "category", "age": "number", "class": "integer", "alone": "flag"}
    assert features["sex"].categories == ("female", "male")
    assert [name for name, feature in features.items() if feature.nullable] == ["age"]
    client = serve(tmp_path / "model.pkl")
    record = {"sex": "female", "age": None, "class": 1, "alone": True}
    answer = client.post("/predict", json=record)
    assert answer.status_code == 200
    assert answer.json["label"] == "True"
    file = "sex,class,alone\nfemale,1,true\nfemale,1.0,True\n"
    rows = client.post("/predict_file", data=file, content_type="text/csv").text.splitlines()
    assert rows[1].endswith(f",True,{answer.json['probability']!r},,")
    assert rows[2].endswith(f",True,{answer.json['probability']!r},,")


def test_save_two_huge_values_are_refused_and_never_nan(tmp_path):
    X, y = people()
    X = X.assign(other=X["class"] * 1.0, age=X["age"].fillna(3))
    numbers = make_column_transformer((StandardScaler(), ["age", "other"]))
    pipeline = make_pipeline(numbers, LogisticRegression()).fit(X, y)
    slipway.save(pipeline, X, y, tmp_path / "model.pkl")
    client = serve(tmp_path / "model.pkl")
    row = {"sex": "male", "class": 1, "alone": False}
    slopes = client.post("/predict?explain=1", json=row | {"age": 1, "other": 1}).json
    signs = [np.sign(slopes["contributions"][name]) for name in ("age", "other")]
    assert all(signs)
    huge = {"age": 1.7e308, "other": -1.7e308 * signs[0] * signs[1]}
    answer = client.post("/predict", json=row | huge)
    assert answer.status_code in (200, 422)
    if answer.status_code == 200:
        assert 0 <= answer.json["probability"] <= 1


def test_save_three_classes_is_refused(tmp_path, tumours):
    X, _ = tumours
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    pipeline.fit(X, np.arange(len(X)) % 3)
    with pytest.raises(SlipwayError, match="3 classes"):
        slipway.save(pipeline, X, np.arange(len(X)) % 3, tmp_path / "model.pkl")
