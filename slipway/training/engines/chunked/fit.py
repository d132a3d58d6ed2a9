"""Fit a logistic regression on more rows than fit in memory, as it would be fitted on all.

First every value is counted, then every row becomes a few small codes in a scratch file, then
Newton's method passes over the codes. What the transformers learn, and the coefficients, are
those of a fit in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from contextlib import closing
from typing import Literal

from sklearn.pipeline import Pipeline

from slipway.core.errors import SlipwayError
from slipway.data.dataset import Dataset
from slipway.data.problem import Problem
from slipway.training.engines.chunked.coded_rows import (
    Coder,
    open_scratch,
    typed_frame,
    write_codes,
)
from slipway.training.engines.chunked.design_matrix import build_design, require_same_rows
from slipway.training.engines.chunked.feature_columns import raw_columns
from slipway.training.engines.chunked.memory_budget import MemoryBudget, find_memory_budget
from slipway.training.engines.chunked.optimizers import Fit
from slipway.training.engines.chunked.penalty import find_penalty
from slipway.training.engines.chunked.progress import ProgressLog
from slipway.training.engines.chunked.sample import Sample
from slipway.training.engines.chunked.transformers import assemble, fit_transformers
from slipway.training.engines.chunked.value_counts import Counts, count_rows

Progress = Callable[[str], None]
CHECKED_ROWS = 2_000


def fit_chunks(
    problem: Problem,
    stored: Dataset,
    *,
    memory: int,
    folds: Container[int],
    progress: Progress,
    combine: Literal["passes", "average"] = "passes",
    part_rows: int | None = None,
) -> Pipeline:
    """Fit a problem's pipeline on stored rows, a chunk of them at a time.

    Parameters
    ----------
    problem : Problem
    stored : Dataset
    memory : int
        How many bytes the process may take in all.
    folds : container of int
        The folds whose rows are fitted on.
    progress : callable
        Told each stage, its pace and the time that it still takes.
    combine : {"passes", "average"}
        One regression by passes over all rows, which is the one that a fit in memory finds; or
        the average of a regression for each chunk, by rows (Mcdonald et al., NIPS 2009; Zhang,
        Duchi and Wainwright, JMLR 14, 2013), which takes fewer passes and is another.
    part_rows : int, optional
        How many rows make a part of which the average is taken; by default what fits.

    Returns
    -------
    Pipeline
        Fitted; the same as by its own ``fit`` on all rows.

    Raises
    ------
    SlipwayError
        The pipeline cannot be fitted so, the rows do not hold two classes, or there is too
        little memory or disk; the message says what to do.
    """
    pipeline = problem.pipeline()
    find_penalty(pipeline, (1, 1))
    room = find_memory_budget(memory, len(problem.features) + 2)
    counts = _counted(problem, stored, folds, room, progress)
    classes = _classes(counts.pop(problem.target_column), problem)
    progress("fitting the encoders on the distinct values")
    transformers = fit_transformers(pipeline, counts, problem.features)
    design = build_design(transformers, raw_columns(problem.features, counts))
    penalty = find_penalty(pipeline, classes)
    sample = Sample(design, room.sample_rows, sum(classes))
    with closing(open_scratch(design, sum(classes))) as coded:
        coder = Coder(design, counts, problem.target_column)
        pace = ProgressLog(progress, "writing codes", stored.manifest.rows)
        # Rows that come one after the other are alike; a part takes some from everywhere.
        mixed = combine == "average"
        written = write_codes(
            stored, coder, folds, rows=room.batch_rows, pace=pace, into=coded, mixed=mixed
        )
        for i, (batch, used, rows) in enumerate(written):
            sample.add(rows)
            if not i:
                some = batch.filter(used)[:CHECKED_ROWS]
                cells = rows[:CHECKED_ROWS, :-1] + design.starts
                require_same_rows(design, transformers, typed_frame(some, problem.features), cells)
        fit = Fit(coded, sample, penalty, room, progress)
        beta, n_iter = fit.by_average(part_rows) if combine == "average" else fit.by_passes()
    return assemble(
        pipeline, transformers, beta[1:], float(beta[0]), n_iter=n_iter, names=design.names
    )


def _counted(
    problem: Problem,
    stored: Dataset,
    folds: Container[int],
    room: MemoryBudget,
    progress: Progress,
) -> dict[str, Counts]:
    """Count the values of the features and of the target."""
    pace = ProgressLog(progress, "counting values", stored.manifest.rows)
    return count_rows(
        stored,
        problem.features,
        problem.target_column,
        folds,
        memory=room.counts,
        rows=room.batch_rows,
        told=pace.add,
    )


def _classes(target: Counts, problem: Problem) -> tuple[int, int]:
    """Give how many rows the negative and the positive class have."""
    by_value = dict(zip(target.values.tolist(), target.counts.tolist(), strict=True))
    negative, positive = int(by_value.pop(0, 0)), int(by_value.pop(1, 0))
    if by_value or target.missing:
        raise SlipwayError(f"{problem.target_column} must be 0 or 1 in every row")
    if not negative or not positive:
        n_rows = f"{negative + positive:,} rows"
        raise SlipwayError(f"{problem.target_column} has only one class in {n_rows}")
    return negative, positive
