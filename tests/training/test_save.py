"""``slipway.save``: serve a custom fitted pipeline without code changes."""

import json
import urllib.request

import numpy as np
import pandas as pd
import pytest
from conftest import GUNICORN, ROOT, running
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

import slipway
from slipway.core.errors import SlipwayError
from slipway.core.settings import Settings
from slipway.training.packaging.version import describe_model
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
def test_save_custom_model_is_served_with_the_pipelines_predictions(
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
    expected = pipeline.predict_proba(X.head(50))[:, 1]
    np.testing.assert_allclose([a["probability"] for a in answers], expected, rtol=0, atol=1e-12)
    explained = client.post("/predict?explain=1", json=records[0])
    assert explained.status_code == (200 if engine == "scorecard" else 422)
    if engine == "pickle":
        assert explained.json["code"] == "not_explainable"
    for page in ("/", "/model", "/apidocs/", "/file"):
        assert client.get(page).status_code == 200
    assert "mean radius" in client.get("/apispec_1.json").text


def test_save_golden_rows_do_not_reveal_training_rows(tmp_path, tumours):
    X, y = tumours
    slipway.save(LogisticRegression(max_iter=5000).fit(X, y), X, y, tmp_path / "model.pkl")
    client = serve(tmp_path / "model.pkl")
    training = set(map(tuple, X.to_numpy().tolist()))
    lines = client.get("/sample.csv").text.splitlines()[1:]
    shown = [tuple(map(float, line.split(","))) for line in lines]
    metadata = client.get("/metadata").json
    assert len(shown) > 20
    assert not training & {*shown, tuple(metadata["golden"]["record"].values())}
    examples = {f["name"]: f["example"] for f in metadata["signature"]["features"]}
    assert metadata["golden"]["record"] == examples
    (answer,) = client.post("/predict", json=[examples]).json
    assert answer["probability"] == pytest.approx(metadata["golden"]["answer"], abs=1e-12)


def test_save_infers_kinds_missing_values_and_categories(tmp_path):
    X, y = people()
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["sex", "class", "alone"])
    )
    pipeline = make_pipeline(columns, LogisticRegression()).fit(X, y)
    manifest = slipway.save(pipeline, X, y, tmp_path / "model.pkl")
    features = {feature.name: feature for feature in manifest.signature.features}
    kinds = {name: feature.kind for name, feature in features.items()}
    # The pipeline drops the age, and its encoder treats fractions and missing values as unknown.
    assert kinds == {"sex": "category", "class": "number", "alone": "flag"}
    assert manifest.signature.ignored == {"age"}
    assert features["sex"].categories == ("female", "male")
    assert features["class"].whole
    assert [name for name, feature in features.items() if not feature.nullable] == []
    client = serve(tmp_path / "model.pkl")
    record = {"sex": "female", "age": None, "class": 1, "alone": True}
    answer = client.post("/predict", json=record)
    assert answer.status_code == 200
    assert answer.json["label"] == "True"
    file = "sex,class,alone\nfemale,1,true\nfemale,1.0,True\n"
    rows = client.post("/predict_file", data=file, content_type="text/csv").text.splitlines()
    assert rows[1].endswith(f",True,{answer.json['probability']!r},,")
    assert rows[2].endswith(f",True,{answer.json['probability']!r},,")


def test_save_two_huge_values_are_rejected_and_never_nan(tmp_path):
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


