"""Tests of the Hypothesis profiles: the same examples on every machine and in any test order."""

import subprocess
import sys

import pytest
from conftest import IMPORTS

DRAW_SCRIPT = """
import importlib, sys
from hypothesis import given, settings, strategies as st
import hypothesis_profiles
hypothesis_profiles.register_profiles()
if sys.argv[1] != "fixed":
    settings.load_profile(sys.argv[1])
for name in sys.argv[2:]:
    importlib.import_module(name)
@given(st.tuples(st.text(), st.integers(), st.floats()))
def draw(values):
    print(ascii(values))
draw()
"""


@pytest.fixture
def draw_examples(tmp_path):
    script = tmp_path / "draw.py"
    script.write_text(DRAW_SCRIPT)

    def run(*words, **environ):
        command = [sys.executable, script, *words]
        paths = {"PYTHONPATH": IMPORTS}
        process = subprocess.run(command, env=paths | environ, capture_output=True, check=False)
        assert process.returncode == 0, process.stderr.decode()
        return process.stdout

    return run


def test_fixed_profile_other_imports_draws_the_same_examples(draw_examples):
    first = draw_examples("fixed")
    assert first.count(b"\n") == 100
    other = draw_examples(
        "fixed",
        "slipway.monitoring.smoke",
        "slipway.reports.model_card",
        "small_problem",
        PYTHONHASHSEED="7",
    )
    assert other == first
    assert draw_examples("fixed", CI="true") == first


def test_fuzz_profile_two_runs_draw_different_examples(draw_examples):
    assert draw_examples("fuzz") != draw_examples("fuzz")
