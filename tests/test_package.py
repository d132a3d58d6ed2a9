"""Tests of the wheel."""

import shutil
import subprocess
import sys
import zipfile

import pytest
from conftest import ROOT


@pytest.mark.slow
def test_wheel_contains_code_and_package_data(tmp_path):
    command = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), "."]
    copy = tmp_path / "source"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in ("slipway", "flights"):
        # Other tests write bytecode at the same time, through temporary files.
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    subprocess.run([sys.executable, *command], cwd=copy, check=True)
    (wheel,) = tmp_path.glob("slipway-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "slipway/serving/service.py",
        "slipway/web/specs/predict.yml",
        "slipway/training/train.py",
        "flights/query.sql",
    } <= names
    assert not any(name.startswith("tests/") for name in names)
