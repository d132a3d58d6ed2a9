"""Split rows into a fit side and a test side."""

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
    """The positions of the rows to fit and to test on."""

    description: str
    fit: np.ndarray
    test: np.ndarray


def holdout_split(rows: Rows) -> Split:
    """Split the rows by their folds, which are a hash of each row's key.

    A held out row stays held out when rows are added. A later model can therefore be compared
    with an earlier one on rows that neither was fitted on.
    """
    share = len(HELD_OUT) / N_FOLDS
    description = f"a random {share:.0%} of the rows held out{_describe_stride(rows)}"
    return Split(description, np.flatnonzero(~rows.held_out), np.flatnonzero(rows.held_out))


def time_split(problem: Problem, rows: Rows) -> Split:
    """Split the rows in time: fit on the earlier rows, test on the later ones."""
    late = rows.late
    column, first = problem.order_column, problem.time_split
    description = (
        f"fitted on the rows before {column} {first}, tested on the rest{_describe_stride(rows)}"
    )
    return Split(description, np.flatnonzero(~late), np.flatnonzero(late))


def require_split(problem: Problem, dataset: Dataset) -> None:
    """Reject a ``time_split`` that leaves one class out of a side.

    Raises
    ------
    SlipwayError
        A side has rows of only one class; the message has the counts.
    """
    counts = np.zeros((2, 2), dtype=int)
    for batch in dataset.batches([problem.order_column, problem.target_column]):
        rows = cast(pl.DataFrame, pl.from_arrow(batch))
        late = in_test_period(problem, rows[problem.order_column]).to_numpy()
        np.add.at(counts, (late.astype(int), rows[problem.target_column].to_numpy()), 1)
    for word, side in zip(("before", "from"), counts, strict=True):
        if not side.all():
            positive = f"{side[1]:,} of them {problem.target.positive!r}"
            raise SlipwayError(
                f"time_split {problem.time_split} leaves {side.sum():,} rows {word} it, "
                f"{positive}; choose a value of {problem.order_column} with both classes on "
                "either side"
            )


def _describe_stride(rows: Rows) -> str:
    """Return a note if the rows are only a part of the stored rows."""
    return "" if rows.stride == 1 else f"; one row in {rows.stride}, since not all fit in memory"
