"""The layers of the package: allowed imports, and the modules that a process loads."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from conftest import ROOT

# A package imports itself and lower layers. Packages of one layer do not import each other.
LAYERS = (
    {"core"},
    {"models"},
    {"compiler", "data", "reports", "registry"},
    {"training"},
    {"serving"},
    {"monitoring"},
    {"web"},
    {"cli"},
)
LAYER = {package: layer for layer, packages in enumerate(LAYERS) for package in packages}
# The files of a project are not modules of the package.
FILES = sorted(
    path for path in (ROOT / "slipway").rglob("*.py") if "project_template" not in path.parts
)
TRAINING = {"sklearn", "pandas", "numpy", "scipy", "matplotlib", "duckdb", "slipway.training"}
WEB = {"flask", "werkzeug", "flasgger", "jinja2", "markupsafe"}
PREDICT_ONCE = """
import json, sys
from app import app
fields = json.loads(sys.argv[1])
answer = app.test_client().post("/predict", json=fields)
assert answer.status_code == 200, answer.text
print(json.dumps(sorted(sys.modules)))
"""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}


def imported_names(path: Path) -> Iterator[str]:
    """Yield all imports: at the top, in functions, and for type checking."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name if name in MODULES else str(node.module) for name in names)


IMPORTS = {name: {*imported_names(path)} for name, path in MODULES.items()}


def loaded_modules(code: str, *arguments: str) -> set[str]:
    process = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(process.stdout))


def test_packages_all_have_a_layer():
    packages = {
        path.name for path in (ROOT / "slipway").iterdir() if (path / "__init__.py").exists()
    }
    assert packages == set(LAYER)
    assert {path.name for path in (ROOT / "slipway").glob("*.py")} == {"__init__.py", "__main__.py"}


@pytest.mark.parametrize("name", MODULES)
def test_module_imports_only_its_package_and_lower_layers(name):
    package = name.split(".")[1] if "." in name else None
    if package == "__main__":
        return
    for other in IMPORTS[name]:
        if package is None or not other.startswith("slipway."):
            continue
        imported = other.split(".")[1]
        assert imported == package or LAYER[imported] < LAYER[package], f"{name} imports {other}"


def test_modules_have_no_import_cycles():
    imports = {
        name: {o for o in others if o in MODULES and o != name} for name, others in IMPORTS.items()
    }
    imports["slipway"] = set()
    order = [*TopologicalSorter(imports).static_order()]
    assert set(order) == set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_module_does_not_import_flights_and_only_web_and_cli_import_flask(name):
    packages = {other.split(".")[0] for other in IMPORTS[name]}
    assert "flights" not in packages
    if not name.startswith(("slipway.web", "slipway.cli", "slipway.reports")):
        assert not packages & WEB
    if name.startswith("slipway.reports"):
        assert not packages & {"flask", "werkzeug", "flasgger"}


def test_web_process_single_prediction_imports_no_training_library(example):
    loaded = loaded_modules(PREDICT_ONCE, json.dumps(example))
    assert "slipway.serving.service" in loaded
    assert not loaded & (TRAINING | {"polars", "flights"})


def test_package_import_loads_only_the_version():
    code = "import sys, json, slipway; print(json.dumps(sorted(sys.modules)))"
    loaded = loaded_modules(code)
    assert {name for name in loaded if name.startswith("slipway")} == {
        "slipway",
        "slipway.core",
        "slipway.core.version",
    }
    assert not loaded & {"flask", "msgspec", "sklearn"}


def test_public_names_load_on_first_use():
    code = (
        "import sys, json, slipway; assert callable(slipway.Feature); "
        "assert 'sklearn' not in sys.modules; "
        "assert [getattr(slipway, name) for name in slipway.__all__]; "
        "print(json.dumps(sorted(sys.modules)))"
    )
    assert "slipway.training.packaging.version" in loaded_modules(code)


def test_models_import_neither_numpy_nor_scikit_learn():
    # The unpickler imports these modules with the first array or frame.
    lazy = {"arrays", "compiled", "frames", "generators", "joblib_arrays"}
    names = [name for name in MODULES if name.startswith("slipway.models.")]
    eager = [n for n in names if n.removeprefix("slipway.models.unpickling.") not in lazy]
    assert len(eager) == len(names) - len(lazy)
    code = f"import sys, json, {', '.join(eager)}; print(json.dumps(sorted(sys.modules)))"
    assert not loaded_modules(code) & {"numpy", "sklearn", "pandas", "scipy"}
