"""A pickle without a manifest: added by `flask model add`, or served directly."""

import os
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import sklearn
from conftest import GUNICORN, ROOT, running
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from slipway.core.errors import ModelError
from slipway.core.settings import Settings
from slipway.models.manifest import read_manifest, write_manifest
from slipway.monitoring.smoke import smoke
from slipway.serving.loading import load_model
from slipway.training.packaging.version import save
from slipway.web import create_app


@pytest.fixture(scope="module")
def cancer():
    return load_breast_cancer(as_frame=True)


@pytest.fixture
def bare(tmp_path, cancer):
    """The pickle of a fitted model in an otherwise empty folder."""
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(cancer.data, cancer.target)
    (tmp_path / "bare.pkl").write_bytes(pickle.dumps(model))
    return tmp_path / "bare.pkl"


def flask(*words):
    command = (sys.executable, "-m", "flask", "--app", "app:app", *map(str, words))
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_model_add_without_rows_infers_from_the_pickle(bare, tmp_path):
    output = tmp_path / "model.pkl"
    done = flask("model", "add", bare, "--output", output)
    assert done.returncode == 0, done.stderr
    assert "LogisticRegression: the probability of '1', of 0 or 1" in done.stdout
    assert "engine: scorecard" in done.stdout
    assert "not known: ranges" in done.stdout
    assert output.read_bytes() == bare.read_bytes()
    assert load_model(output, "scorecard").replay() is None
    assert load_model(output, "pickle").replay() is None


def test_model_add_with_rows_infers_categories_and_ranges(bare, tmp_path, cancer):
    cancer.frame.to_csv(tmp_path / "train.csv", index=False)
    words = ("--data", tmp_path / "train.csv", "--name", "tumours", "--positive-class", "0")
    done = flask("model", "add", bare, "--output", tmp_path / "model.pkl", *words)
    assert done.returncode == 0, done.stderr
    assert "equal to the pipeline on 569 rows" in done.stdout
    manifest = read_manifest(tmp_path / "model.pkl")
    assert manifest.name == "tumours"
    assert manifest.signature.target.name == "target"
    assert manifest.signature.target.positive == "0"
    assert manifest.base_rate == pytest.approx((cancer.target == 0).mean())
    radius = manifest.signature.by_name["mean radius"]
    assert radius.seen == (cancer.data["mean radius"].min(), cancer.data["mean radius"].max())


def test_model_add_uncompilable_model_reports_why_the_pickle_serves(tmp_path):
    iris = load_iris(as_frame=True)
    forest = RandomForestClassifier(5, random_state=0).fit(iris.data, iris.target)
    (tmp_path / "forest.pkl").write_bytes(pickle.dumps(forest))
    done = flask("model", "add", tmp_path / "forest.pkl", "--output", tmp_path / "model.pkl")
    assert "engine: pickle, because no rule for RandomForestClassifier" in done.stdout
    assert "the probabilities of 0, 1, 2" in done.stdout


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not a pickle", "a text file, not a pickle file"),
        (pickle.dumps({"a": 1}), "holds an object of type dict, not a fitted estimator"),
    ],
)
def test_model_add_file_without_a_model_fails_with_one_line(tmp_path, content, message):
    (tmp_path / "bad.pkl").write_bytes(content)
    done = flask("model", "add", tmp_path / "bad.pkl", "--output", tmp_path / "model.pkl")
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "model.pkl").exists()


def test_model_add_codes_that_look_like_numbers_stay_texts(tmp_path):
    codes = pd.DataFrame({"code": ["01", "02", "10"] * 20})
    encoder = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["code"]))
    model = make_pipeline(encoder, LogisticRegression()).fit(codes, codes["code"] == "01")
    (tmp_path / "codes.pkl").write_bytes(pickle.dumps(model))
    codes.to_csv(tmp_path / "train.csv", index=False)
    words = ("--output", tmp_path / "model.pkl", "--data", tmp_path / "train.csv")
    done = flask("model", "add", tmp_path / "codes.pkl", *words)
    assert done.returncode == 0, done.stderr
    feature = read_manifest(tmp_path / "model.pkl").signature.by_name["code"]
    assert feature.categories == ("01", "02", "10")