def test_save_training_rows_define_ranges_and_values_beyond_warn(tmp_path):
    X, y = people()
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["age"]), (OneHotEncoder(), ["sex"])
    )
    pipeline = make_pipeline(columns, LogisticRegression()).fit(X, y)
    manifest = slipway.save(pipeline, X, y, tmp_path / "model.pkl")
    age, sex = manifest.signature.by_name["age"], manifest.signature.by_name["sex"]
    assert age.seen == (X["age"].min(), X["age"].max())
    assert (age.nullable, age.minimum, sex.closed) == (True, None, True)
    client = serve(tmp_path / "model.pkl")
    record = {"sex": "male", "age": 130.0, "class": 2, "alone": False}
    answer = client.post("/predict", json=record)
    assert answer.status_code == 200
    assert [w["code"] for w in answer.json["warnings"]] == ["outside_training"]
    refused = client.post("/predict", json=record | {"sex": "other"})
    assert refused.status_code == 422
    assert [e["code"] for e in refused.json["errors"]] == ["unknown_category"]
    file = "sex,age,class,alone\nmale,130,2,false\nother,1,2,false\nmale,30,2,false\n"
    rows = client.post("/predict_file", data=file, content_type="text/csv").text.splitlines()
    assert "outside" not in rows[3]
    assert "extrapolation" in rows[1]
    assert "unknown category" in rows[2]


def test_save_positive_class_can_be_the_first(tmp_path, tumours):
    X, y = tumours
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    manifest = slipway.save(pipeline, X, y, tmp_path / "model.pkl", positive="benign")
    assert manifest.signature.target.positive == "benign"
    assert manifest.base_rate == pytest.approx((y == "benign").mean())
    answers = serve(tmp_path / "model.pkl").post("/predict", json=X.to_dict("records")).json
    expected = pipeline.predict_proba(X)[:, list(pipeline.classes_).index("benign")]
    np.testing.assert_allclose([a["probability"] for a in answers], expected, rtol=0, atol=1e-12)
    assert [a["label"] for a in answers] == list(pipeline.predict(X))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (KMeans(2, n_init=1), "KMeans is a clusterer"),
        (make_pipeline(StandardScaler(), LogisticRegression()), "'maybe' is not one of two"),
    ],
)
def test_save_unsupported_model_raises_with_advice(tmp_path, tumours, model, message):
    X, y = tumours
    positive = "maybe" if "maybe" in message else None
    with pytest.raises(SlipwayError, match=message):
        slipway.save(model.fit(X, y), X, y, tmp_path / "model.pkl", positive=positive)
    assert not list(tmp_path.iterdir())


def test_save_rows_without_a_column_of_the_model_raise(tmp_path, tumours):
    X, y = tumours
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    with pytest.raises(SlipwayError, match="mean area"):
        slipway.save(pipeline, X.drop(columns="mean area"), y, tmp_path / "model.pkl")


def test_save_without_rows_probes_the_model(tmp_path):
    X, y = people()
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["age"]),
        (OneHotEncoder(handle_unknown="ignore"), ["sex", "alone"]),
        (OneHotEncoder(), ["class"]),
    )
    pipeline = make_pipeline(columns, LogisticRegression()).fit(X, y)
    features = slipway.save(pipeline, path=tmp_path / "model.pkl").signature.by_name
    kinds = {name: feature.kind for name, feature in features.items()}
    assert kinds == {"sex": "category", "age": "number", "class": "integer", "alone": "flag"}
    assert [name for name, feature in features.items() if not feature.nullable] == ["class"]
    assert [name for name, feature in features.items() if feature.complete] == ["sex", "alone"]
    assert [name for name, feature in features.items() if feature.closed] == ["class"]
    assert set(features["class"].reasons) == {"required", "closed", "whole"}
    assert features["age"].example == pytest.approx(X["age"].mean(), rel=1e-5)


def test_save_plain_array_columns_are_named_by_position(tmp_path, tumours):
    X, y = tumours
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(X.to_numpy(), y)
    manifest = slipway.save(pipeline, X.to_numpy(), y, tmp_path / "model.pkl")
    assert manifest.signature.names[:2] == ("x0", "x1")
    client = serve(tmp_path / "model.pkl", engine="pickle")
    record = dict(zip(manifest.signature.names, X.iloc[0].tolist(), strict=True))
    expected = pipeline.predict_proba(X.head(1).to_numpy())[0, 1]
    assert client.post("/predict", json=record).json["probability"] == pytest.approx(
        expected, abs=1e-12
    )


