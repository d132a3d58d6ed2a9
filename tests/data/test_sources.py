"""Sources by URL: files, buckets, collections; parsing URLs and masking secrets."""

import gzip
import os
import re
import sqlite3
import subprocess
import sys
import textwrap
import traceback
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from urllib.parse import quote

import boto3
import bson
import duckdb
import mongomock_ng
import pymongo
import pytest
from conftest import free_port, wait_for

from flights import PROBLEM
from slipway.core.errors import SlipwayError
from slipway.data.sources import open_source
from slipway.data.sources.arrow_columns import ArrowConverter
from slipway.data.sources.source_url import read_source_url

CANARY = "c4n4ry/of?the@test#"
T = replace(PROBLEM, tables=("t",))
ROWS = [(1, "x", 2.5), (2, None, None)]
CSV = "a,b,c\n1,x,2.5\n2,NA,\n"
JSON = '{"a": 1, "b": "x", "c": 2.5}\n{"a": 2, "b": null}\n'
AWS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": CANARY, "AWS_REGION": "us-east-1"}


def read_rows(url, query="SELECT * FROM t ORDER BY a", environ=None):
    with open_source(str(url), T, {} if environ is None else environ) as source:
        return source.rows(query)


def error_of(url, environ=None, query="SELECT * FROM t", problem=T):
    """Return the message of the error; check that it does not contain the canary."""
    with (
        pytest.raises(SlipwayError) as caught,
        open_source(str(url), problem, environ or {}) as source,
    ):
        source.rows(query)
    trace = "".join(traceback.format_exception(caught.value))
    assert CANARY not in trace
    assert "c4n4ry" not in trace
    return caught.value.message


def write_files(folder, files):
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


@pytest.mark.parametrize(
    "files",
    [
        {"t.csv": CSV},
        {"t.tsv": CSV.replace(",", "\t")},
        {"t.psv": CSV.replace(",", "|")},
        {"t.txt": CSV.replace(",", ";")},
        {"t.csv.gz": gzip.compress(CSV.encode())},
        {"t.jsonl": JSON},
        {"t.ndjson": JSON},
        {"t.jsonl.gz": gzip.compress(JSON.encode())},
        {"t/one.csv": "a,b,c\n1,x,2.5\n", "t/two.csv": "c,b,a\n,NA,2\n", "t/_SUCCESS": ""},
        {"T.CSV": CSV, "other.csv": "\0", ".t.csv.crc": "\0", "notes.md": "# notes"},
    ],
    ids=lambda files: next(iter(files)),
)
def test_folder_of_files_returns_tables(tmp_path, files):
    folder = write_files(tmp_path / "in", files)
    assert read_rows(folder) == ROWS
    assert read_rows(f"file://{folder}") == ROWS


def test_folder_of_parquet_returns_partition_columns(tmp_path):
    for part in (1, 2):
        file = tmp_path / "t" / f"year=201{part}" / f"{part}.parquet"
        file.parent.mkdir(parents=True)
        duckdb.sql(f"SELECT {part} AS a, {part} / 2 AS b").write_parquet(str(file))
    assert read_rows(tmp_path) == [(1, 0.5, 2011), (2, 1.0, 2012)]


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.jsonl"])
def test_single_file_is_table_with_its_name(tmp_path, name):
    file = tmp_path / name
    table = duckdb.sql("SELECT 1 AS a, 'x' AS b, 2.5 AS c")
    if name.endswith("parquet"):
        table.write_parquet(str(file))
    else:
        file.write_text(CSV if name.endswith("csv") else JSON)
    assert read_rows(file, "SELECT a, b FROM t ORDER BY a LIMIT 1") == [(1, "x")]


def test_times_in_other_machine_zone_are_in_utc(tmp_path):
    write_files(tmp_path, {"t.csv": "a,t\n1,2013-01-01T03:00:00Z\n2,2013-01-01T03:00:00+02:00\n"})
    query = "SELECT STRFTIME(t, '%Y-%m-%d %H') FROM t ORDER BY a"
    result = subprocess.run(
        [sys.executable, "-c", READ_CODE.format(path=tmp_path, query=query)],
        env=os.environ | {"TZ": "America/New_York"},
        capture_output=True,
        check=True,
    )
    assert result.stdout == b"[('2013-01-01 03',), ('2013-01-01 01',)]\n"


READ_CODE = textwrap.dedent("""
    from dataclasses import replace
    from flights import PROBLEM
    from slipway.data.sources import open_source
    with open_source("{path}", replace(PROBLEM, tables=("t",))) as source:
        print(source.rows("{query}"))
""")