@pytest.fixture
def array(tmp_path, cancer):
    """The pickle of a model that was fitted on an array without names."""
    model = LogisticRegression(max_iter=5000).fit(cancer.data.to_numpy(), cancer.target)
    (tmp_path / "array.pkl").write_bytes(pickle.dumps(model))
    return tmp_path / "array.pkl"


def test_model_add_array_model_uses_the_columns_in_order(array, tmp_path, cancer):
    cancer.frame.to_csv(tmp_path / "train.csv", index=False)
    words = ("--output", tmp_path / "new" / "model.pkl", "--data", tmp_path / "train.csv")
    done = flask("model", "add", array, *words)
    assert done.returncode == 0, done.stderr
    manifest = read_manifest(tmp_path / "new" / "model.pkl")
    assert manifest.signature.names == tuple(cancer.data.columns)
    assert manifest.signature.target.name == "target"


def test_model_add_too_few_columns_fails(array, tmp_path, cancer):
    cancer.frame.iloc[:, :3].to_csv(tmp_path / "train.csv", index=False)
    words = ("--output", tmp_path / "model.pkl", "--data", tmp_path / "train.csv")
    done = flask("model", "add", array, *words)
    assert done.returncode == 1
    assert done.stderr == "Error: the file has 3 columns; the model takes 30\n"


@pytest.fixture
def older(bare):
    """A pickle that names an older scikit-learn version."""
    here, there = sklearn.__version__.encode(), b"1.5.2"
    assert len(here) == len(there)
    content = bare.read_bytes()
    assert here in content
    bare.write_bytes(content.replace(here, there))
    return bare


def test_model_add_pickle_of_another_version_fails(older, tmp_path):
    done = flask("model", "add", older, "--output", tmp_path / "model.pkl")
    assert done.returncode == 1
    expected = (
        f"bare.pkl was made by scikit-learn 1.5.2, here is {sklearn.__version__}: fit it again"
    )
    assert done.stderr == f"Error: {expected} in this environment\n"
    with pytest.raises(ModelError, match=r"made by scikit-learn 1\.5\.2"):
        load_model(older, "scorecard")


def test_model_add_allowed_version_skew_keeps_the_pickled_version(older, tmp_path, monkeypatch):
    monkeypatch.setenv("SLIPWAY_ALLOW_VERSION_SKEW", "1")
    done = flask("model", "add", older, "--output", tmp_path / "model.pkl")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("made by scikit-learn 1.5.2") == 1
    assert read_manifest(tmp_path / "model.pkl").libraries["scikit-learn"] == "1.5.2"


def test_model_add_incomplete_pickle_fails(tmp_path, cancer):
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(cancer.data, cancer.target)
    del model.transform_input
    (tmp_path / "bare.pkl").write_bytes(pickle.dumps(model))
    done = flask("model", "add", tmp_path / "bare.pkl", "--output", tmp_path / "model.pkl")
    assert done.returncode == 1
    assert "is incomplete in this scikit-learn version" in done.stderr
    assert "Traceback" not in done.stderr


def test_features_named_like_output_columns_are_served(tmp_path, cancer):
    names = ["prediction", "probability", "error", "error_"]
    X = cancer.data.iloc[:, :4].set_axis(names, axis=1)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, cancer.target)
    manifest = save(model, X, cancer.target, tmp_path / "model.pkl")
    assert (
        repr(manifest) == f"<Manifest of model {manifest.version}: 4 features, engine: scorecard>"
    )
    client = create_app(ROOT, Settings(model=tmp_path / "model.pkl")).test_client()
    content = X[:1].to_csv(index=False)
    answer = client.post("/predict_file?counts=true", data=content, content_type="text/csv").text
    header, row, end = answer.splitlines()
    added = ["prediction_", "probability_", "warning", "error__"]
    assert header.split(",") == [*X.columns, *added]
    one = client.post("/predict", json=X.iloc[0].to_dict()).json
    assert float(row.split(",")[5]) == pytest.approx(one["probability"])
    assert end.startswith("# rows=1 failed=0")
    with running(*GUNICORN, "--workers=1", SLIPWAY_MODEL=str(tmp_path / "model.pkl")) as (base, _):
        table, right = smoke(base)
    assert right, table


def test_model_add_file_that_is_not_csv_fails(bare, tmp_path):
    (tmp_path / "train.csv").write_bytes(b"\xff\xfe\x00")
    words = ("--output", tmp_path / "model.pkl", "--data", tmp_path / "train.csv")
    done = flask("model", "add", bare, *words)
    assert done.returncode == 1
    assert "train.csv is not UTF-8" in done.stderr


