"""Run a problem's query and give the rows that can be learned from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pandas as pd

from slipway.errors import SlipwayError
from slipway.problem import Problem
from slipway.signature import Feature


@dataclass(frozen=True)
class Rows:
    """What the query gave.

    Attributes
    ----------
    X : DataFrame of shape (n_rows, n_features)
    y : Series of shape (n_rows,)
        1 for the positive class, else 0.
    order : Series of shape (n_rows,)
    groups : Series of shape (n_rows,), optional
        By which the rows can be parted in time.
    rows_read : int
        Rows of the first raw table.
    left_out : dict of str to int
        Rows without a target, by reason; with ``n_rows`` they sum to ``rows_read``.
    labels : dict of str to dict
        Names for people, by feature and category.
    """

    X: pd.DataFrame
    y: pd.Series[int]
    order: pd.Series[int]
    groups: pd.Series[Any] | None
    rows_read: int
    left_out: dict[str, int]
    labels: dict[str, dict[str, str]]

    @property
    def sha256(self) -> str:
        """The hash of all values, column by column."""
        digest = hashlib.sha256()
        for column in [*(self.X[name] for name in self.X), self.y, self.order]:
            values = column.to_numpy()
            digest.update(
                "\0".join(map(str, values)).encode()
                if values.dtype == object
                else values.astype("<f8").tobytes()
            )
        return digest.hexdigest()


def read_rows(problem: Problem) -> Rows:
    """Read the raw tables, run the query, and leave out the rows without a target.

    Parameters
    ----------
    problem : Problem

    Returns
    -------
    Rows

    Raises
    ------
    SlipwayError
        The query does not give exactly one row for each row of the first table.
    """
    with TemporaryDirectory() as scratch:
        tables = problem.read_tables(Path(scratch))
        labels = {name: dict(names) for name, names in problem.labels(tables).items()}
        with duckdb.connect() as connection:
            for name, file in tables.items():
                _load(connection, name, file)
            first = next(iter(tables))
            rows_read = _count(connection, first)
            table = connection.execute(problem.query).df()
    if len(table) != rows_read:
        raise SlipwayError(f"the query gave {len(table)} rows for {rows_read} of {first}")
    known = table[problem.target_column].notna()
    used = table[known].reset_index(drop=True)
    return Rows(
        X=_typed(used, problem.features),
        y=used[problem.target_column].astype("int64"),
        order=used[problem.order_column].astype("int64"),
        groups=None if problem.group_column is None else used[problem.group_column],
        rows_read=rows_read,
        left_out={problem.unlabelled: int((~known).sum())},
        labels=labels,
    )


def _load(connection: duckdb.DuckDBPyConnection, name: str, file: Path) -> None:
    """Read a CSV file as a table."""
    # The names are the problem's own words, not anybody's input.
    connection.execute(
        f"CREATE TABLE {name} AS SELECT * FROM read_csv($1, nullstr = 'NA', sample_size = -1)",  # noqa: S608
        [str(file)],
    )


def _count(connection: duckdb.DuckDBPyConnection, name: str) -> int:
    row = connection.execute(f"SELECT COUNT(*) FROM {name}").fetchone()  # noqa: S608
    return int(row[0]) if row else 0


def _typed(table: pd.DataFrame, features: tuple[Feature, ...]) -> pd.DataFrame:
    """Give each feature the type that the pipeline meets when it serves."""
    dtypes: dict[str, Any] = {feature.name: feature.column_type for feature in features}
    return table[list(dtypes)].astype(dtypes)
