"""``flask train``: the same reproducible artifact from every engine."""

import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from conftest import IMPORTS, ROOT
from small_problem import PROBLEM, parcels, write_tables

from slipway.data.dataset import open_dataset
from slipway.data.etl.run import run_etl
from slipway.models.manifest import read_manifest
from slipway.models.predictor import load_predictor
from slipway.training.frames import read_rows
from slipway.training.splits import holdout_split

ENVIRON = os.environ | {
    "PYTHONPATH": IMPORTS,
    "SLIPWAY_PROBLEM": "small_problem",
}
RECORD = {"depot": "west", "weight": 12.5, "stops": 4}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A folder with two thousand parcels."""
    folder = tmp_path_factory.mktemp("parcels")
    rows = sorted(parcels(2_000), key=lambda row: (row[1], row[0]))
    run_etl(PROBLEM, str(write_tables(folder / "source", rows)), folder / "rows")
    return folder / "rows"


@pytest.fixture(scope="module")
def train(kept, tmp_path_factory):
    """Run ``flask train`` in a separate process; return its output and the pickle."""

    def run(*words, rows=kept, **environ):
        path = tmp_path_factory.mktemp("model") / "model.pkl"
        command = [sys.executable, "-m", "flask", "--app", "app", "train", *words]
        command += ["--rows", str(rows), "--output", str(path)]
        done = subprocess.run(
            command, cwd=ROOT, env=ENVIRON | environ, capture_output=True, text=True, check=False
        )
        return done, path

    return run


@pytest.fixture(scope="module")
def in_memory(train):
    done, path = train("--learning-curve")
    assert done.returncode == 0, done.stderr
    return done, path


def parameters(path):
    regression = pickle.loads(path.read_bytes())[-1]
    return np.append(regression.intercept_, regression.coef_)


def test_train_writes_and_reports_the_version(in_memory):
    done, path = in_memory
    names = {"model.pkl", "model.json", "model.covariance", "report.html"}
    assert {file.name for file in path.parent.iterdir()} == names
    manifest = read_manifest(path)
    assert f"model version {manifest.version}" in done.stdout
    assert "engine memory: 2,000 rows need about" in done.stdout
    training = manifest.training
    assert training.command == "flask train --learning-curve"
    assert (training.engine, training.rows_read) == ("memory", 2_000)
    assert len(training.commit.rstrip("+")) in (0, 40)
    left_out = sum(training.left_out.values())
    assert training.rows_fit + training.rows_test + left_out == training.rows_read
    assert training.learning_curve.points[0].rows == 300
    assert manifest.evaluations["holdout"].rows_test == training.rows_test


def test_train_twice_writes_the_same_hash(in_memory, train):
    first = read_manifest(in_memory[1])
    _, path = train("--learning-curve", OPENBLAS_NUM_THREADS="1", PYTHONHASHSEED="7")
    again = read_manifest(path)
    assert again.sha256 == first.sha256
    assert again.version[-8:] == first.version[-8:]
    assert again.training.data_sha256 == first.training.data_sha256
    assert again.scorecard == first.scorecard
    assert again.golden == first.golden
    assert again.training.learning_curve == first.training.learning_curve


def test_train_in_chunks_equals_memory(in_memory, train):
    done, path = train("--engine", "chunks", "--memory", "1GiB")
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(parameters(path), parameters(in_memory[1]), rtol=0, atol=1e-6)
    manifest = read_manifest(path)
    assert manifest.training.engine == "chunks"
    answers = [
        load_predictor(pickle_path, "scorecard").score([tuple(RECORD.values())])[0]
        for pickle_path in (path, in_memory[1])
    ]
    assert answers[0] == pytest.approx(answers[1], abs=1e-7)


def test_train_average_of_chunks_is_near(in_memory, train):
    done, path = train("--engine", "chunks", "--combine", "average")
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(parameters(path), parameters(in_memory[1]), rtol=0, atol=0.3)


def test_train_xgboost_is_served_by_its_pickle(train, kept):
    done, path = train("--estimator", "xgboost")
    assert done.returncode == 0, done.stderr
    model = load_predictor(path, "scorecard")
    assert model.engine == "pickle"
    assert model.manifest.estimator == "XGBClassifier"
    rows = read_rows(PROBLEM, open_dataset(kept))
    test = rows.X.iloc[holdout_split(rows).test]
    expected = pickle.loads(path.read_bytes()).predict_proba(test)[:, 1]
    records = list(test.astype(object).where(test.notna(), None).itertuples(index=False, name=None))
    np.testing.assert_allclose(model.score(records), expected, rtol=0, atol=1e-6)
    assert "xgboost-cpu" in model.manifest.libraries


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--memory", "64MiB"], "64 MiB of memory is too little; set"),
        (["--estimator", "xgboost", "--engine", "chunks"], "xgboost requires the memory engine"),
        (["--memory", "plenty"], "write for example 1GiB"),
        (["--engine", "spark"], "Spark"),
    ],
)
def test_train_invalid_options_fail_with_the_reason_and_write_nothing(train, words, expected):
    done, path = train(*words, SLIPWAY_SPARK="spark://127.0.0.1:9")
    assert done.returncode != 0
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(path.parent.iterdir())


def test_train_without_rows_names_the_etl_command(train, tmp_path):
    done, _ = train(rows=tmp_path)
    assert done.returncode == 1
    assert "no rows in" in done.stderr
    assert "run `slipway etl`" in done.stderr


def test_train_model_is_served(in_memory, tmp_path):
    code = "import json, sys; from app import app; c = app.test_client(); " + (
        "print(json.dumps(c.post('/predict', json=json.loads(sys.argv[1])).get_json()))"
    )
    command = [sys.executable, "-c", code, json.dumps(RECORD)]
    environ = ENVIRON | {"SLIPWAY_MODEL": str(in_memory[1])}
    done = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True
    )
    answer = json.loads(done.stdout)
    assert answer["model_version"] == read_manifest(in_memory[1]).version
    assert 0 < answer["probability"] < 1
