"""``slipway new`` and ``slipway update``: a project of your own."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import environ, run_here
from conftest import ROOT
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from slipway.cli.project_files import RECORD
from slipway.models.manifest import read_manifest

pytest_plugins = ["churn_model"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, own_pipeline, customers):
    """A folder with a fitted model, its training rows and its notebook."""
    path = tmp_path_factory.mktemp("new")
    X, y = customers
    (path / "fitted.pkl").write_bytes(pickle.dumps(own_pipeline))
    X.assign(churned=y).to_csv(path / "train.csv", index=False)
    (path / "fit.ipynb").write_text('{"cells": []}')
    return path


@pytest.fixture(scope="module")
def project(folder):
    """A project that ``slipway new`` wrote for the model."""
    words = ("--model=fitted.pkl", "--data=train.csv", "--target=churned", "--notebook=fit.ipynb")
    done = run_here(folder, "new", "churn", *words, "--title=Will this customer leave?")
    assert done.exit_code == 0, done.output
    assert done.output == "wrote churn\n\n  cd churn\n  make run\n  make test\n"
    return folder / "churn"


@pytest.fixture
def copy(project, tmp_path):
    """A copy of the project that a test may change."""
    return shutil.copytree(project, tmp_path / "churn")


def run_pytest(project):
    paths = os.pathsep.join([str(ROOT), str(project)])
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=project,
        env=environ(project, PYTHONPATH=paths),
        capture_output=True,
        text=True,
        check=False,
    )


def test_new_project_has_the_expected_files_and_the_model(project):
    names = {path.name for path in project.iterdir()}
    assert {"app.py", "flask_api.py", "model.pkl", "model.json", "notebooks", "templates"} <= names
    assert {"Procfile", "Dockerfile", "requirements.txt", ".python-version", "app.json"} <= names
    assert {"heroku.yml", ".github", "deploy", "tests", "Makefile", "README.md"} <= names
    assert (project / "notebooks" / "fit.ipynb").exists()
    assert os.access(project / "deploy" / "box.sh", os.X_OK)
    manifest = read_manifest(project / "model.pkl")
    assert (manifest.name, manifest.title) == ("churn", "Will this customer leave?")


def test_new_project_own_tests_pass(project):
    done = run_pytest(project)
    assert done.returncode == 0, done.stdout


def test_new_project_readme_describes_the_model(project):
    text = (project / "README.md").read_text()
    assert text.startswith("# Will this customer leave?\n")
    for name in ("plan", "months", "spend"):
        assert f"| `{name}` |" in text
    assert '"probability":' in text


def test_new_project_with_scorecard_does_not_pin_scikit_learn_for_serving(project):
    assert "scikit-learn" not in (project / "requirements.txt").read_text()
    assert "scikit-learn==" in (project / "requirements-train.txt").read_text()


def test_new_project_with_pickle_pins_the_versions_of_the_fit(folder, customers):
    X, y = customers
    forest = RandomForestClassifier(5, random_state=0).fit(X[["months", "spend"]], y)
    (folder / "forest.pkl").write_bytes(pickle.dumps(forest))
    done = run_here(folder, "new", "forest", "--model=forest.pkl")
    assert done.exit_code == 0, done.output
    libraries = read_manifest(folder / "forest" / "model.pkl").libraries
    text = (folder / "forest" / "requirements.txt").read_text()
    for name in ("scikit-learn", "numpy", "pandas"):
        assert f"{name}=={libraries[name]}\n" in text
    assert run_pytest(folder / "forest").returncode == 0


def test_new_project_with_custom_code_copies_the_modules_of_the_model(
    folder, customers, monkeypatch
):
    X, y = customers
    (folder / "ratios.py").write_text(
        "def with_ratio(X):\n    return X.assign(ratio=X.spend / X.months)\n"
    )
    monkeypatch.syspath_prepend(folder)
    from ratios import with_ratio

    columns = X[["months", "spend"]]
    pipeline = make_pipeline(FunctionTransformer(with_ratio), LogisticRegression()).fit(columns, y)
    (folder / "own.pkl").write_bytes(pickle.dumps(pipeline))
    monkeypatch.setenv("SLIPWAY_PICKLE_ALLOW", "ratios:with_ratio")
    done = run_here(folder, "new", "own-code", "--model=own.pkl")
    assert done.exit_code == 0, done.output
    monkeypatch.delenv("SLIPWAY_PICKLE_ALLOW")
    project = folder / "own-code"
    assert (project / "ratios.py").exists()
    assert 'SLIPWAY_PICKLE_ALLOW = "ratios:with_ratio"' in (project / "slipway.toml").read_text()
    assert run_pytest(project).returncode == 0


def test_new_project_without_model_has_a_starter_notebook(folder):
    done = run_here(folder, "new", "starter")
    assert done.exit_code == 0, done.output
    project = folder / "starter"
    notebook = json.loads((project / "notebooks" / "train.ipynb").read_text())
    assert "slipway.save" in "".join(notebook["cells"][-1]["source"])
    assert read_manifest(project / "model.pkl").signature.target.classes == (
        "setosa",
        "versicolor",
        "virginica",
    )
    assert run_pytest(project).returncode == 0


def test_new_on_a_terminal_prompts_for_the_options(folder, monkeypatch):
    monkeypatch.setattr("slipway.cli.new.is_terminal", lambda: True)
    answers = "fitted.pkl\ntrain.csv\nchurned\nWho leaves?\n"
    done = run_here(folder, "new", "asked", text=answers)
    assert done.exit_code == 0, done.output
    assert read_manifest(folder / "asked" / "model.pkl").title == "Who leaves?"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["churn"], "is not empty"),
        (["Churn_1"], "cannot name an app"),
        (["x"], "cannot name an app"),
        (["bad-model", "--model=train.csv"], "train.csv"),
        (["bad-target", "--model=fitted.pkl", "--data=train.csv", "--target=z"], "z"),
    ],
)
def test_new_invalid_arguments_print_one_line_and_write_nothing(project, folder, words, message):
    before = sorted(folder.iterdir())
    done = run_here(folder, "new", *words)
    assert done.exit_code == 1
    assert message in done.output
    assert len(done.output.strip().splitlines()) == 1
    assert sorted(folder.iterdir()) == before


def test_new_interrupted_leaves_no_files(folder, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("slipway.cli.project_files.write_project", interrupt)
    before = sorted(folder.iterdir())
    done = run_here(folder, "new", "halfway", "--model=fitted.pkl")
    assert done.exit_code == 1
    assert sorted(folder.iterdir()) == before


def test_update_unchanged_project_changes_nothing(copy):
    done = run_here(copy, "update")
    assert (done.exit_code, done.output) == (0, "nothing to update\n")


def record_older_text(copy, path, text):
    """Change the record as if an older version had written another text into a file."""
    record = json.loads((copy / RECORD).read_text())
    record["files"][path] = text
    (copy / RECORD).write_text(json.dumps(record))


def test_update_replaces_unchanged_files_and_keeps_changed_ones(copy):
    new = (copy / "Procfile").read_text()
    record_older_text(copy, "Procfile", "web: old\n")
    (copy / "Procfile").write_text("web: old\n")
    (copy / "mine.py").write_text("x = 1\n")
    (copy / "heroku.yml").write_text("# changed by the owner\n")
    (copy / "deploy" / "plan.sh").unlink()
    record_older_text(copy, "gone.txt", "written once\n")
    (copy / "gone.txt").write_text("written once\n")
    done = run_here(copy, "update")
    assert done.exit_code == 0, done.output
    assert done.output.split() == ["removed", "gone.txt", "updated", "Procfile"]
    assert (copy / "Procfile").read_text() == new
    assert (copy / "mine.py").read_text() == "x = 1\n"
    assert (copy / "heroku.yml").read_text() == "# changed by the owner\n"
    assert not (copy / "deploy" / "plan.sh").exists()


def test_update_file_changed_on_both_sides_is_merged(copy):
    new = (copy / "Makefile").read_text()
    record_older_text(copy, "Makefile", new.replace("PORT ?= 8000", "PORT ?= 7000"))
    changed = new.replace("PORT ?= 8000", "PORT ?= 7000") + "\nmine:\n\techo mine\n"
    (copy / "Makefile").write_text(changed)
    done = run_here(copy, "update")
    assert (done.exit_code, done.output) == (0, "merged   Makefile\n")
    assert (copy / "Makefile").read_text() == new + "\nmine:\n\techo mine\n"


def test_update_conflict_writes_the_new_file_beside_the_old(copy):
    new = (copy / "Procfile").read_text()
    record_older_text(copy, "Procfile", "web: old\n")
    (copy / "Procfile").write_text("web: mine\n")
    done = run_here(copy, "update", "--json")
    assert done.exit_code == 1
    assert json.loads(done.output) == [{"change": "conflict", "path": "Procfile"}]
    assert (copy / "Procfile").read_text() == "web: mine\n"
    assert (copy / "Procfile.new").read_text() == new


def test_update_outside_a_project_prints_one_line(tmp_path):
    done = run_here(tmp_path, "update")
    assert done.exit_code == 1
    assert done.output == "Error: this folder has no .slipway.json; `slipway new` writes projects\n"


def test_new_unwritable_folder_prints_one_line(tmp_path, folder):
    target = Path("/proc/churn-app")
    done = run_here(folder, "new", target, "--model=fitted.pkl")
    assert done.exit_code == 1
    assert done.output.startswith("Error: cannot write /proc/churn-app")