def test_save_categorical_columns_reach_the_pipeline_as_such(tmp_path):
    X, y = people()
    X = X.astype({"sex": "category", "class": "category"})
    trees = HistGradientBoostingClassifier(categorical_features="from_dtype", max_iter=5)
    slipway.save(trees.fit(X, y), X, y, tmp_path / "model.pkl")
    client = serve(tmp_path / "model.pkl")
    assert client.get("/metadata").json["engine"] == "pickle"
    records = json.loads(X.to_json(orient="records", double_precision=15))
    answers = client.post("/predict", json=records).json
    expected = trees.predict_proba(X)[:, 1]
    np.testing.assert_allclose([a["probability"] for a in answers], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["boolean", object])
def test_save_flags_with_missing_values_reach_the_pipeline_as_in_training(tmp_path, kind):
    X, y = people()
    X["alone"] = X["alone"].astype(kind)
    X.loc[3:30, "alone"] = pd.NA if kind == "boolean" else None
    columns = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["alone", "sex"]))
    pipeline = make_pipeline(columns, LogisticRegression()).fit(X, y)
    slipway.save(pipeline, X, y, tmp_path / "model.pkl")
    client = serve(tmp_path / "model.pkl")
    records = json.loads(X.to_json(orient="records", double_precision=15))
    answers = client.post("/predict", json=records).json
    expected = pipeline.predict_proba(X)[:, 1]
    np.testing.assert_allclose([a["probability"] for a in answers], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, y: (X.rename(columns={"age": 'a"ge'}), y), "rename it"),
        (lambda X, y: (X, np.column_stack([y, y])), "one target"),
        (lambda X, y: (X.assign(late=pd.Timedelta("1h")), y), "JSON cannot represent"),
        (lambda X, y: (X.assign(odd=np.resize(np.array([1, "a"], object), len(X))), y), "several"),
    ],
)
def test_save_unsupported_rows_raise_with_the_reason(tmp_path, change, message):
    X, y = people()
    X, y = change(X[["age", "class"]].fillna(1), y.astype(float))
    with pytest.raises(SlipwayError, match=message):
        slipway.save(DummyRegressor().fit(X, y), X, y, tmp_path / "model.pkl")


def test_save_function_without_a_name_raises(tmp_path):
    X, y = people()
    double = FunctionTransformer(lambda column: column * 2)
    model = make_pipeline(double, Ridge()).fit(X[["class"]], y)
    with pytest.raises(SlipwayError, match="cannot be pickled"):
        slipway.save(model, X[["class"]], y, tmp_path / "model.pkl")


@pytest.mark.parametrize(
    "values", [[0.5, 1.5, 2.5], [True, False], [1, 2, 3]], ids=["floats", "flags", "integers"]
)
def test_save_categories_other_than_texts_are_encoded_as_in_training(tmp_path, values):
    X, y = people()
    X = pd.DataFrame({"c": pd.Categorical(np.resize(values, len(X))), "other": X["class"]})
    columns = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["c"]))
    pipeline = make_pipeline(columns, LogisticRegression()).fit(X, y)
    slipway.save(pipeline, X, y, tmp_path / "model.pkl")
    records = json.loads(X.to_json(orient="records", double_precision=15))
    answers = serve(tmp_path / "model.pkl").post("/predict", json=records).json
    expected = pipeline.predict_proba(X)[:, 1]
    np.testing.assert_allclose([a["probability"] for a in answers], expected, rtol=0, atol=1e-12)


def of_category(X):
    """Require pandas categories."""
    kept = [X[name].cat.codes if X[name].dtype == "category" else X[name] * 0 for name in X]
    return np.column_stack(kept)


def test_save_categories_of_numbers_reach_the_pipeline_as_such(tmp_path, monkeypatch):
    monkeypatch.setenv("SLIPWAY_PICKLE_ALLOW", f"{__name__}:of_category")
    X = pd.DataFrame({"c": pd.Categorical(np.resize([0.5, 1.5], 60))})
    model = make_pipeline(FunctionTransformer(of_category), Ridge()).fit(X, X["c"].astype(float))
    slipway.save(model, X, X["c"].astype(float), tmp_path / "model.pkl")
    answers = serve(tmp_path / "model.pkl").post("/predict", json=X.to_dict("records")).json
    expected = model.predict(X)
    np.testing.assert_allclose([a["value"] for a in answers], expected, rtol=0, atol=1e-12)


