"""The ways of parting rows into those that are fitted on and those that are tested on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slipway.etl.stored import HELD_OUT, N_FOLDS
from slipway.problem import Problem
from slipway.training.rows import Rows

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
    late = rows.order.to_numpy() >= problem.time_split
    column, first = problem.order_column, problem.time_split
    description = f"fitted on the rows before {column} {first}, tested on the rest{_sample(rows)}"
    return Split(description, np.flatnonzero(~late), np.flatnonzero(late))


def _sample(rows: Rows) -> str:
    """Say where these are not all of the rows."""
    return "" if rows.every == 1 else f"; one row in {rows.every}, since not all fit in memory"
