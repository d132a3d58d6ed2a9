"""Tests of ``slipway serve``: any fitted model, from any folder."""

import pickle
import shutil
import socket
import subprocess
import time
from pathlib import Path

import joblib
import pytest
import requests
from commands import command, environ, run_here, serving
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from slipway.registry import open_registry

pytest_plugins = ["churn_model"]


@pytest.fixture
def folder(tmp_path, own_pipeline, customers):
    """A folder that contains only a fitted model and its training rows."""
    X, y = customers
    (tmp_path / "churn.pkl").write_bytes(pickle.dumps(own_pipeline))
    X.assign(churned=y).to_csv(tmp_path / "train.csv", index=False)
    return tmp_path


def predict(url, record):
    answer = requests.post(f"{url}/predict", json=record, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()


def first_record(customers):
    return customers[0].iloc[0].to_dict()


def expected(pipeline, customers):
    return pipeline.predict_proba(customers[0].iloc[:1])[0, 1]


def test_serve_pickle_with_rows_prints_a_summary_and_predicts(folder, own_pipeline, customers):
    with serving(folder, "churn.pkl", "--data=train.csv", "--target=churned") as (url, output):
        answer = predict(url, first_record(customers))
        assert requests.get(url, timeout=30).status_code == 200
        assert requests.get(f"{url}/apidocs/", timeout=30).status_code == 200
    assert answer["probability"] == pytest.approx(expected(own_pipeline, customers), abs=1e-12)
    printed = output.read_text().splitlines()
    assert printed[0] == "LogisticRegression: the probability of 'yes', of no or yes"
    assert printed[1] == "3 features: 2 number, 1 category"
    assert printed[2].startswith("engine: scorecard, equal to the pipeline on 400 rows")
    assert printed[3].startswith(f"serving on {url}  (API: {url}/apidocs/")


def test_serve_joblib_file_without_rows_prints_the_unknown_parts(folder, own_pipeline, customers):
    joblib.dump(own_pipeline, folder / "churn.joblib", compress=3)
    with serving(folder, "churn.joblib") as (url, output):
        answer = predict(url, first_record(customers))
    assert answer["probability"] == pytest.approx(expected(own_pipeline, customers), abs=1e-12)
    assert "not known: " in output.read_text()


def test_serve_version_with_its_manifest_starts_without_scikit_learn(folder, own_version):
    version = own_version.parent
    blocked = folder / "blocked"
    blocked.mkdir()
    (blocked / "sklearn.py").write_text("raise ImportError('scikit-learn is not here')")
    with serving(
        folder, version / "model.pkl", PYTHONPATH=f"{blocked}:{Path(__file__).parents[2]}"
    ) as (url, _):
        assert requests.get(f"{url}/readyz", timeout=30).status_code == 200


def test_serve_registry_alias_serves_its_version(folder, own_version):
    registry = open_registry(str(folder / "models"))
    version = registry.push(own_version, who="ada")
    registry.move("production", version, who="ada", why="", expected=None)
    with serving(folder, "models@production") as (url, output):
        assert requests.get(f"{url}/version", timeout=30).json()["model_version"] == version
    assert output.read_text().startswith("model: models@production\n")


def test_serve_templates_of_the_folder_override_the_package(folder):
    (folder / "templates").mkdir()
    (folder / "templates" / "introduction.html").write_text("<p>our customers</p>")
    with serving(folder, "churn.pkl") as (url, _):
        assert "our customers" in requests.get(url, timeout=30).text


def test_serve_reload_swaps_a_refitted_model_and_keeps_it_after_an_error(
    folder, own_pipeline, customers
):
    X, y = customers
    record = first_record(customers)
    options = ("churn.pkl", "--data=train.csv", "--target=churned", "--reload")
    with serving(folder, *options) as (url, output):
        first = predict(url, record)
        refitted = pickle.loads(pickle.dumps(own_pipeline)).set_params(logisticregression__C=1e-3)
        replace(folder / "churn.pkl", pickle.dumps(refitted.fit(X, y)))
        second = wait_until(lambda: predict(url, record), lambda a: a != first)
        assert second["probability"] == pytest.approx(expected(refitted, customers), abs=1e-12)
        replace(folder / "churn.pkl", b"not a model")
        wait_until(output.read_text, lambda text: "the previous model stays" in text)
        assert predict(url, record) == second


def test_serve_reload_changed_features_restarts_the_service(folder, customers):
    X, y = customers
    options = ("churn.pkl", "--data=train.csv", "--target=churned", "--reload")
    with serving(folder, *options) as (url, _):
        fewer = make_pipeline(
            make_column_transformer((StandardScaler(), ["months"])), LogisticRegression()
        ).fit(X[["months"]], y)
        replace(folder / "churn.pkl", pickle.dumps(fewer))
        names = wait_until(lambda: feature_names(url), lambda value: value == ["months"])
    assert names == ["months"]


def test_serve_reload_of_an_alias_is_rejected(folder, own_version):
    open_registry(str(folder / "models")).push(own_version, who="ada")
    done = run_here(folder, "serve", "models@production", "--reload")
    assert done.exit_code == 1
    assert done.output == "Error: --reload follows a file; an alias is followed without it\n"


def feature_names(url):
    """Return the names of the served features, or an empty list while the service restarts."""
    try:
        answer = requests.get(f"{url}/metadata", timeout=30).json()
    except requests.ConnectionError:
        return []
    return [feature["name"] for feature in answer["signature"]["features"]]


def replace(path, content):
    """Replace a file atomically."""
    draft = path.with_suffix(".draft")
    draft.write_bytes(content)
    draft.replace(path)


def wait_until(read, condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition(value := read()):
        assert time.monotonic() < deadline, value
        time.sleep(0.2)
    return value


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.pkl"], "cannot read none.pkl: No such file or directory"),
        (["train.csv"], "train.csv"),
        (["churn.pkl", "--data=train.csv", "--target=nothing"], "nothing"),
    ],
)
def test_serve_invalid_model_prints_one_line(folder, words, message):
    done = run_here(folder, "serve", *words)
    assert done.exit_code == 1
    assert len(done.output.strip().splitlines()) == 1
    assert message in done.output


def test_serve_port_in_use_prints_one_line(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run_here(folder, "serve", "churn.pkl", f"--port={taken.getsockname()[1]}")
    assert done.exit_code == 1
    assert "choose another --port" in done.output


def test_serve_model_of_a_missing_package_names_the_package(folder):
    package = folder / "elsewhere" / "odd_package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "from sklearn.linear_model import LogisticRegression\n"
        "class OddRegression(LogisticRegression): pass\n"
    )
    code = (
        "import pickle, odd_package; "
        "model = odd_package.OddRegression().fit([[0.0], [1.0]], [0, 1]); "
        "pickle.dump(model, open('odd.pkl', 'wb'))"
    )
    paths = environ(folder, PYTHONPATH=str(package.parent))
    subprocess.run([*command()[:1], "-c", code], cwd=folder, env=paths, check=True)
    shutil.rmtree(package)
    done = subprocess.run(
        command("serve", "odd.pkl"),
        check=False,
        cwd=folder,
        env=environ(folder),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "odd_package" in done.stderr
    assert "Traceback" not in done.stderr
