"""The full tables on every engine, compared with DuckDB bit by bit."""

import os
from dataclasses import replace

import pyarrow as pa
import pytest
from flight_tables import (
    load_hive,
    load_mariadb,
    load_postgres,
    load_sqlite,
    read_tables,
)

from flights import PROBLEM
from flights.tables import read_tables as raw_tables
from slipway.data.sources import open_source

pytest_plugins = ["engines", "mariadb_server", "spark_cluster"]
pytestmark = pytest.mark.slow

ENGINES = ["sqlite", "postgres", "mariadb", "spark", "hive"]
WITH_FACTS = replace(PROBLEM, tables=(*PROBLEM.tables, "facts"))
FACTS = """
CREATE TABLE facts AS FROM (VALUES
    (1, 7, 2, 2.5::DOUBLE, 'ab', TIMESTAMP '2013-11-03 05:00:00'),
    (2, -7, 2, -2.5, 'AB', TIMESTAMP '2013-01-01 00:00:00'),
    (3, NULL, 4, 61.63, NULL, TIMESTAMP '1969-12-31 23:59:59'),
    (4, 1759, NULL, NULL, 'a b', NULL),
    (5, 0, 3, 0.1, '', TIMESTAMP '2016-02-29 12:30:00')
) AS facts(id, n, k, x, s, t)
"""
# Portable SQL according to docs/data.md.
EXPRESSIONS = [
    "n / 2",
    "n / k",
    "(n + 1) / (k * 2)",
    "n % 4",
    "MOD(n, 4)",
    "n || '-' || s",
    "COALESCE(n, 0)",
    "NULLIF(n, 7)",
    "n > 0",
    "CASE WHEN n > 0 THEN 'more' WHEN n <= 0 THEN 'less' END",
    "n IS DISTINCT FROM k",
    "n BETWEEN 0 AND 10",
    "n IN (7, -7)",
    "FLOOR(x)",
    "CEIL(x)",
    "CAST(FLOOR(x) AS BIGINT)",
    "FLOOR(x * 10 + 0.5) / 10",
    "CAST(n AS DOUBLE)",
    "CAST(n AS VARCHAR)",
    "CAST('12' AS BIGINT)",
    "ABS(n)",
    "SQRT(ABS(x))",
    "LENGTH(s)",
    "UPPER(s)",
    "LOWER(s)",
    "SUBSTRING(s, 1, 1)",
    "SUBSTRING(CAST(100 + k AS VARCHAR), 2, 2)",
    "REPLACE(s, 'a', 'x')",
    "TRIM(s)",
    "s ILIKE 'A%'",
    "CAST(t AS DATE)",
    "STRFTIME(t, '%Y-%m-%d %H:%M:%S')",
    "CAST(STRFTIME(t, '%H') AS BIGINT)",
    "DATE_DIFF('day', DATE '2013-01-01', CAST(t AS DATE))",
    "DATE_DIFF('day', TIMESTAMP '2013-01-01 23:00:00', t)",
    "CAST('2013-02-03' AS DATE)",
    "ROW_NUMBER() OVER (ORDER BY n, id)",
    "RANK() OVER (PARTITION BY k ORDER BY n)",
    "LAG(n) OVER (ORDER BY id)",
    "SUM(n) OVER (PARTITION BY k)",
    "AVG(n) OVER (PARTITION BY k)",
    "COUNT(*) OVER (PARTITION BY k)",
    "SUM(n) OVER (ORDER BY id RANGE BETWEEN 2 PRECEDING AND CURRENT ROW)",
    "SUM(n) OVER (ORDER BY id NULLS FIRST ROWS BETWEEN 2 PRECEDING AND 1 PRECEDING)",
]
AGGREGATES = [
    "COUNT(*)",
    "COUNT(n)",
    "COUNT(DISTINCT k)",
    "SUM(n)",
    "AVG(n)",
    "MIN(t)",
    "SUM(n) FILTER (WHERE n > 0)",
    "COUNT(*) FILTER (WHERE k > 2)",
    "COUNT(DISTINCT k) FILTER (WHERE n > 0)",
    "SUM(n) / COUNT(n)",
]


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Yield a DuckDB connection with all raw tables and the facts."""
    with read_tables(raw_tables(tmp_path_factory.mktemp("raw"))) as connection:
        connection.execute(FACTS)
        yield connection


@pytest.fixture(scope="module")
def duckdb_result():
    """Return the result of the problem's query on its own files."""
    with open_source(None, PROBLEM) as source:
        return pa.Table.from_batches(source.batches(PROBLEM.query))