def test_batches_decimals_become_doubles(tmp_path):
    write_files(tmp_path, {"t.csv": CSV})
    query = "SELECT a, b, a * 0.5 AS half, DATE '2013-01-02' AS d FROM t ORDER BY a"
    with open_source(str(tmp_path), T) as source:
        first, second = source.batches(query, rows=1)
        assert [*map(str, first.schema.types)] == ["int64", "string", "double", "date32[day]"]
        assert first.schema == second.schema
        assert second.to_pylist()[0]["half"] == 1.0


def test_batches_have_requested_size(tmp_path):
    write_files(tmp_path, {"t.csv": "a\n" + "\n".join(map(str, range(10_000)))})
    with open_source(str(tmp_path), T) as source:
        sizes = [batch.num_rows for batch in source.batches("SELECT a FROM t ORDER BY a", 3_000)]
    assert sum(sizes) == 10_000
    assert max(sizes) <= 3_000


def test_memory_limit_is_applied(tmp_path):
    write_files(tmp_path, {"t.csv": CSV})
    with open_source(str(tmp_path), T, memory=256 << 20) as source:
        assert source.rows("SELECT current_setting('memory_limit')") == [("256.0 MiB",)]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no tables in"),
        ({"notes.md": "# notes"}, "no tables in"),
        ({"tt.csv": CSV}, r"has no table t; did you mean tt\? \(tables: tt\)"),
        ({"t.csv": CSV, "t.tsv": CSV}, "more than one t: t.csv, t.tsv"),
        ({"t/1.csv": CSV, "t/2.jsonl": JSON}, "more than one t: json, text"),
        ({"t.csv": b"\x89PNG\r\n\x1a\n\0\0\xff" * 50}, "cannot read .*t.csv as text"),
        ({"t.parquet": "a,b\n1,2\n"}, "cannot read .*t.parquet as parquet"),
        ({"t.jsonl": "hello\n"}, "cannot read .*t.jsonl as json"),
        ({"t.csv.gz": CSV}, "cannot read .*t.csv.gz as text"),
    ],
)
def test_folder_without_readable_tables_raises_error(tmp_path, files, message):
    assert re.search(message, error_of(write_files(tmp_path, files)))


def test_query_unknown_column_raises_error_naming_candidates(tmp_path):
    write_files(tmp_path, {"t.csv": CSV})
    message = error_of(str(tmp_path), query="SELECT aa FROM t")
    assert "aa" in message
    assert "Candidate bindings" in message


@pytest.mark.parametrize(
    ("limit", "query", "memory"),
    [
        (1 << 19, "SELECT COUNT(*) FROM t", 1 << 30),
        (
            1 << 24,
            "SELECT * FROM (SELECT a, r FROM t, range(40) AS s(r)) ORDER BY a % 97, r",
            1 << 25,
        ),
    ],
    ids=["while tables are loaded", "while a query spills"],
)
def test_full_disk_raises_error(tmp_path, limit, query, memory):
    lines = "\n".join(f"{i * 7919 % 100003},{i * 104729 % 1299709}" for i in range(200_000))
    write_files(tmp_path / "in", {"t.csv": "a,b\n" + lines})
    code = FULL_DISK_CODE.format(path=tmp_path / "in", limit=limit, query=query, memory=memory)
    environ = os.environ | {"TMPDIR": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True
    )
    assert result.stdout.startswith(
        f"the disk of {tmp_path} is full; free some space, or set TMPDIR"
    )
    assert not list(tmp_path.glob("slipway-*"))


FULL_DISK_CODE = textwrap.dedent("""
    import resource
    from dataclasses import replace
    from flights import PROBLEM
    from slipway.core.errors import SlipwayError
    from slipway.data.sources import open_source
    # A limit on the size of files simulates a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
    try:
        with open_source("{path}", replace(PROBLEM, tables=("t",)), memory={memory}) as source:
            for batch in source.batches("{query}"):
                pass
    except SlipwayError as error:
        print(error.message)
""")


@pytest.fixture(scope="module")
def bucket():
    """Start an S3 server with a bucket, and yield its environment variables."""
    port = free_port()
    arguments = ["-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen([sys.executable, *arguments], stderr=subprocess.DEVNULL)
    endpoint = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{endpoint}/moto-api/", process, 60)
        client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="key",
            aws_secret_access_key=CANARY,
        )
        client.create_bucket(Bucket="nyc-raw")
        parts = {"t/1.csv": "a,b,c\n1,x,2.5\n", "t/2.csv": "a,b,c\n2,NA,\n", "u.csv": "\0"}
        for name, text in {**parts, "one/t.jsonl": JSON}.items():
            client.put_object(Bucket="nyc-raw", Key=f"in/{name}", Body=text.encode())
        yield AWS | {"AWS_ENDPOINT_URL": endpoint}
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize("path", ["in", "in/", "in/one", "in/one/t.jsonl"])
def test_bucket_path_returns_tables(bucket, path):
    assert read_rows(f"s3://nyc-raw/{path}", environ=bucket) == ROWS


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3://nyc-raw/nothing", "no files at s3://nyc-raw/nothing"),
        ("s3://nyc-other/in", "cannot read s3://nyc-other/in: .*NoSuchBucket"),
        ("s3://nyc-raw", r"has no table t \(tables: in\)"),
    ],
)
def test_bucket_without_tables_raises_error(bucket, url, message):
    assert re.search(message, error_of(url, bucket))


