"""Errors of real servers: one message with a fix, without a long wait."""

import os
import time
import traceback
from dataclasses import replace
from urllib.parse import quote

import psycopg
import pytest
from flight_tables import connect_mariadb

from flights import PROBLEM
from slipway.core.errors import SlipwayError
from slipway.data.sources import open_source
from slipway.data.sources.spark_catalog import SparkCatalogEngine
from slipway.data.sources.spark_session import open_spark

pytest_plugins = ["engines", "mariadb_server", "spark_cluster"]
pytestmark = pytest.mark.slow

PASSWORD = "canary-of-mariadb"
LONG = replace(PROBLEM, tables=("long_table",))
ROWS = 200_000
QUERY = "SELECT a, s FROM long_table ORDER BY a"


def error_of(url, query=QUERY, problem=LONG, **environ):
    """Return the message of the error; check that it does not contain the password."""
    with (
        pytest.raises(SlipwayError) as caught,
        open_source(url, problem, os.environ | environ) as source,
    ):
        source.rows(query)
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))
    return caught.value.message


@pytest.fixture(scope="module")
def postgres(postgres_server):
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE long_table AS SELECT a, repeat('x', 100) AS s, "
            f"NULL::NUMERIC AS n FROM generate_series(1, {ROWS}) AS given(a)"
        )
        connection.execute("CREATE VIEW as_view AS SELECT * FROM long_table")
        yield postgres_server
        connection.execute("DROP TABLE long_table CASCADE")


@pytest.fixture(scope="module")
def maria(mariadb):
    with connect_mariadb(mariadb) as connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE long_table AS SELECT seq AS a, REPEAT('x', 100) AS s "
            f"FROM seq_1_to_{ROWS}"
        )
        yield mariadb
        cursor.execute("DROP TABLE long_table")


@pytest.mark.parametrize("server", ["postgres", "maria"])
def test_database_unknown_table_raises_error_naming_nearest(request, server):
    url = request.getfixturevalue(server)
    message = error_of("env:URL", problem=replace(PROBLEM, tables=("long_tabel",)), URL=url)
    assert "has no table long_tabel; did you mean long_table? (tables: " in message


def test_postgres_view_is_table(postgres):
    with open_source(postgres, replace(PROBLEM, tables=("as_view",))) as source:
        assert source.rows("SELECT COUNT(*) FROM as_view") == [(ROWS,)]


@pytest.mark.parametrize("server", ["postgres", "maria"])
def test_database_unknown_column_raises_server_message(request, server):
    url = request.getfixturevalue(server)
    message = error_of("env:URL", query="SELECT aa FROM long_table", URL=url)
    assert "rejected the query: " in message
    assert "aa" in message


def test_mariadb_wrong_password_raises_error_without_it(mariadb):
    url = mariadb.replace(PASSWORD, "${PW}")
    message = error_of(url, PW="not-the-canary")
    assert "cannot connect to mariadb://slipway:***@" in message
    assert "Access denied" in message
    assert "check host, user, password" in message
    assert "not-the-canary" not in message


def test_mariadb_password_with_special_characters_connects(mariadb):
    password = "p@ss:w/rd?#%[x]& '\"+"
    with connect_mariadb(mariadb) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE USER odd@localhost IDENTIFIED BY %s", [password])
        cursor.execute("GRANT ALL ON *.* TO odd@localhost")
        cursor.execute("CREATE TABLE IF NOT EXISTS small AS SELECT 1 AS a")
    place = mariadb.partition("@")[2]
    problem = replace(PROBLEM, tables=("small",))
    full_url = f"mysql://odd:{quote(password, safe='')}@{place}"
    urls = [(f"mysql://odd:${{PW}}@{place}", {"PW": password}), ("env:URL", {"URL": full_url})]
    for url, environ in urls:
        with open_source(url, problem, environ) as source:
            assert source.rows("SELECT a FROM small") == [(1,)]
            assert source.redacted == f"mysql://odd:***@{place}"


def test_database_unknown_user_or_database_raises_error_naming_it(postgres, mariadb):
    assert "no_such_user" in error_of(postgres.replace("postgres:@", "no_such_user@"))
    message = error_of("env:URL", URL=mariadb.replace("/nyc", "/no_such_database"))
    assert "no_such_database" in message


def test_postgres_connection_lost_while_reading_raises_error(postgres):
    with (
        open_source(postgres, LONG) as source,
        psycopg.connect(postgres, autocommit=True) as other,
    ):
        batches = source.batches(QUERY, rows=1_000)
        assert next(batches).num_rows == 1_000
        terminated = other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'slipway'"
        ).fetchall()
        assert terminated == [(True,)]
        with pytest.raises(SlipwayError, match=r"^lost the connection .*: .*; run again"):
            list(batches)


def test_mariadb_connection_lost_while_reading_raises_error(maria):
    with (
        open_source("env:URL", LONG, {"URL": maria}) as source,
        connect_mariadb(maria) as other,
        other.cursor() as cursor,
    ):
        batches = source.batches(QUERY, rows=1_000)
        assert next(batches).num_rows == 1_000
        cursor.execute("SELECT id FROM information_schema.processlist WHERE info LIKE '%long_t%'")
        ids = [number for (number,) in cursor.fetchall() if number != other.thread_id()]
        cursor.execute(f"KILL CONNECTION {ids[0]}")
        with pytest.raises(SlipwayError, match=r"slipway:\*\*\*@127.0.0.1") as caught:
            list(batches)
    assert "lost the connection to" in caught.value.message
    assert PASSWORD not in caught.value.message


