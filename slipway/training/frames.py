"""Stored rows as the frames that scikit-learn takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

from slipway.data.dataset import FOLD, HELD_OUT, Dataset
from slipway.data.etl.time_order import in_test_period
from slipway.data.problem import Problem
from slipway.models.features import Feature


@dataclass(frozen=True)
class Rows:
    """Rows in memory.

    Attributes
    ----------
    X : DataFrame of shape (n_rows, n_features)
    y : Series of shape (n_rows,)
        1 for the positive class, else 0.
    order : Series of shape (n_rows,)
        Numbers, texts or moments that grow with time.
    groups : Series of shape (n_rows,), optional
    held_out : ndarray of bool of shape (n_rows,)
        Whether a row is kept from the fit, to test on.
    every : int
        Each how many of the stored rows these are; 1 where they are all.
    labels : dict of str to dict
        Display names, by feature and category.
    late : ndarray of bool of shape (n_rows,)
        Whether a row belongs to the test in time.
    """

    X: pd.DataFrame
    y: pd.Series[int]
    order: pd.Series[Any]
    groups: pd.Series[Any] | None
    held_out: np.ndarray
    every: int
    labels: dict[str, dict[str, str]]
    late: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))


def read_rows(problem: Problem, stored: Dataset, most: int | None = None) -> Rows:
    """Read stored rows into memory.

    Parameters
    ----------
    problem : Problem
    stored : Dataset
    most : int, optional
        More than these do not fit: then it is every second row, or every third, and so on.

    Returns
    -------
    Rows
    """
    every = 1 if most is None else max(1, -(-stored.manifest.rows // most))
    table = _table(problem, stored, every)
    order = cast(pl.Series, pl.from_arrow(table.column(problem.order_column)))
    return Rows(
        X=_typed(table, problem.features),
        y=table.column(problem.target_column).to_pandas().astype("int64"),
        order=table.column(problem.order_column).to_pandas(),
        late=in_test_period(problem, order).to_numpy(),
        groups=table.column(problem.group_column).to_pandas() if problem.group_column else None,
        held_out=np.isin(table.column(FOLD).to_numpy(), HELD_OUT),
        every=every,
        labels=stored.manifest.labels,
    )


def _table(problem: Problem, stored: Dataset, every: int) -> pa.Table:
    """Read the columns that training needs of every so many rows."""
    optional = [problem.order_column, *([problem.group_column] if problem.group_column else [])]
    features = [feature.name for feature in problem.features]
    columns = [*dict.fromkeys([*features, problem.target_column, *optional]), FOLD]
    batches, before = [], 0
    for batch in stored.batches(columns):
        wanted = np.arange(-before % every, len(batch), every)
        batches.append(batch if every == 1 else batch.take(pa.array(wanted)))
        before += len(batch)
    # A key or a group may be of integers in one file and of fractions or texts in another.
    tables = [pa.Table.from_batches([batch]) for batch in batches]
    return pa.concat_tables(tables, promote_options="permissive").select(columns)


def _typed(table: pa.Table, features: tuple[Feature, ...]) -> pd.DataFrame:
    """Give each feature the type that the pipeline meets when it serves."""
    dtypes: dict[str, Any] = {feature.name: feature.column_type for feature in features}
    typed: pd.DataFrame = table.select([*dtypes]).to_pandas().astype(dtypes)
    return typed
