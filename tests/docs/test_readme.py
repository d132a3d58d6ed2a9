"""The README: every command in it is executed, and its answers are the service's."""

import json
import os
import pickle
import re
import shlex
import subprocess
import sys
import textwrap
import urllib.request

import pandas as pd
import polars as pl
import pytest
from commands import run_here, serving
from conftest import ROOT, running

from slipway.core.settings import Settings
from slipway.web import create_app

pytest_plugins = ["churn_model"]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
STAMPS = [word for name in ("run", "train", "dev") for word in ("-o", f"{sys.prefix}/{name}")]
MAKE = ["make", *STAMPS, f"VENV={sys.prefix}"]


def blocks(language):
    return [text for name, text in BLOCKS if name == language]


def commands(word):
    """Give the shell blocks that begin with a word."""
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
    assert any("slipway serve" in line for line in lines[:15])
    assert any("curl -s http://127.0.0.1:8000/predict" in line for line in lines[:25])
    assert any('"probability"' in line for line in lines[:25])


def test_readme_has_no_shell_block_that_is_not_executed():
    words = {text.split()[0] for text in blocks("sh")}
    # tests/test_package.py installs the package, and serves with it.
    assert words == {"make", "curl", "slipway", "pip"}
    assert [text.strip() for text in commands("pip")] == ["pip install slipway-ml"]
    assert [text.strip() for text in commands("make")] == ["make run", "make test"]


def test_readme_first_prediction_is_the_printed_one(service, tmp_path):
    printed = json.loads(blocks("json")[1])
    answer = json.loads(run(commands("curl")[1], service, tmp_path))
    assert answer.pop("probability") == pytest.approx(printed.pop("probability"), abs=1e-9)
    assert answer | {"model_version": "…"} == printed


def test_readme_own_model_is_served_and_predicts_as_printed(own_folder, own_pipeline):
    _, model, *options = shlex.split(commands("slipway serve")[0])[1:]
    with serving(own_folder, model, *options) as (base, _):
        answer = json.loads(run(commands("curl")[0], base, own_folder))
    printed = json.loads(blocks("json")[0])
    assert answer.pop("probability") == pytest.approx(printed.pop("probability"), abs=1e-9)
    assert answer | {"model_version": "…"} == printed


def test_readme_new_project_is_written(own_folder):
    done = run_here(own_folder, *shlex.split(commands("slipway new")[0])[1:])
    assert done.exit_code == 0, done.output
    assert (
        (own_folder / "churn" / "README.md").read_text().startswith("# Will this customer leave?")
    )


@pytest.fixture
def own_folder(tmp_path, own_pipeline, customers):
    """The files that the README's first commands name."""
    X, y = customers
    (tmp_path / "fitted.pkl").write_bytes(pickle.dumps(own_pipeline))
    X.assign(churned=y).to_csv(tmp_path / "train.csv", index=False)
    return tmp_path


def test_readme_other_requests_answer(service, tmp_path):
    explained = json.loads(run(commands("curl")[2], service, tmp_path))
    assert explained["contributions"]
    answered = (tmp_path / "predictions.csv").read_text(encoding="utf-8")
    assert answered.splitlines()[0].endswith("prediction,probability,warning,error")
    assert "#" not in answered
    assert pd.read_csv(tmp_path / "predictions.csv")["probability"].between(0, 1).all()


@pytest.mark.slow
def test_make_run_serves_under_the_procfiles_command(manifest):
    with running(*MAKE, "run") as (base, _):
        # An answer that is not 200 would raise here.
        urllib.request.urlopen(f"{base}/readyz").close()
        with urllib.request.urlopen(f"{base}/version") as answer:
            assert json.load(answer)["model_version"] == manifest.version


