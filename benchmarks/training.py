"""Time of the ETL and of a fit in memory, against a bare script: ``python -m benchmarks.training``.

Each round runs all of them in one process, after the imports. The output has the medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from slipway.data.dataset import HELD_OUT, open_dataset
from slipway.data.etl.run import run_etl
from slipway.data.problem import Problem
from slipway.data.problem_loading import load_problem
from slipway.training.engines.memory import fit
from slipway.training.frames import read_rows
from slipway.training.splits import holdout_split


def run_etl_once(problem: Problem, folder: Path) -> None:
    """Read the raw tables, run the query, validate and write the rows."""
    run_etl(problem, None, folder)


def fit_like_train(problem: Problem, folder: Path) -> None:
    """Fit as ``flask train`` does: open, verify, read and split the rows, then fit."""
    rows = read_rows(problem, open_dataset(folder))
    fit(problem, rows, holdout_split(rows))


def fit_by_hand(problem: Problem, folder: Path) -> None:
    """Fit as a bare script does: read the same files with pandas and fit the pipeline."""
    table = pd.concat(pd.read_parquet(file) for file in sorted(folder.glob("part-*.parquet")))
    table = table[~table["fold"].isin(HELD_OUT)]
    features = [feature.name for feature in problem.features]
    problem.pipeline().fit(table[features], table[problem.target_column])


def time_call(function: Callable[[Problem, Path], None], problem: Problem, folder: Path) -> float:
    """Return the seconds of one step."""
    started = time.perf_counter()
    function(problem, folder)
    return time.perf_counter() - started


STEPS = (run_etl_once, fit_like_train, fit_by_hand)


def main() -> None:
    """Measure the steps and print medians and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="measurement rounds; default: 5")
    rounds = parser.parse_args().rounds
    # Many hours have no rain, so that several quantiles are equal.
    warnings.filterwarnings("ignore", "Bins whose width are too small", UserWarning)
    problem, rounds_seconds = load_problem("flights"), []
    with TemporaryDirectory() as scratch:
        for _ in range(rounds + 1):
            rounds_seconds.append([time_call(step, problem, Path(scratch)) for step in STEPS])
    # The first round warms the disk's cache and the imports.
    all_etl, all_ours, all_bare = zip(*rounds_seconds[1:], strict=True)
    ratio = statistics.median(a / b for a, b in zip(all_ours, all_bare, strict=True))
    print(f"ETL of all flights: {statistics.median(all_etl):.2f} s")
    print(f"fit in memory: {statistics.median(all_ours):.2f} s, {ratio:.2f} times a bare script")


if __name__ == "__main__":
    main()
