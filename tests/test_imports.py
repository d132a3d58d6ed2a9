"""The layers of the design, shown in fresh processes."""

import ast
import json
import subprocess
import sys

import pytest
from conftest import ROOT

TRAINING = {"sklearn", "pandas", "numpy", "scipy", "matplotlib", "duckdb", "slipway.training"}
PREDICT_ONCE = """
import json, sys
from app import app
fields = json.loads(sys.argv[1])
answer = app.test_client().post("/predict", json=fields)
assert answer.status_code == 200, answer.text
print(json.dumps(sorted(sys.modules)))
"""


def modules_after(code: str, *arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(done.stdout))


def test_web_process_single_prediction_imports_no_training_library(example):
    loaded = modules_after(PREDICT_ONCE, json.dumps(example))
    assert "slipway.serving.service" in loaded
    assert not loaded & (TRAINING | {"polars", "flights"})


def test_package_import_does_no_work():
    code = "import sys, json, slipway; print(json.dumps(sorted(sys.modules)))"
    assert not modules_after(code) & {"flask", "msgspec", "sklearn", "slipway.serving.service"}


@pytest.mark.parametrize("module", ["signature", "curve", "scorecard", "errors", "config"])
def test_lower_layers_import_nothing_above_them(module):
    lowest = ("errors", "signature", "values", "models", "models.features", module)
    allowed = {"slipway", *(f"slipway.{name}" for name in lowest)}
    below = {"curve", "models.labels", "models.links"}
    allowed |= {f"slipway.{name}" for name in below} if module == "scorecard" else set()
    code = f"import sys, json, slipway.{module}; print(json.dumps(sorted(sys.modules)))"
    ours = {name for name in modules_after(code) if name.startswith("slipway")}
    assert ours <= allowed


def imported_names(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize(
    "path", sorted((ROOT / "slipway").rglob("*.py")), ids=lambda path: path.stem
)
def test_slipway_module_knows_no_flights_and_only_the_web_knows_flask(path):
    names = {name.split(".")[0] for name in imported_names(path)}
    assert "flights" not in names
    inside = path.relative_to(ROOT / "slipway")
    if inside.parts[0] != "web" and not inside.stem.endswith("cli"):
        assert not names & {"flask", "werkzeug", "flasgger"}