def test_save_threshold_inside_a_search_and_a_pipeline_is_kept(tmp_path, tumours):
    X, y = tumours
    inner = FixedThresholdClassifier(
        LogisticRegression(), threshold=0.9, response_method="predict_proba"
    )
    searched = GridSearchCV(
        make_pipeline(StandardScaler(), inner), {"standardscaler__with_mean": [True]}, cv=2
    )
    manifest = slipway.save(searched.fit(X, y), X, y, tmp_path / "model.pkl")
    assert manifest.threshold == 0.9
    answers = serve(tmp_path / "model.pkl").post("/predict", json=X.to_dict("records")).json
    assert [a["label"] for a in answers] == list(searched.predict(X))


def test_save_labels_independent_of_probabilities_are_kept(tmp_path):
    draw = np.random.default_rng(0)
    X = pd.DataFrame({"a": draw.normal(size=60), "b": draw.normal(size=60)})
    y = X["a"] + draw.normal(size=60) > 0
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    model[-1].predict = lambda rows: np.full(len(rows), True)
    manifest = describe_model(model, X, y).manifest
    assert {row.label for row in manifest.golden} == {"True"}
    assert manifest.reason.startswith("its scorecard and its predict return different labels for ")


def test_save_numbers_rejected_by_the_pipeline_are_rejected(tmp_path):
    X = pd.DataFrame({"c": np.resize([0.5, 1.5, 2.5], 60)})
    model = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(X, X["c"] == 0.5)
    manifest = slipway.save(model, X, X["c"] == 0.5, tmp_path / "model.pkl")
    assert manifest.signature.features[0].closed
    client = serve(tmp_path / "model.pkl")
    answers = client.post("/predict", json=[{"c": 0.5}, {"c": 1.0}])
    assert answers.status_code == 207
    assert answers.json[0]["label"] == "True"
    assert [error["code"] for error in answers.json[1]["errors"]] == ["unknown_category"]


def test_save_steps_with_polars_output_start_after_a_fork(tmp_path):
    draw = np.random.default_rng(0)
    X = pd.DataFrame({"a": draw.normal(size=80), "b": draw.normal(size=80)})
    columns = make_column_transformer((StandardScaler(), ["a"]), ("passthrough", ["b"]))
    model = make_pipeline(columns, HistGradientBoostingClassifier(max_iter=3))
    model.set_output(transform="polars").fit(X, X["a"] > 0)
    slipway.save(model, X, X["a"] > 0, tmp_path / "model.pkl")
    with running(*GUNICORN, SLIPWAY_MODEL=str(tmp_path / "model.pkl")) as (base, _):
        body = json.dumps({"a": 0.5, "b": 0.1}).encode()
        request = urllib.request.Request(
            f"{base}/predict", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answered:
            answer = json.load(answered)
    assert answer["probability"] == model.predict_proba(pd.DataFrame([{"a": 0.5, "b": 0.1}]))[0, 1]


def test_save_unsigned_64_bit_identifiers_are_exact(tmp_path):
    draw = np.random.default_rng(0)
    ids = draw.integers(2**63, 2**64 - 1, 80, dtype="uint64")
    X = pd.DataFrame({"id": ids, "a": draw.normal(size=80)})
    model = HistGradientBoostingClassifier(max_iter=3).fit(X, X["a"] > 0)
    manifest = slipway.save(model, X, X["a"] > 0, tmp_path / "model.pkl")
    assert manifest.signature.by_name["id"].dtype == "uint64"
    answers = serve(tmp_path / "model.pkl").post("/predict", json=X.to_dict("records")).json
    expected = model.predict_proba(X)[:, 1]
    np.testing.assert_allclose([a["probability"] for a in answers], expected, rtol=0, atol=1e-12)
