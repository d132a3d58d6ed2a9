"""The ETL, and a fit in memory beside a bare script: ``python -m benchmarks.training``.

Each round does all of it, in one process after what is imported; medians are printed.
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


def etl(problem: Problem, folder: Path) -> None:
    """Read the raw tables, run the query, check and write the rows."""
    run_etl(problem, None, folder)


def ours(problem: Problem, folder: Path) -> None:
    """Fit as ``flask train`` does: rows opened and checked, read, parted, fitted."""
    rows = read_rows(problem, open_dataset(folder))
    fit(problem, rows, holdout_split(rows))


def bare(problem: Problem, folder: Path) -> None:
    """Fit as one would by hand: pandas reads the same files, and the pipeline is fitted."""
    table = pd.concat(pd.read_parquet(file) for file in sorted(folder.glob("part-*.parquet")))
    table = table[~table["fold"].isin(HELD_OUT)]
    features = [feature.name for feature in problem.features]
    problem.pipeline().fit(table[features], table[problem.target_column])


def seconds(work: Callable[[Problem, Path], None], problem: Problem, folder: Path) -> float:
    """Time one of them."""
    started = time.perf_counter()
    work(problem, folder)
    return time.perf_counter() - started


def main() -> None:
    """Measure, and print medians and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    # Many hours have no rain at all, so that several of its quantiles are the same.
    warnings.filterwarnings("ignore", "Bins whose width are too small", UserWarning)
    problem, found = load_problem("flights"), []
    with TemporaryDirectory() as scratch:
        for _ in range(rounds + 1):
            found.append([seconds(work, problem, Path(scratch)) for work in (etl, ours, bare)])
    # The first round warms the disk's cache and the imports.
    all_etl, all_ours, all_bare = zip(*found[1:], strict=True)
    ratio = statistics.median(a / b for a, b in zip(all_ours, all_bare, strict=True))
    print(f"ETL of all flights: {statistics.median(all_etl):.2f} s")
    print(
        f"fit in memory: {statistics.median(all_ours):.2f} s, {ratio:.2f} of a bare script's time"
    )


if __name__ == "__main__":
    main()
