"""Tests of the files of a project; this repository is the project of the flights."""

import json

import pytest
import yaml
from conftest import ROOT

from slipway.cli.project import Project, render_project
from slipway.cli.project_pins import _WEB_PINS

pytest_plugins = ["churn_model"]
FLIGHTS = Project(
    "slipway",
    "Will a flight leaving New York arrive late?",
    {"SLIPWAY_PROBLEM": "flights"},
    in_repository=True,
)
# Files that differ in this repository on purpose.
DIFFERENT = {
    "Makefile": "has the targets of the package: lint, benchmarks, documentation, fuzzing",
    "README.md": "is about Slipway",
    "requirements.txt": "holds the package's own dependencies, with hashes",
    "requirements-train.txt": "as requirements.txt",
    "requirements-dev.txt": "holds what the package's tests need",
    ".github/workflows/integration.yaml": "runs .ci/run on four versions of Python",
    "templates/introduction.html": "has its own introduction of the flights",
    "tests/conftest.py": "belongs to the package's tests",
    "tests/test_model.py": "the package's tests include it",
    "tests/test_service.py": "the package's tests include it",
    "notebooks/README.md": "docs/index.md introduces the notebooks",
}


@pytest.fixture(scope="module")
def flights():
    return render_project(FLIGHTS, ROOT / "model.pkl")


def test_repository_files_equal_the_rendered_project(flights):
    differing = {
        path
        for path, content in flights.items()
        if not (ROOT / path).exists() or (ROOT / path).read_text(encoding="utf-8") != content
    }
    assert differing == set(DIFFERENT)


def test_project_of_another_model_does_not_mention_flights(tmp_path, own_version):
    files = render_project(Project("churn", "Will this customer leave?"), own_version)
    for path, content in files.items():
        assert "flight" not in content.lower(), path


def test_rendered_files_are_valid(own_version):
    title = 'Is "it" {{ 7 * 7 }} <b>?'
    files = render_project(Project("churn", title, {"SLIPWAY_PICKLE_ALLOW": "a:b"}), own_version)
    assert json.loads(files["app.json"])["description"] == title
    for path, content in files.items():
        if path.endswith((".yaml", ".yml")) and "stack" not in path:
            assert yaml.safe_load(content), path
        if path.endswith(".py"):
            compile(content, path, "exec")
    assert files["slipway.toml"].endswith('SLIPWAY_PICKLE_ALLOW = "a:b"\n')


def test_web_pins_equal_those_of_requirements():
    pins = [line for line in _WEB_PINS.read_text().splitlines() if line]
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    assert pins == [line.removesuffix(" \\") for line in lines if line[:1].isalnum()]
