"""Tests of docs/own-models.md: its commands run, and its limit is that of the code."""

from __future__ import annotations

import pickle
import re
import shlex
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from slipway.models.manifest import read_manifest
from slipway.models.validation import MAX_TEXT

PAGE = (ROOT / "docs" / "own-models.md").read_text()
COMMANDS = re.findall(r"^flask .*$", PAGE, flags=re.MULTILINE)


@pytest.fixture
def folder(tmp_path):
    """A folder with a model fitted on an array, and its rows with an id column."""
    draw = np.random.default_rng(0)
    age, spend = draw.integers(18, 80, 300), draw.gamma(2.0, 40.0, 300)
    target = (age + draw.normal(0, 10, 300) > 50).astype(int)
    model = make_pipeline(StandardScaler(), LogisticRegression())
    model.fit(np.column_stack([age, spend]), target)
    (tmp_path / "fitted.pkl").write_bytes(pickle.dumps(model))
    rows = pd.DataFrame({"id": range(300), "age": age, "spend": spend, "left": target})
    rows.to_csv(tmp_path / "train.csv", index=False)
    return tmp_path


def run(command, folder):
    words = [
        sys.executable,
        "-m",
        "flask",
        "--app",
        str(ROOT / "app.py"),
        *shlex.split(command)[1:],
    ]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)


def test_own_models_page_command_with_options_sets_the_features(folder):
    command = next(line for line in COMMANDS if "--features" in line)
    result = run(command, folder)
    assert result.returncode == 0, result.stderr
    assert read_manifest(folder / "model.churn.pkl").signature.names == ("age", "spend")


def test_own_models_page_command_without_options_suggests_them(folder):
    command = next(line for line in COMMANDS if "--features" not in line)
    result = run(command, folder)
    assert result.returncode == 1
    assert "--features age,spend --target left --drop id" in result.stderr
    assert not (folder / "model.churn.pkl").exists()


def test_own_models_page_command_without_options_uses_feature_names(folder):
    rows = pd.read_csv(folder / "train.csv")
    model = LogisticRegression(max_iter=1000).fit(rows[["age", "spend"]], rows["left"])
    (folder / "fitted.pkl").write_bytes(pickle.dumps(model))
    result = run(next(line for line in COMMANDS if "--features" not in line), folder)
    assert result.returncode == 0, result.stderr
    assert read_manifest(folder / "model.churn.pkl").signature.target.name == "left"


def test_own_models_page_states_the_text_limit():
    assert f"{MAX_TEXT:,} characters" in PAGE
