"""The committed notebooks, and the files that they write."""

import os
import pickle
import re

import msgspec
import nbformat
import numpy as np
import pytest
from conftest import ROOT
from nbconvert.preprocessors import ExecutePreprocessor

from slipway.models.manifest import read_manifest

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FOLDERS = "bin|builds|home|mnt|opt|private|root|srv|tmp|Users|usr|var|work|workspace|workspaces"
MACHINE_PATH = re.compile(rf"(?<![\w.:/])/(?:{FOLDERS})/|[A-Z]:\\\\|site-packages|dist-packages")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    """The folder between the training and the evaluation notebook."""
    return tmp_path_factory.mktemp("model")


@pytest.fixture(scope="module")
def executed(output):
    """The notebooks by name, each executed once, in order."""
    search = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = {}
    with pytest.MonkeyPatch.context() as environment:
        # A kernel is a separate process that inherits these variables.
        environment.setenv("SLIPWAY_NOTEBOOK_OUTPUT", str(output))
        environment.setenv("PYTHONPATH", search)
        for path in NOTEBOOKS:
            notebook = nbformat.read(path, as_version=4)
            for cell in code_cells(notebook):
                cell.outputs, cell.execution_count = [], None
            processor = ExecutePreprocessor(timeout=900, kernel_name="python3")
            processor.preprocess(notebook, {"metadata": {"path": str(path.parent)}})
            done[path.stem] = notebook
    return done


@pytest.fixture(scope="module")
def trained(executed, output):
    """The pickle that the training notebook wrote."""
    assert "2_training" in executed
    return output / "model.pkl"


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def committed(request):
    return nbformat.read(request.param, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook):
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def numbers(value):
    """Yield all numbers in nested builtins, in order."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [number for one in value for number in numbers(one)]
    return [float(value)] if isinstance(value, int | float) else []


def coefficients(path):
    regression = pickle.loads(path.read_bytes())[-1]
    return np.append(regression.coef_, regression.intercept_)


def test_notebooks_match_the_documentation():
    assert [path.stem for path in NOTEBOOKS] == ["1_data", "2_training", "3_evaluation"]


def test_committed_notebook_was_executed_in_order_without_error(committed):
    cells = code_cells(committed)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    kinds = [output.output_type for output in outputs(committed)]
    assert "error" not in kinds
    assert sum("image/png" in output.get("data", {}) for output in outputs(committed)) >= 5
    assert not [o.text for o in outputs(committed) if o.get("name") == "stderr"]


def test_committed_notebook_names_no_path_of_a_machine(committed):
    assert not MACHINE_PATH.search(nbformat.writes(committed))
    assert not [cell for cell in committed.cells if cell.metadata]


def test_executed_notebooks_have_no_errors_or_warnings(executed):
    for notebook in executed.values():
        assert not [o.text for o in outputs(notebook) if o.get("name") == "stderr"]


def test_training_notebook_writes_model_and_manifest(trained):
    assert trained.is_file()
    assert read_manifest(trained).estimator == "LogisticRegression"


def test_training_notebook_reproduces_the_committed_coefficients(trained):
    expected = coefficients(ROOT / "model.pkl")
    np.testing.assert_allclose(coefficients(trained), expected, rtol=0, atol=1e-9)


def test_training_notebook_reproduces_the_committed_scorecard(trained):
    paths = (trained, ROOT / "model.pkl")
    (trained_values,), (expected,) = (read_manifest(path).scorecard.sums for path in paths)
    for ours, theirs in zip(trained_values.terms, expected.terms, strict=True):
        assert ours.feature == theirs.feature
    ours, theirs = (numbers(msgspec.to_builtins(one)) for one in (trained_values, expected))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)


def test_training_notebook_reproduces_the_committed_evaluations(trained):
    trained_values, expected = (
        read_manifest(path).evaluations for path in (trained, ROOT / "model.pkl")
    )
    assert trained_values.keys() == expected.keys()
    ours, theirs = (numbers(msgspec.to_builtins(one)) for one in (trained_values, expected))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


def test_evaluation_notebook_reads_the_newly_trained_model(executed, trained):
    printed = "".join(
        o.text for o in outputs(executed["3_evaluation"]) if o.get("name") == "stdout"
    )
    assert f"model version {read_manifest(trained).version}" in printed