def test_postgres_unread_rows_stay_on_server(postgres):
    with open_source(postgres, LONG) as source, psycopg.connect(postgres) as other:
        batches = source.batches(QUERY, rows=1_000)
        next(batches)
        (state,) = other.execute(
            "SELECT state || ' ' || query FROM pg_stat_activity WHERE application_name = 'slipway'"
        ).fetchone()
        assert state.startswith("idle in transaction FETCH FORWARD")
        assert sum(batch.num_rows for batch in batches) == ROWS - 1_000


def test_postgres_queries_read_one_snapshot(postgres):
    with open_source(postgres, LONG) as source, psycopg.connect(postgres) as other:
        assert source.rows("SELECT COUNT(*) FROM long_table") == [(ROWS,)]
        other.execute("INSERT INTO long_table VALUES (0, 'later')")
        other.commit()
        assert source.rows("SELECT COUNT(*) FROM long_table") == [(ROWS,)]
        other.execute("DELETE FROM long_table WHERE a = 0")


def test_database_order_by_text_sorts_by_bytes(mariadb, postgres):
    texts = ["B", "a", "A", "b", "ä", "_", "10", "9", "Z ", "Z"]
    problem = replace(PROBLEM, tables=("words",))
    create = "CREATE TABLE words (s VARCHAR(9), n INT)"
    insert = "INSERT INTO words VALUES (%s, 1)"
    with connect_mariadb(mariadb) as connection, connection.cursor() as cursor:
        cursor.execute(create)
        cursor.executemany(insert, [(text,) for text in texts])
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(create)
        connection.cursor().executemany(insert, [(text,) for text in texts])
    for url in (mariadb, postgres):
        with open_source("env:URL", problem, {"URL": url}) as source:
            (batch,) = source.batches("SELECT s, n FROM words ORDER BY n, s")
        assert batch.column("s").to_pylist() == sorted(texts, key=str.encode)


def test_spark_unreachable_master_raises_error_in_time():
    started = time.monotonic()
    assert "no Spark master answers at no-such-host.invalid:7077" in error_of(
        "spark://no-such-host.invalid:7077"
    )
    assert time.monotonic() - started < 60


def test_spark_unknown_database_or_table_raises_error_naming_it(tmp_path):
    with open_spark("local[1]", "faults") as session:
        catalog = SparkCatalogEngine(session, "spark://local[1]")
        with pytest.raises(SlipwayError, match=r"no database nyc \(databases: default\)"):
            catalog.use_database("nyc")
        with pytest.raises(SlipwayError, match=f"{tmp_path} has no files for the table t"):
            catalog.load(str(tmp_path), "t")
        (tmp_path / "t.csv").write_text("a\n1\n")
        (tmp_path / "t").mkdir()
        (tmp_path / "t" / "t.json").write_text('{"a": 1}')
        with pytest.raises(SlipwayError, match="more than one kind of files for the table t"):
            catalog.load(str(tmp_path), "t")
        assert catalog.tables() == []
        with pytest.raises(SlipwayError, match=r"query on .* failed: \[TABLE_OR_VIEW_NOT"):
            catalog.rows("SELECT * FROM t")


def test_spark_cluster_returns_rows(spark_cluster, tmp_path):
    lines = [f"{i * 7919 % 20_011},{'NA' if i % 3 else 'x'}\n" for i in range(20_000)]
    (tmp_path / "long_table.csv").write_text("a,s\n" + "".join(lines))
    parts = "spark.sql.adaptive.enabled=false&spark.sql.shuffle.partitions=3"
    url = f"{spark_cluster}?path={tmp_path}&spark.executor.memory=512m&{parts}"
    with open_source(url, LONG) as source:
        result = [row for batch in source.batches(QUERY, 3_000) for row in batch.to_pylist()]
        assert "aa" in query_error(source, "SELECT aa FROM long_table")
    expected = sorted(
        (int(a), None if s == "NA" else s) for a, s in (x.strip().split(",") for x in lines)
    )
    assert [(row["a"], row["s"]) for row in result] == expected


def test_spark_connect_returns_rows(spark_connect, tmp_path):
    with open_spark(spark_connect, "fill") as session:
        session.sql("CREATE DATABASE nyc")
        session.sql("CREATE TABLE nyc.long_table AS SELECT 2 AS a, TIMESTAMP '2013-01-01' AS s")
    with open_source(f"{spark_connect}/nyc", LONG) as source:
        assert source.redacted == f"{spark_connect}/nyc"
        assert source.rows("SELECT a, STRFTIME(s, '%H') FROM long_table") == [(2, "00")]
        (batch,) = source.batches(QUERY)
        assert str(batch.schema.field("s").type) == "timestamp[us, tz=UTC]"
        assert "aa" in query_error(source, "SELECT aa FROM long_table")
    assert "no database other (databases: default, nyc)" in error_of(f"{spark_connect}/other")


def query_error(source, query):
    with pytest.raises(SlipwayError) as caught:
        source.rows(query)
    return caught.value.message


def test_hive_unreachable_metastore_raises_error():
    message = error_of("hive://nyc", HIVE_METASTORE_URIS="thrift://127.0.0.1:1")
    assert "no Hive metastore answers at 127.0.0.1:1" in message
