"""Schemathesis, with all its checks, against the running service."""

import os
import subprocess
import sys

import pytest
from conftest import ROOT


@pytest.mark.slow
def test_service_keeps_every_promise_of_its_document(service):
    command = ["-m", "schemathesis.cli", "run", f"{service}/apispec_1.json", "--url", service]
    options = ["--checks", "all", "--max-examples", "100", "--seed", "2013", "--no-color"]
    environ = os.environ | {"SCHEMATHESIS_HOOKS": "tests.schemathesis_hooks"}
    done = subprocess.run(
        [sys.executable, *command, *options],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert "7 selected / 7 total" in done.stdout
    assert "No issues found" in done.stdout
