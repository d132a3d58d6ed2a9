"""Read stored rows into frames for scikit-learn."""

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
        Numbers, texts or timestamps that increase with time.
    groups : Series of shape (n_rows,), optional
    held_out : ndarray of bool of shape (n_rows,)
        Whether a row is held out for the test.
    stride : int
        The rows are every ``stride``-th stored row; 1 for all rows.
    labels : dict of str to dict
        Display names, by feature and category.
    late : ndarray of bool of shape (n_rows,)
        Whether a row is on the test side of the time split.
    """

    X: pd.DataFrame
    y: pd.Series[int]
    order: pd.Series[Any]
    groups: pd.Series[Any] | None
    held_out: np.ndarray
    stride: int
    labels: dict[str, dict[str, str]]
    late: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))


def read_rows(problem: Problem, dataset: Dataset, max_rows: int | None = None) -> Rows:
    """Read stored rows into memory.

    Parameters
    ----------
    problem : Problem
    dataset : Dataset
    max_rows : int, optional
        The largest number of rows to read. With more stored rows, every second, third, ... is read.

    Returns
    -------
    Rows
    """
    stride = 1 if max_rows is None else max(1, -(-dataset.manifest.rows // max_rows))
    table = _read_table(problem, dataset, stride)
    order = cast(pl.Series, pl.from_arrow(table.column(problem.order_column)))
    return Rows(
        X=_to_typed_frame(table, problem.features),
        y=table.column(problem.target_column).to_pandas().astype("int64"),
        order=table.column(problem.order_column).to_pandas(),
        late=in_test_period(problem, order).to_numpy(),
        groups=table.column(problem.group_column).to_pandas() if problem.group_column else None,
        held_out=np.isin(table.column(FOLD).to_numpy(), HELD_OUT),
        stride=stride,
        labels=dataset.manifest.labels,
    )


def _read_table(problem: Problem, dataset: Dataset, stride: int) -> pa.Table:
    """Read the columns for training, of every ``stride``-th row."""
    optional = [problem.order_column, *([problem.group_column] if problem.group_column else [])]
    features = [feature.name for feature in problem.features]
    columns = [*dict.fromkeys([*features, problem.target_column, *optional]), FOLD]
    batches, n_read = [], 0
    for batch in dataset.batches(columns):
        positions = np.arange(-n_read % stride, len(batch), stride)
        batches.append(batch if stride == 1 else batch.take(pa.array(positions)))
        n_read += len(batch)
    # The type of a key or group can differ between files: integers, floats or texts.
    tables = [pa.Table.from_batches([batch]) for batch in batches]
    return pa.concat_tables(tables, promote_options="permissive").select(columns)


def _to_typed_frame(table: pa.Table, features: tuple[Feature, ...]) -> pd.DataFrame:
    """Convert each feature to the type that the pipeline gets in serving."""
    dtypes: dict[str, Any] = {feature.name: feature.column_type for feature in features}
    typed: pd.DataFrame = table.select([*dtypes]).to_pandas().astype(dtypes)
    return typed
