"""Schemathesis with all its checks, against running services."""

import os
import subprocess
import sys

import pytest
from all_kinds import save_all_kinds
from conftest import GUNICORN, IMPORTS, ROOT, running


def check_with_schemathesis(base, examples, **environ):
    command = ["-m", "schemathesis.cli", "run", f"{base}/apispec_1.json", "--url", base]
    options = ["--checks", "all", "--max-examples", str(examples), "--seed", "2013", "--no-color"]
    done = subprocess.run(
        [sys.executable, *command, *options],
        cwd=ROOT,
        env=os.environ | {"SCHEMATHESIS_HOOKS": "tests.helpers.schemathesis_hooks"} | environ,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert "7 selected / 7 total" in done.stdout
    assert "No issues found" in done.stdout


@pytest.mark.slow
def test_service_shipped_model_matches_document(service):
    check_with_schemathesis(service, 100)


@pytest.mark.slow
def test_service_every_kind_of_feature_matches_document(tmp_path):
    save_all_kinds(tmp_path)
    environ = {"SLIPWAY_MODEL": str(tmp_path / "model.pkl"), "PYTHONPATH": IMPORTS}
    with running(*GUNICORN, **environ) as (base, _):
        check_with_schemathesis(base, 50, SLIPWAY_MODEL=environ["SLIPWAY_MODEL"])
