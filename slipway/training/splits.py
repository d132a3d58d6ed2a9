"""The ways of parting rows into those that are fitted on and those that are tested on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import polars as pl

from slipway.core.errors import SlipwayError
from slipway.data.dataset import HELD_OUT, N_FOLDS, Dataset
from slipway.data.etl.time_order import in_test_period
from slipway.data.problem import Problem
from slipway.training.frames import Rows

FIT_FOLDS = tuple(fold for fold in range(N_FOLDS) if fold not in HELD_OUT)


@dataclass(frozen=True)
class Split:
    """One way of parting the rows: which are fitted on, which are tested on."""

    description: str
    fit: np.ndarray
    test: np.ndarray


def holdout_split(rows: Rows) -> Split:
    """Part the rows by their folds, which are drawn by each row's key.

    A row that is held out once stays held out when others come, so that a later model can be
    compared with an earlier one on rows that neither was fitted on.
    """
    share = len(HELD_OUT) / N_FOLDS
    description = f"a random {share:.0%} of the rows held out{_sample(rows)}"
    return Split(description, np.flatnonzero(~rows.held_out), np.flatnonzero(rows.held_out))


def time_split(problem: Problem, rows: Rows) -> Split:
    """Part the rows in time: learn from the past, test on what came after."""
    late = rows.late
    column, first = problem.order_column, problem.time_split
    description = f"fitted on the rows before {column} {first}, tested on the rest{_sample(rows)}"
    return Split(description, np.flatnonzero(~late), np.flatnonzero(late))


def require_split(problem: Problem, stored: Dataset) -> None:
    """Reject a ``time_split`` that leaves a side without rows of both classes.

    Raises
    ------
    SlipwayError
        The message says how many rows each side has.
    """
    counts = np.zeros((2, 2), dtype=int)
    for batch in stored.batches([problem.order_column, problem.target_column]):
        rows = cast(pl.DataFrame, pl.from_arrow(batch))
        late = in_test_period(problem, rows[problem.order_column]).to_numpy()
        np.add.at(counts, (late.astype(int), rows[problem.target_column].to_numpy()), 1)
    for word, side in zip(("before", "from"), counts, strict=True):
        if not side.all():
            of = f", of which {side[1]:,} are {problem.target.positive!r}"
            raise SlipwayError(
                f"time_split {problem.time_split} leaves {side.sum():,} rows {word} it{of}; choose "
                f"a value of {problem.order_column} with rows of both classes on either side"
            )


def _sample(rows: Rows) -> str:
    """Say where these are not all of the rows."""
    return "" if rows.every == 1 else f"; one row in {rows.every}, since not all fit in memory"
