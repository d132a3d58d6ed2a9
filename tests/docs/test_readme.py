"""Tests of the README: its commands run, and its predictions are those of the service."""

import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
import urllib.request
from pathlib import Path

import pandas as pd
import polars as pl
import pytest
from conftest import ROOT, running

from slipway.core.settings import Settings
from slipway.web import create_app

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
MAKE = ["make", "-o", f"{sys.prefix}/run", "-o", f"{sys.prefix}/dev", f"VENV={sys.prefix}"]


def blocks(language):
    return [text for name, text in BLOCKS if name == language]


def commands(word):
    """Return the shell blocks that begin with a word."""
    return [text for text in blocks("sh") if text.startswith(word)]


def run(command, service, folder):
    script = command.replace("http://127.0.0.1:8000", service)
    done = subprocess.run(
        ["bash", "-euc", script], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_readme_is_short_and_predicts_by_its_25th_line():
    lines = README.splitlines()
    assert len(lines) < 150
    assert any("curl -s http://127.0.0.1:8000/predict" in line for line in lines[:25])
    assert any('"probability"' in line for line in lines[:25])


def test_readme_shell_blocks_are_all_tested():
    words = {text.split()[0] for text in blocks("sh")}
    assert words == {"make", "curl", "flask"}
    assert [text.strip() for text in commands("make")] == ["make run", "make test"]


def test_readme_first_prediction_equals_the_printed_one(service, tmp_path):
    printed = json.loads(blocks("json")[0])
    answer = json.loads(run(commands("curl")[0], service, tmp_path))
    assert answer.pop("probability") == pytest.approx(printed.pop("probability"), abs=1e-9)
    assert answer | {"model_version": "…"} == printed


def test_readme_other_requests_return_predictions(service, tmp_path):
    explained = json.loads(run(commands("curl")[1], service, tmp_path))
    assert explained["contributions"]
    answered = (tmp_path / "predictions.csv").read_text(encoding="utf-8")
    assert answered.splitlines()[0].endswith("prediction,probability,warning,error")
    assert "#" not in answered
    assert pd.read_csv(tmp_path / "predictions.csv")["probability"].between(0, 1).all()


@pytest.mark.slow
def test_make_run_serves_with_the_procfile_command(manifest):
    with running(*MAKE, "run") as (base, _):
        # urlopen raises for a status other than 200.
        urllib.request.urlopen(f"{base}/readyz").close()
        with urllib.request.urlopen(f"{base}/version") as answer:
            assert json.load(answer)["model_version"] == manifest.version


def test_make_help_prints_every_target():
    done = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True)
    named = re.findall(r"^  make (\w+)", done.stdout, re.MULTILINE)
    targets = re.findall(r"^(\w+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert named == targets
    assert {"help", "run", "test", "check", "train", "bench", "system"} <= set(named)


@pytest.mark.parametrize(
    ("target", "command"), [("test", "python -m pytest"), ("train", "flask train")]
)
def test_make_target_calls_its_command(target, command):
    done = subprocess.run(
        [*MAKE, "-n", target], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert f"{sys.prefix}/bin/{command}" in done.stdout


@pytest.mark.slow
def test_readme_training_commands_reproduce_the_model_and_score_the_flights(tmp_path, manifest):
    output = run_in_folder(tmp_path, "bash", "-euc", commands("flask etl")[0], model="model.pkl")
    assert "336,776 rows read, 327,346 kept in data/flights" in output
    assert "engine memory: 327,346 rows need about" in output
    assert "model version" in output
    (trained,) = json.loads((tmp_path / "model.json").read_bytes())["scorecard"]["sums"]
    (shipped,) = manifest.scorecard.sums
    assert trained["intercept"] == pytest.approx(shipped.intercept, abs=1e-9)
    for term, expected in zip(trained["terms"], shipped.terms, strict=True):
        assert term["feature"] == expected.feature
        assert term["points"] == pytest.approx(expected.points, abs=1e-9)
    assert len(pl.read_parquet(tmp_path / "scores.parquet")) == 336_776


@pytest.fixture
def notebook(tmp_path):
    """A folder with a user's fitted model, with the names of the README."""
    (tmp_path / "my_notebook.py").write_text(
        textwrap.dedent(
            """
            import pickle
            from sklearn.datasets import load_breast_cancer
            from sklearn.compose import make_column_transformer
            from sklearn.linear_model import LogisticRegression
            from sklearn.pipeline import make_pipeline
            from sklearn.preprocessing import StandardScaler

            X, y = load_breast_cancer(as_frame=True, return_X_y=True)
            scale = make_column_transformer((StandardScaler(), list(X.columns)))
            pipeline = make_pipeline(scale, LogisticRegression()).fit(X, y)
            if __name__ == "__main__":
                with open("fitted.pkl", "wb") as file:
                    pickle.dump(pipeline, file)
                X.assign(target=y).to_csv("train.csv", index=False)
            """
        ),
        encoding="utf-8",
    )
    subprocess.run([sys.executable, "my_notebook.py"], cwd=tmp_path, check=True)
    return tmp_path


def run_in_folder(folder, *command, model="model.churn.pkl"):
    environ = os.environ | {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "FLASK_APP": str(ROOT / "app.py"),
        "SLIPWAY_MODEL": str(folder / model),
    }
    done = subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_readme_bring_your_own_model_from_a_pickle_is_served(notebook):
    """Run the README's command on another model."""
    report = run_in_folder(notebook, "bash", "-euc", commands("flask model add")[0])
    assert "engine: scorecard, the model's equal on 569 rows" in report
    assert_model_is_served(notebook / "model.churn.pkl")


def test_readme_bring_your_own_model_from_a_notebook_is_served(notebook):
    (lines,) = blocks("python")
    assert len([line for line in lines.splitlines() if line]) <= 5
    run_in_folder(notebook, sys.executable, "-c", lines)
    assert_model_is_served(notebook / "model.churn.pkl")


def test_readme_show_and_sql_commands_describe_the_model(notebook):
    run_in_folder(notebook, sys.executable, "-c", blocks("python")[0])
    output = run_in_folder(notebook, "bash", "-euc", commands("flask model show")[0])
    assert "Will this customer leave?" in output
    assert "flights_to_score" in output


def assert_model_is_served(path):
    client = create_app(ROOT, Settings(model=path)).test_client()
    described = client.get("/metadata").json
    assert (described["name"], described["engine"]) == ("churn", "scorecard")
    example = {f["name"]: f["example"] for f in described["signature"]["features"]}
    assert client.post("/predict", json=example).status_code == 200
    assert described["title"] in client.get("/").text


def test_settings_page_lists_the_settings_of_the_code():
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    files = [*(ROOT / "slipway").rglob("*.py"), ROOT / "gunicorn.conf.py"]
    read = {n for file in files for n in re.findall(r'"(SLIPWAY_[A-Z_]+)"', file.read_text())}
    assert set(re.findall(r"^\| `(SLIPWAY_\w+)`", page, re.MULTILINE)) == read
    assert set(re.findall(r"`(SLIPWAY_\w+)`", README)) <= read


def test_readme_links_exist():
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / link).exists(), link


def test_root_has_one_package_manager_file_and_no_runtime_txt():
    """Heroku's build fails with two package managers, and prefers an old runtime.txt."""
    names = {path.name for path in ROOT.iterdir()}
    others = {"Pipfile", "Pipfile.lock", "poetry.lock", "uv.lock", "setup.py", "runtime.txt"}
    assert "requirements.txt" in names
    assert not names & others
    assert (ROOT / ".python-version").read_text().strip() == "3.11"
    assert shlex.split((ROOT / "Procfile").read_text())[1] == "gunicorn"


def test_requirements_are_pinned_with_hashes():
    for name in ("requirements.txt", "requirements-train.txt", "requirements-dev.txt"):
        text = (ROOT / name).read_text()
        pins = re.findall(r"^([\w.-]+)==", text, re.MULTILINE)
        assert pins
        assert text.count(" \\\n    --hash=sha256:") >= len(pins)
        assert "http://" not in text
        assert "https://" not in text
    assert "scikit-learn" not in (ROOT / "requirements.txt").read_text()