def test_make_help_prints_every_target():
    done = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True)
    named = re.findall(r"^  make ([\w-]+)", done.stdout, re.MULTILINE)
    targets = re.findall(r"^([\w-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert named == targets
    assert {"help", "run", "test", "check", "train", "bench", "system"} <= set(named)


@pytest.mark.parametrize(
    ("target", "command"),
    [("test", "python -m pytest"), ("test-all", "python -m pytest"), ("train", "flask train")],
)
def test_make_target_calls_its_command(target, command):
    done = subprocess.run(
        [*MAKE, "-n", target], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert f"{sys.prefix}/bin/{command}" in done.stdout


@pytest.mark.slow
def test_readme_training_writes_the_shipped_model_and_scores_the_flights(tmp_path, manifest):
    told = in_folder(tmp_path, "bash", "-euc", commands("slipway etl")[0], model="model.pkl")
    assert "336,776 rows read, 327,346 kept in data/flights" in told
    assert "engine memory: 327,346 rows need about" in told
    assert "model version" in told
    (made,) = json.loads((tmp_path / "model.json").read_bytes())["scorecard"]["sums"]
    (shipped,) = manifest.scorecard.sums
    assert made["intercept"] == pytest.approx(shipped.intercept, abs=1e-9)
    for ours, due in zip(made["terms"], shipped.terms, strict=True):
        assert ours["feature"] == due.feature
        assert ours["points"] == pytest.approx(due.points, abs=1e-9)
    assert len(pl.read_parquet(tmp_path / "scores.parquet")) == 336_776


@pytest.fixture
def notebook(tmp_path):
    """A folder with somebody's fitted model, as the README names its parts."""
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


def launcher(folder):
    """A folder with the command ``slipway`` of this checkout."""
    path = folder / "bin" / "slipway"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -m slipway "$@"\n')
    path.chmod(0o755)
    return path.parent


def in_folder(folder, *command, model="model.churn.pkl"):
    environ = os.environ | {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}",
        "PATH": os.pathsep.join([str(launcher(folder)), os.environ["PATH"]]),
        "SLIPWAY_PROBLEM": "flights",
        "SLIPWAY_MODEL": str(folder / model),
    }
    done = subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_readme_bring_your_own_model_from_a_notebook_is_served(notebook):
    (lines,) = blocks("python")
    assert len([line for line in lines.splitlines() if line]) <= 5
    in_folder(notebook, sys.executable, "-c", lines)
    assert_served(notebook / "model.churn.pkl")


def test_readme_show_and_sql_speak_of_the_model(notebook):
    in_folder(notebook, sys.executable, "-c", blocks("python")[0])
    told = in_folder(notebook, "bash", "-euc", commands("slipway model show")[0])
    assert "Will this customer leave?" in told
    assert "customers" in told


def assert_served(path):
    client = create_app(ROOT, Settings(model=path)).test_client()
    described = client.get("/metadata").json
    assert (described["name"], described["engine"]) == ("churn", "scorecard")
    example = {f["name"]: f["example"] for f in described["signature"]["features"]}
    assert client.post("/predict", json=example).status_code == 200
    assert described["title"] in client.get("/").text


def test_settings_page_names_those_that_are_read():
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    files = [*(ROOT / "slipway").rglob("*.py"), ROOT / "gunicorn.conf.py"]
    read = {n for file in files for n in re.findall(r'"(SLIPWAY_[A-Z_]+)"', file.read_text())}
    assert set(re.findall(r"^\| `(SLIPWAY_\w+)`", page, re.MULTILINE)) == read
    assert set(re.findall(r"`(SLIPWAY_\w+)`", README)) <= read


def test_readme_links_lead_somewhere():
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / link).exists(), link


def test_root_has_one_package_manager_file_and_no_old_runtime():
    """Heroku's build fails on two, and an old runtime.txt would still win."""
    names = {path.name for path in ROOT.iterdir()}
    rivals = {"Pipfile", "Pipfile.lock", "poetry.lock", "uv.lock", "setup.py", "runtime.txt"}
    assert "requirements.txt" in names
    assert not names & rivals
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
