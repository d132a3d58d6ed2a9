"""Fit a logistic regression on more rows than fit in memory.

The first pass counts every value. The second pass encodes every row as a few small codes in a
scratch file. Newton's method then passes over the codes. The fitted transformers and the
coefficients are those of a fit in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from contextlib import closing
from typing import Literal

import pyarrow as pa
from sklearn.pipeline import Pipeline

from slipway.core.errors import SlipwayError
from slipway.data.dataset import Dataset
from slipway.data.problem import Problem
from slipway.training.engines.chunked.coded_rows import (
    CodeArray,
    RowEncoder,
    encode_rows,
    open_scratch,
    to_typed_frame,
)
from slipway.training.engines.chunked.design_matrix import build_design, require_same_rows
from slipway.training.engines.chunked.feature_columns import raw_columns
from slipway.training.engines.chunked.memory_budget import MemoryBudget, find_memory_budget
from slipway.training.engines.chunked.optimizers import LogisticFit
from slipway.training.engines.chunked.penalty import find_penalty
from slipway.training.engines.chunked.progress import ProgressLog
from slipway.training.engines.chunked.sample import Sample
from slipway.training.engines.chunked.transformers import assemble, fit_transformers
from slipway.training.engines.chunked.value_counts import Counts, count_values

Progress = Callable[[str], None]
CHECKED_ROWS = 2_000


def fit_chunks(
    problem: Problem,
    dataset: Dataset,
    *,
    memory: int,
    folds: Container[int],
    progress: Progress,
    combine: Literal["passes", "average"] = "passes",
    part_rows: int | None = None,
) -> Pipeline:
    """Fit a problem's pipeline on stored rows, chunk by chunk.

    Parameters
    ----------
    problem : Problem
    dataset : Dataset
    memory : int
        Memory limit of the whole process in bytes.
    folds : container of int
        The folds whose rows are fitted on.
    progress : callable
        Called with each stage, its speed and remaining time.
    combine : {"passes", "average"}
        "passes" fits one regression in passes over all rows, with the result of a fit in
        memory. "average" averages one regression for each part, weighted by rows (Mcdonald et
        al., NIPS 2009; Zhang, Duchi and Wainwright, JMLR 14, 2013). It takes fewer passes, but
        has another result.
    part_rows : int, optional
        The number of rows of a part to average; by default as many as fit in memory.

    Returns
    -------
    Pipeline
        The fitted pipeline, the same as from its own ``fit`` on all rows.

    Raises
    ------
    SlipwayError
        The pipeline cannot be fitted in chunks, the rows do not have two classes, or memory or
        disk space is too small; the message says what to do.
    """
    pipeline = problem.pipeline()
    find_penalty(pipeline, (1, 1))
    budget = find_memory_budget(memory, len(problem.features) + 2)
    counts = _count_values(problem, dataset, folds, budget, progress)
    classes = _count_classes(counts.pop(problem.target_column), problem)
    progress("fitting the encoders on the distinct values")
    transformers = fit_transformers(pipeline, counts, problem.features)
    design = build_design(transformers, raw_columns(problem.features, counts))
    penalty = find_penalty(pipeline, classes)
    sample = Sample(design, budget.sample_rows, sum(classes))
    with closing(open_scratch(design, sum(classes))) as coded:
        encoded = encode_rows(
            dataset,
            RowEncoder(design, counts, problem.target_column),
            folds,
            rows=budget.batch_rows,
            progress_log=ProgressLog(progress, "writing codes", dataset.manifest.rows),
            coded_rows=coded,
            # Successive rows are similar, so each part takes rows from everywhere.
            shuffle=combine == "average",
        )
        _draw_sample(encoded, sample, transformers, problem)
        fit = LogisticFit(coded, sample, penalty, budget, progress)
        result = fit.fit_by_average(part_rows) if combine == "average" else fit.fit_in_passes()
    beta, n_iter = result
    return assemble(
        pipeline, transformers, beta[1:], float(beta[0]), n_iter=n_iter, names=design.names
    )


def _draw_sample(
    encoded: Iterable[tuple[pa.RecordBatch, pa.Array, CodeArray]],
    sample: Sample,
    transformers: Pipeline,
    problem: Problem,
) -> None:
    """Draw the sample from encoded batches, and check the design on the first of them."""
    design = sample.design
    for i, (batch, used, rows) in enumerate(encoded):
        sample.add(rows)
        if not i:
            checked = to_typed_frame(batch.filter(used)[:CHECKED_ROWS], problem.features)
            cells = rows[:CHECKED_ROWS, :-1] + design.starts
            require_same_rows(design, transformers, checked, cells)


def _count_values(
    problem: Problem,
    dataset: Dataset,
    folds: Container[int],
    budget: MemoryBudget,
    progress: Progress,
) -> dict[str, Counts]:
    """Count the values of the features and of the target."""
    progress_log = ProgressLog(progress, "counting values", dataset.manifest.rows)
    return count_values(
        dataset,
        problem.features,
        problem.target_column,
        folds,
        memory=budget.counts,
        rows=budget.batch_rows,
        on_rows=progress_log.add,
    )


def _count_classes(target: Counts, problem: Problem) -> tuple[int, int]:
    """Return the numbers of rows of the negative and the positive class."""
    by_value = dict(zip(target.values.tolist(), target.counts.tolist(), strict=True))
    negative, positive = int(by_value.pop(0, 0)), int(by_value.pop(1, 0))
    if by_value or target.missing:
        raise SlipwayError(f"{problem.target_column} must be 0 or 1 in every row")
    if not negative or not positive:
        n_rows = f"{negative + positive:,} rows"
        raise SlipwayError(f"{problem.target_column} has only one class in {n_rows}")
    return negative, positive