def test_bucket_unreachable_raises_error():
    message = error_of("s3://nyc-raw/in", AWS | {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"})
    assert "(AWS_ACCESS_KEY_ID, " in message


@pytest.fixture
def mongo(monkeypatch):
    """Return a mock of MongoDB, because no server can be installed here."""
    client = mongomock_ng.MongoClient()
    monkeypatch.setattr(pymongo, "MongoClient", lambda url, **options: nullcontext(client))
    monkeypatch.setattr("slipway.data.sources.mongodb.BATCH", 2)
    return client["nyc"]


def test_collection_is_table_without_id(mongo):
    mongo.t.insert_many(
        [
            {"a": 3, "b": None, "never": None, "when": datetime(2013, 1, 1, 5)},
            {"a": 1, "b": "x", "c": 2.5},
            {"a": 2, "c": bson.Decimal128("0.25"), "deep": {"temp": 1}},
        ]
    )
    query = "SELECT a, b, c, never, STRFTIME(\"when\", '%H'), deep.temp FROM t ORDER BY a"
    assert read_rows("mongodb://host/nyc", query) == [
        (1, "x", 2.5, None, None, None),
        (2, None, 0.25, None, None, 1),
        (3, None, None, None, "05", None),
    ]
    environ = {"MONGO_DB_URL": "mongodb://host/nyc"}
    assert read_rows("mongodb:", "SELECT COUNT(*) FROM t", environ) == [(3,)]


def test_collection_text_among_numbers_is_text_column(mongo):
    mongo.t.insert_many([{"a": 1}, {"a": 2}, {"a": "three"}, {"a": 4.5}])
    assert read_rows("mongodb://host/nyc") == [("1",), ("2",), ("4.5",), ("three",)]


def test_collection_missing_raises_error(mongo):
    mongo.tt.insert_one({"a": 1})
    assert error_of("mongodb://host/nyc") == (
        "mongodb://host/nyc has no table t; did you mean tt? (tables: tt)"
    )
    assert "names no database" in error_of("mongodb://host")


def test_arrow_converter_value_of_other_type_widens_column():
    columns = ArrowConverter(["n", "x", "s"])
    first = columns.batch([(None, 1, "a"), (1, 2, None)])
    assert [*map(str, first.schema.types)] == ["int64", "int64", "string"]
    second = columns.batch([(None, 2.5, "b")])
    assert [*map(str, second.schema.types)] == ["int64", "double", "string"]
    third = columns.batch([("n/a", 3, b"c"), (2, Decimal("0.1"), None)])
    assert third.to_pylist() == [
        {"n": "n/a", "x": 3.0, "s": "c"},
        {"n": "2", "x": 0.1, "s": None},
    ]


def test_sqlite_text_among_numbers_is_text_column(tmp_path):
    with sqlite3.connect(tmp_path / "t.db") as database:
        database.execute("CREATE TABLE t (a INTEGER, b DOUBLE)")
        database.executemany("INSERT INTO t VALUES (?, ?)", [(1, 1.5), (2, "broken")])
    with open_source(f"sqlite:///{tmp_path / 't.db'}", T) as source:
        (batch,) = source.batches("SELECT a, b FROM t ORDER BY a")
    assert batch.to_pylist() == [{"a": 1, "b": "1.5"}, {"a": 2, "b": "broken"}]


def test_sqlite_floor_of_null_is_null(tmp_path):
    with sqlite3.connect(tmp_path / "t.db") as database:
        database.execute("CREATE TABLE t AS SELECT 2.5 AS a UNION ALL SELECT NULL")
    url = f"sqlite:///{tmp_path / 't.db'}"
    assert read_rows(url, "SELECT FLOOR(a) FROM t ORDER BY a") == [(2.0,), (None,)]


FAILING = {
    "postgresql://user:${PW}@127.0.0.1:1/nyc": "cannot connect to .* check host, user, password",
    "postgres://user@127.0.0.1:1/nyc?password=${PW}": "cannot connect to ",
    "mysql://user:${PW}@127.0.0.1:1/nyc": "cannot connect to ",
    "mariadb://user:${PW}@no-such-host.invalid/nyc": "cannot connect to ",
    "mongodb://user:${PW}@127.0.0.1:1/nyc?serverSelectionTimeoutMS=300": "cannot read ",
    "mongodb+srv://user:${PW}@127.0.0.1/nyc": "cannot read ",
    "sqlite:///no/such/file.db?password=${PW}": "no such file sqlite:///no/such/file.db",
    "snowflake://user:${PW}@account/nyc": "pip install 'snowflake-sqlalchemy'",
    "bigquery://project?credentials=${PW}": "pip install 'sqlalchemy-bigquery'",
    "mssql://user:${PW}@host/nyc": "pip install 'pyodbc'",
    "postgresql+nonsense://user:${PW}@host/nyc": r"unknown source postgresql\+nonsense://",
    "gopher://user:${PW}@host/nyc": "unknown source gopher://; use a path, s3",
    "spark://127.0.0.1:1?spark.hadoop.fs.s3a.secret.key=${PW}": "no Spark master answers at ",
    "sc://127.0.0.1:1/;token=${PW}": "no Spark Connect server answers at 127.0.0.1:1",
    "hive://nyc?password=${PW}": "set HIVE_METASTORE_URIS=thrift",
    "s3://nyc/${PW}": "no files at|cannot read",
    "/no/such/folder": "no such file or folder: /no/such/folder",
}


@pytest.mark.parametrize("url", FAILING)
def test_source_that_fails_raises_error_without_secrets(url, caplog, capfd):
    environ = AWS | {"PW": CANARY, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
    with caplog.at_level("DEBUG"):
        message = error_of(url, environ)
    assert re.search(FAILING[url], message)
    assert "c4n4ry" not in caplog.text
    assert "c4n4ry" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("url", [url for url in FAILING if "${PW}@" in url or "=${PW}" in url])
def test_source_url_in_variable_raises_error_without_secrets(url):
    environ = {"URL": url.replace("${PW}", quote(CANARY, safe=""))}
    message = error_of("env:URL", environ)
    assert re.search(FAILING[url], message)


@pytest.mark.parametrize("url", [url for url in FAILING if "${PW}@" in url or "=${PW}" in url])
def test_source_url_literal_password_raises_error(url):
    message = error_of(url.replace("${PW}", "literal"))
    assert message.startswith("the URL contains a password")
    assert "${NAME}" in message
    assert "env:NAME" in message
    assert "literal" not in message


@pytest.mark.parametrize("url", ["postgresql://u:c4n4ry/of@h/d", "mysql://u:c4n4ry?of@h/d"])
def test_source_url_unencoded_password_raises_error_without_it(url):
    assert "percent-encode it" in error_of("env:URL", {"URL": url})


def test_source_url_unset_variable_raises_error_naming_it():
    assert "variable PW; set it" in error_of("postgresql://user:${PW}@host/nyc")
    assert "variable MONGO_DB_URL; set it" in error_of("mongodb")


def test_read_source_url_encodes_variables_and_masks_secrets():
    url = "postgresql://${USER}:${PW}@${HOST}:5432/nyc?sslmode=require&password=${PW}"
    source_url = read_source_url(url, {"USER": "me@work", "PW": CANARY, "HOST": "db.example"})
    encoded = quote(CANARY, safe="")
    assert source_url.url == (
        f"postgresql://me%40work:{encoded}@db.example:5432/nyc?sslmode=require&password={encoded}"
    )
    assert source_url.redacted == (
        "postgresql://${USER}:***@${HOST}:5432/nyc?sslmode=require&password=***"
    )
    assert CANARY not in repr(source_url)
    assert encoded not in repr(source_url)
    masked = source_url.mask(f"no way in with {CANARY} or {encoded}")
    assert masked == "no way in with *** or ***"


def test_driver_error_with_secret_is_masked(tmp_path, monkeypatch):
    write_files(tmp_path, {"t.csv": CSV})

    def raise_key_error(self):
        raise KeyError(f"no {CANARY}")

    monkeypatch.setattr("slipway.data.sources.duckdb_engine.DuckDBEngine.tables", raise_key_error)
    assert "KeyError: 'no ***'" in error_of(tmp_path, {"MY_PASSWORD": CANARY})


def test_default_source_is_named_by_origin():
    with open_source(None, PROBLEM) as source:
        assert source.redacted == PROBLEM.source
        assert source.rows("SELECT COUNT(*) FROM flights") == [(336_776,)]


def test_unused_source_libraries_are_not_imported(tmp_path):
    write_files(tmp_path, {"t.csv": CSV})
    heavy = ["flask", "obstore", "pymongo", "pyspark", "sqlalchemy"]
    code = READ_CODE.format(path=tmp_path, query="SELECT a FROM t") + textwrap.dedent(f"""
        import sys
        print([name for name in {heavy} if name in sys.modules])
    """)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert result.stdout.endswith(b"[]\n")
