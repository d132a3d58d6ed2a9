"""Load the raw tables of the flights into real engines."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
import psycopg
import pymysql

PLAIN = {"TIMESTAMP WITH TIME ZONE": "TIMESTAMP", "VARCHAR": "TEXT", "DOUBLE": "DOUBLE PRECISION"}
HIVE_SITE = """<configuration>
<property><name>javax.jdo.option.ConnectionURL</name><value>{metastore}</value></property>
<property><name>hive.metastore.warehouse.dir</name><value>{warehouse}</value></property>
</configuration>
"""


def read_tables(tables: dict[str, Path]) -> duckdb.DuckDBPyConnection:
    """Read all tables into DuckDB, which parses them once for all engines."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    for name, file in tables.items():
        read = f"read_csv('{file}', nullstr = 'NA', sample_size = -1)"
        connection.execute(f"CREATE TABLE {name} AS FROM {read}")
    return connection


def columns(connection: duckdb.DuckDBPyConnection, name: str) -> list[tuple[str, str]]:
    described = connection.execute(f"DESCRIBE {name}").fetchall()
    return [(column, PLAIN.get(kind, kind)) for column, kind, *_ in described]


def column_definitions(connection: duckdb.DuckDBPyConnection, name: str, mark: str = '"') -> str:
    """Return the column definitions with the type names of other engines."""
    return ", ".join(f"{mark}{c}{mark} {kind}" for c, kind in columns(connection, name))


def utc_text_query(connection: duckdb.DuckDBPyConnection, name: str) -> str:
    """Return a query for all rows, with times as UTC texts."""
    texts = [
        f"strftime({column}, '%Y-%m-%d %H:%M:%S') AS {column}" if kind == "TIMESTAMP" else column
        for column, kind in columns(connection, name)
    ]
    return f"SELECT {', '.join(texts)} FROM {name}"


def load_sqlite(connection: duckdb.DuckDBPyConnection, names: Sequence[str], file: Path) -> str:
    with sqlite3.connect(file) as database:
        for name in names:
            database.execute(f"CREATE TABLE {name} ({column_definitions(connection, name)})")
            placeholders = ", ".join("?" * len(columns(connection, name)))
            rows = connection.execute(utc_text_query(connection, name)).fetchall()
            database.executemany(f"INSERT INTO {name} VALUES ({placeholders})", rows)
    database.close()
    return f"sqlite:///{file}"


def load_postgres(connection: duckdb.DuckDBPyConnection, names: Sequence[str], url: str) -> None:
    with psycopg.connect(url, autocommit=True) as database:
        for name in names:
            database.execute(f"CREATE TABLE {name} ({column_definitions(connection, name)})")
            text = to_csv(connection, name)
            with database.cursor().copy(f"COPY {name} FROM STDIN (FORMAT csv)") as copy:
                copy.write(text)
            database.execute(f"ANALYZE {name}")


def load_mariadb(
    connection: duckdb.DuckDBPyConnection, names: Sequence[str], url: str, folder: Path
) -> None:
    folder.mkdir(exist_ok=True)
    with connect_mariadb(url) as database, database.cursor() as cursor:
        for name in names:
            file = folder / f"{name}.csv"
            # LOAD DATA reads a backslash as an escape character.
            texts = (c for c, kind in columns(connection, name) if kind == "TEXT")
            escaped = ", ".join(rf"replace({c}, '\', '\\') AS {c}" for c in texts)
            query = f"SELECT * REPLACE ({escaped}) FROM ({utc_text_query(connection, name)})"
            csv_format = r"HEADER false, DELIMITER '\t', NULLSTR '\N', QUOTE ''"
            connection.execute(f"COPY ({query}) TO '{file}' ({csv_format})")
            file.chmod(0o644)
            definitions = column_definitions(connection, name, "`")
            defined = definitions.replace("TIMESTAMP", "DATETIME").replace("TEXT", "VARCHAR(255)")
            cursor.execute(f"CREATE TABLE {name} ({defined})")
            cursor.execute(
                f"LOAD DATA LOCAL INFILE '{file}' INTO TABLE {name} CHARACTER SET utf8mb4"
            )
            cursor.execute(f"ANALYZE TABLE {name}")


def connect_mariadb(url: str) -> pymysql.Connection:
    parts = urlsplit(url)
    return pymysql.connect(
        host=parts.hostname,
        port=parts.port,
        user=parts.username,
        password=parts.password,
        database=parts.path[1:],
        local_infile=True,
        autocommit=True,
    )


def to_csv(connection: duckdb.DuckDBPyConnection, name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "table.csv"
        query = utc_text_query(connection, name)
        connection.execute(f"COPY ({query}) TO '{file}' (HEADER false, NULLSTR '')")
        return file.read_bytes()


def load_hive(parquet: Path, names: Sequence[str], folder: Path) -> str:
    """Create tables in a Hive metastore; its Derby database allows one Java process at a time."""
    from slipway.data.sources.spark_session import open_spark

    site = HIVE_SITE.format(
        metastore=f"jdbc:derby:;databaseName={folder / 'metastore'};create=true",
        warehouse=folder / "warehouse",
    )
    (folder / "hive-site.xml").write_text(site)
    derby = f"-Dderby.system.home={folder}"
    (folder / "spark-defaults.conf").write_text(f"spark.driver.extraJavaOptions {derby}\n")
    conf = {"spark.sql.catalogImplementation": "hive"}
    with open_spark("local[2]", "hive", **conf) as session:
        session.sql("CREATE DATABASE nyc")
        for name in names:
            session.read.parquet(str(parquet / f"{name}.parquet")).createOrReplaceTempView("given")
            session.sql(f"CREATE TABLE nyc.{name} STORED AS PARQUET AS SELECT * FROM given")
    return "hive://nyc?master=local[2]"
