"""What the columns of stored rows hold."""

from __future__ import annotations

import duckdb
import polars as pl

from slipway.core.errors import SlipwayError
from slipway.data.dataset import ColumnStatistics, Dataset
from slipway.data.problem import Problem


def column_statistics(stored: Dataset) -> dict[str, ColumnStatistics]:
    """Count gaps, and find the range of numbers and the number of distinct texts.

    Parameters
    ----------
    stored : Dataset

    Returns
    -------
    dict of str to ColumnStatistics
    """
    files = [str(file) for file in stored.files]
    schema = pl.read_parquet_schema(files[0])
    asked = ", ".join(_asked(name, dtype) for name, dtype in schema.items())
    with duckdb.connect() as connection:
        # The names are the query's own, and quoted.
        read = "read_parquet($1, union_by_name = true)"
        rows = connection.execute(f"SELECT {asked} FROM {read}", [files]).fetchall()  # noqa: S608
    return {name: ColumnStatistics(*rows[0][i]) for i, name in enumerate(schema)}


def _asked(name: str, dtype: pl.DataType) -> str:
    """Ask for what there is to know about a column, as one tuple."""
    column = '"' + name.replace('"', '""') + '"'
    missing = f"COUNT(*) - COUNT({column})"
    if dtype == pl.String:
        return f"ROW({missing}, NULL, NULL, NULL, COUNT(DISTINCT {column}))"
    number = f"CAST({column} AS DOUBLE)"
    # The sum is the exact one, so that threads do not decide the last digit.
    return f"ROW({missing}, MIN({number}), MAX({number}), FAVG({number}), NULL)"


def require_balance(
    problem: Problem, stored: Dataset, statistics: dict[str, ColumnStatistics]
) -> None:
    """Refuse rows that nothing can be learned from.

    Raises
    ------
    SlipwayError
        There are none, or too few of one class, or a column is nearly empty.
    """
    rows = stored.manifest.rows
    if not rows:
        raise SlipwayError("no row is left after the checks; look at the query and its tables")
    positive = round((statistics[problem.target_column].mean or 0.0) * rows)
    fewest = min(positive, rows - positive)
    if fewest < problem.min_class_rows:
        word = "" if fewest == positive else "not "
        need = f"{problem.min_class_rows} are needed to learn from"
        message = f"only {fewest} of {rows:,} rows are {word}{problem.target.positive!r}"
        raise SlipwayError(f"{message}; {need}")
    for feature in problem.features:
        missing = statistics[feature.name].missing
        if missing > problem.max_missing * rows:
            share = f"{missing:,} of {rows:,} rows, more than {problem.max_missing:.0%}"
            raise SlipwayError(f"{feature.name} is missing in {share}; look at its source")