@pytest.fixture(scope="module")
def sqlite_url(raw, tmp_path_factory):
    file = tmp_path_factory.mktemp("sqlite") / "nyc.db"
    return load_sqlite(raw, WITH_FACTS.tables, file)


@pytest.fixture(scope="module")
def postgres_url(raw, postgres_server):
    load_postgres(raw, WITH_FACTS.tables, postgres_server)
    return postgres_server


@pytest.fixture(scope="module")
def mariadb_url(raw, mariadb, tmp_path_factory):
    load_mariadb(raw, WITH_FACTS.tables, mariadb, tmp_path_factory.mktemp("mariadb"))
    return mariadb


@pytest.fixture(scope="module")
def parquet(raw, tmp_path_factory):
    folder = tmp_path_factory.mktemp("parquet")
    for name in WITH_FACTS.tables:
        raw.table(name).write_parquet(str(folder / f"{name}.parquet"))
    return folder


@pytest.fixture(scope="module")
def spark_url(parquet):
    return f"spark://local[2]?path={parquet}"


@pytest.fixture(scope="module")
def hive_url(parquet, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hive")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_CONF_DIR", str(folder))
        yield load_hive(parquet, WITH_FACTS.tables, folder)


@pytest.fixture(scope="module", params=ENGINES)
def engine_source(request):
    url = request.getfixturevalue(f"{request.param}_url")
    with open_source("env:URL", WITH_FACTS, os.environ | {"URL": url}) as source:
        yield source


def test_flights_query_on_any_engine_returns_same_rows(engine_source, duckdb_result):
    batches = [*engine_source.batches(PROBLEM.query)]
    result = pa.concat_tables(map(pa.table, batches), promote_options="permissive")
    assert result.num_rows == 336_776
    assert len(batches) > 3
    assert result.column_names == duckdb_result.column_names
    for name in duckdb_result.column_names:
        values = result[name].cast(duckdb_result[name].type)
        assert values.combine_chunks().equals(duckdb_result[name].combine_chunks()), name


def test_portable_expressions_on_any_engine_return_same_values(engine_source, raw):
    expressions = ", ".join(f"{text} AS c{i}" for i, text in enumerate(EXPRESSIONS))
    query = f"SELECT {expressions} FROM facts ORDER BY id"
    columns = zip(*engine_source.rows(query), strict=True)
    expected_rows = zip(*raw.execute(query).fetchall(), strict=True)
    for text, result, expected in zip(EXPRESSIONS, columns, expected_rows, strict=True):
        assert [*map(normalize, result)] == [*map(normalize, expected)], text


def test_portable_aggregates_on_any_engine_return_same_values(engine_source, raw):
    query = f"SELECT {', '.join(AGGREGATES)} FROM facts"
    (result,), (expected_rows,) = engine_source.rows(query), raw.execute(query).fetchall()
    assert dict(zip(AGGREGATES, map(normalize, result), strict=True)) == dict(
        zip(AGGREGATES, map(normalize, expected_rows), strict=True)
    )


def test_labels_on_any_engine_are_the_same(engine_source):
    with open_source(None, PROBLEM) as own_files:
        assert PROBLEM.labels(engine_source.rows) == PROBLEM.labels(own_files.rows)


def normalize(value):
    """Return a value in a representation common to all engines."""
    if isinstance(value, bool):
        return int(value)
    if hasattr(value, "isoformat"):
        return value.replace(tzinfo=None).isoformat(" ") if hasattr(value, "hour") else str(value)
    if hasattr(value, "as_tuple"):
        return float(value)
    return value
