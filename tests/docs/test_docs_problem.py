"""Tests of docs/problem.md: its module loads, and its messages are those of the checks."""

import csv
import re
import sys

import pytest
from conftest import ROOT

from slipway.core.errors import SlipwayError
from slipway.data.dataset import open_dataset
from slipway.data.etl.run import run_etl
from slipway.data.problem_loading import load_problem

PAGE = (ROOT / "docs" / "problem.md").read_text(encoding="utf-8")
(MODULE,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the page's module and 300 customers, as the current directory."""
    (tmp_path / "churn.py").write_text(MODULE, encoding="utf-8")
    with (tmp_path / "customers.csv").open("w", newline="") as file:
        write = csv.writer(file)
        write.writerow(["customer", "plan", "age", "leaves", "joined"])
        for i in range(300):
            plan, joined = "basic" if i % 3 else "plus", f"2024-{1 + i % 12:02}-01"
            write.writerow([i, plan, 20 + i % 50, i % 2, joined])
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "churn", raising=False)
    return tmp_path


def test_problem_page_module_loads_all_rows(folder):
    run_etl(load_problem("churn"), None, folder / "rows")
    manifest = open_dataset(folder / "rows").manifest
    assert (manifest.rows, manifest.quarantined) == (300, {})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('slices=("plan",)', 'slices=("segment",)'),
        ("leaves, joined FROM", "leaves FROM"),
        ('"Age of the customer", 40', '"Age of the customer", 180'),
    ],
)
def test_problem_page_error_in_module_has_a_message_of_the_page(folder, old, new):
    assert old in MODULE
    (folder / "churn.py").write_text(MODULE.replace(old, new), encoding="utf-8")
    with pytest.raises(SlipwayError) as caught:
        load_problem("churn")
    assert f"Error: {caught.value.message}\n" in PAGE