def test_bare_pickle_is_served_and_logs_unknown_facts(bare, cancer, caplog):
    client = create_app(ROOT, Settings(model=bare)).test_client()
    assert "bare.pkl has no manifest beside it" in caplog.text
    assert "not inferred from the pickle: ranges" in caplog.text
    metadata = client.get("/metadata").json
    assert metadata["engine"] == "scorecard"
    assert metadata["version"].endswith(metadata["version"][-8:])
    row = cancer.data.iloc[3]
    answer = client.post("/predict", json=row.to_dict())
    expected = pickle.loads(bare.read_bytes()).predict_proba(cancer.data.iloc[[3]])[0, 1]
    assert answer.status_code == 200
    assert answer.json["probability"] == pytest.approx(expected, abs=1e-12)
    for page in ("/", "/model", "/apidocs/", "/file"):
        assert client.get(page).status_code == 200


def test_bare_regressor_is_served_as_a_regressor(tmp_path):
    diabetes = load_diabetes(as_frame=True)
    ridge = make_pipeline(StandardScaler(), Ridge()).fit(diabetes.data, diabetes.target)
    (tmp_path / "ridge.pkl").write_bytes(pickle.dumps(ridge))
    client = create_app(ROOT, Settings(model=tmp_path / "ridge.pkl")).test_client()
    answer = client.post("/predict", json=diabetes.data.iloc[0].to_dict()).json
    assert answer["value"] == pytest.approx(ridge.predict(diabetes.data.head(1))[0], rel=1e-12)


@pytest.fixture
def other_version(tmp_path):
    """The shipped model with another scikit-learn version in its manifest."""
    for name in ("model.pkl", "model.json"):
        shutil.copy(ROOT / name, tmp_path / name)
    manifest = read_manifest(tmp_path / "model.pkl")
    manifest.libraries["scikit-learn"] = "1.2.0"
    write_manifest(manifest, tmp_path / "model.pkl")
    return tmp_path / "model.pkl"


def test_pickle_of_another_version_is_rejected_with_the_fix(other_version):
    with pytest.raises(ModelError, match=r"pip install scikit-learn==1\.2\.0, or train again"):
        load_model(other_version, "pickle")


def test_pickle_of_another_version_allowed_and_correct_is_served(other_version, caplog):
    model = load_model(other_version, "pickle", allow_version_skew=True)
    assert model.replay() is None
    assert "made by scikit-learn 1.2.0" in caplog.text


def test_pickle_of_another_version_with_other_predictions_is_rejected(other_version):
    manifest = read_manifest(other_version)
    manifest.golden[0].record["distance"] = 1.0
    write_manifest(manifest, other_version)
    with pytest.raises(ModelError, match="golden row 1 gives"):
        load_model(other_version, "pickle", allow_version_skew=True)


def test_pickle_engine_uses_one_thread(tmp_path):
    iris = load_iris(as_frame=True)
    forest = RandomForestClassifier(5, random_state=0, n_jobs=-1).fit(iris.data, iris.target)
    (tmp_path / "forest.pkl").write_bytes(pickle.dumps(forest))
    code = (
        "import sys; from pathlib import Path; from slipway.serving.loading import load_model\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from threadpoolctl import threadpool_info\n"
        f"load_model(Path({str(tmp_path / 'forest.pkl')!r}), 'scorecard')\n"
        # OpenMP has a limit for each thread, and Gunicorn handles requests in other threads.
        "info = ThreadPoolExecutor(1).submit(threadpool_info).result()\n"
        "print(max(pool['num_threads'] for pool in info))"
    )
    environ = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    command = (sys.executable, "-c", code)
    done = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "1"


def test_record_rejected_by_the_pipeline_does_not_affect_others(bare, cancer):
    model = load_model(bare, "pickle")
    records = [tuple(row) for row in cancer.data.head(20).to_numpy().tolist()]
    records[7] = (float("inf"), *records[7][1:])
    answers = np.array(model.score(records))
    expected = pickle.loads(bare.read_bytes()).predict_proba(cancer.data.head(20))[:, 1]
    assert np.flatnonzero(np.isnan(answers)).tolist() == [7]
    np.testing.assert_allclose(np.delete(answers, 7), np.delete(expected, 7), rtol=0, atol=1e-12)
