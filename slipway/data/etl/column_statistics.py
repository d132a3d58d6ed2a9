"""Statistics of the columns of a dataset, and the checks that use them."""

from __future__ import annotations

import duckdb
import polars as pl

from slipway.core.errors import SlipwayError
from slipway.data.dataset import ColumnStatistics, Dataset
from slipway.data.problem import Problem
from slipway.data.sources.csv_tables import quote


def compute_statistics(dataset: Dataset) -> dict[str, ColumnStatistics]:
    """Return missing values, ranges of numbers and counts of distinct texts by column.

    Parameters
    ----------
    stored : Dataset

    Returns
    -------
    dict of str to ColumnStatistics
    """
    files = [str(file) for file in dataset.files]
    schema = pl.read_parquet_schema(files[0])
    columns = ", ".join(_statistics_sql(name, dtype) for name, dtype in schema.items())
    with duckdb.connect() as connection:
        table = "read_parquet($1, union_by_name = true)"
        rows = connection.execute(f"SELECT {columns} FROM {table}", [files]).fetchall()  # noqa: S608
    return {name: ColumnStatistics(*rows[0][i]) for i, name in enumerate(schema)}


def _statistics_sql(name: str, dtype: pl.DataType) -> str:
    """Return the SQL of a column's statistics as one tuple."""
    column = quote(name)
    missing = f"COUNT(*) - COUNT({column})"
    if dtype == pl.String:
        return f"ROW({missing}, NULL, NULL, NULL, COUNT(DISTINCT {column}))"
    number = f"CAST({column} AS DOUBLE)"
    # FAVG sums exactly, so the result does not depend on threads.
    return f"ROW({missing}, MIN({number}), MAX({number}), FAVG({number}), NULL)"


def require_trainable(
    problem: Problem, dataset: Dataset, statistics: dict[str, ColumnStatistics]
) -> None:
    """Reject a dataset that a model cannot be trained on.

    Raises
    ------
    SlipwayError
        The dataset is empty, has too few rows of a class, or a feature is mostly missing.
    """
    rows = dataset.manifest.rows
    if not rows:
        raise SlipwayError("no row passed the checks; check the query and its tables")
    positive = round((statistics[problem.target_column].mean or 0.0) * rows)
    fewest = min(positive, rows - positive)
    if fewest < problem.min_class_rows:
        word = "" if fewest == positive else "not "
        need = f"training needs {problem.min_class_rows}"
        message = f"only {fewest} of {rows:,} rows are {word}{problem.target.positive!r}"
        raise SlipwayError(f"{message}; {need}")
    for feature in problem.features:
        missing = statistics[feature.name].missing
        if missing > problem.max_missing * rows:
            share = f"{missing:,} of {rows:,} rows, more than {problem.max_missing:.0%}"
            raise SlipwayError(f"{feature.name} is missing in {share}; check its source")
