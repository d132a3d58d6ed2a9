"""Sources by URL: files, buckets, collections; what a URL means; what is never shown."""

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
from slipway.data.sources.arrow_columns import Columns
from slipway.data.sources.source_url import read_source_url

CANARY = "c4n4ry/of?the@test#"
T = replace(PROBLEM, tables=("t",))
ROWS = [(1, "x", 2.5), (2, None, None)]
CSV = "a,b,c\n1,x,2.5\n2,NA,\n"
JSON = '{"a": 1, "b": "x", "c": 2.5}\n{"a": 2, "b": null}\n'
AWS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": CANARY, "AWS_REGION": "us-east-1"}


def rows(url, query="SELECT * FROM t ORDER BY a", environ=None):
    with open_source(str(url), T, {} if environ is None else environ) as source:
        return source.rows(query)


def refused(url, environ=None, query="SELECT * FROM t", problem=T):
    """The message of the one error that may come; it never holds the canary."""
    with (
        pytest.raises(SlipwayError) as caught,
        open_source(str(url), problem, environ or {}) as source,
    ):
        source.rows(query)
    told = "".join(traceback.format_exception(caught.value))
    assert CANARY not in told
    assert "c4n4ry" not in told
    return caught.value.message


def written(folder, files):
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
def test_folder_of_files_is_its_tables(tmp_path, files):
    folder = written(tmp_path / "in", files)
    assert rows(folder) == ROWS
    assert rows(f"file://{folder}") == ROWS


def test_folder_of_parquet_is_read_where_it_is(tmp_path):
    for part in (1, 2):
        file = tmp_path / "t" / f"year=201{part}" / f"{part}.parquet"
        file.parent.mkdir(parents=True)
        duckdb.sql(f"SELECT {part} AS a, {part} / 2 AS b").write_parquet(str(file))
    assert rows(tmp_path) == [(1, 0.5, 2011), (2, 1.0, 2012)]


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.jsonl"])
def test_single_file_is_the_table_of_its_name(tmp_path, name):
    file = tmp_path / name
    table = duckdb.sql("SELECT 1 AS a, 'x' AS b, 2.5 AS c")
    if name.endswith("parquet"):
        table.write_parquet(str(file))
    else:
        file.write_text(CSV if name.endswith("csv") else JSON)
    assert rows(file, "SELECT a, b FROM t ORDER BY a LIMIT 1") == [(1, "x")]


def test_times_are_in_utc_whatever_the_zone_of_the_machine(tmp_path):
    written(tmp_path, {"t.csv": "a,t\n1,2013-01-01T03:00:00Z\n2,2013-01-01T03:00:00+02:00\n"})
    query = "SELECT STRFTIME(t, '%Y-%m-%d %H') FROM t ORDER BY a"
    given = subprocess.run(
        [sys.executable, "-c", READ.format(path=tmp_path, query=query)],
        env=os.environ | {"TZ": "America/New_York"},
        capture_output=True,
        check=True,
    )
    assert given.stdout == b"[('2013-01-01 03',), ('2013-01-01 01',)]\n"


READ = textwrap.dedent("""
    from dataclasses import replace
    from flights import PROBLEM
    from slipway.data.sources import open_source
    with open_source("{path}", replace(PROBLEM, tables=("t",))) as source:
        print(source.rows("{query}"))
""")


def test_batches_have_the_engines_types_and_doubles_for_decimals(tmp_path):
    written(tmp_path, {"t.csv": CSV})
    query = "SELECT a, b, a * 0.5 AS half, DATE '2013-01-02' AS d FROM t ORDER BY a"
    with open_source(str(tmp_path), T) as source:
        first, second = source.batches(query, rows=1)
        assert [*map(str, first.schema.types)] == ["int64", "string", "double", "date32[day]"]
        assert first.schema == second.schema
        assert second.to_pylist()[0]["half"] == 1.0


def test_batches_are_as_long_as_was_asked(tmp_path):
    written(tmp_path, {"t.csv": "a\n" + "\n".join(map(str, range(10_000)))})
    with open_source(str(tmp_path), T) as source:
        sizes = [batch.num_rows for batch in source.batches("SELECT a FROM t ORDER BY a", 3_000)]
    assert sum(sizes) == 10_000
    assert max(sizes) <= 3_000


def test_memory_is_what_was_allowed(tmp_path):
    written(tmp_path, {"t.csv": CSV})
    with open_source(str(tmp_path), T, memory=256 << 20) as source:
        assert source.rows("SELECT current_setting('memory_limit')") == [("256.0 MiB",)]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "holds no table"),
        ({"notes.md": "# notes"}, "holds no table"),
        ({"tt.csv": CSV}, r"has no table t; did you mean tt\? \(there are: tt\)"),
        ({"t.csv": CSV, "t.tsv": CSV}, "more than one t: t.csv, t.tsv"),
        ({"t/1.csv": CSV, "t/2.jsonl": JSON}, "more than one t: json, text"),
        ({"t.csv": b"\x89PNG\r\n\x1a\n\0\0\xff" * 50}, "t.csv cannot be read as text"),
        ({"t.parquet": "a,b\n1,2\n"}, "t.parquet cannot be read as parquet"),
        ({"t.jsonl": "hello\n"}, "t.jsonl cannot be read as json"),
        ({"t.csv.gz": CSV}, "t.csv.gz cannot be read as text"),
    ],
)
def test_folder_that_is_no_tables_is_refused(tmp_path, files, said):
    assert re.search(said, refused(written(tmp_path, files)))


def test_wrong_column_is_named_with_those_there_are(tmp_path):
    written(tmp_path, {"t.csv": CSV})
    said = refused(str(tmp_path), query="SELECT aa FROM t")
    assert "aa" in said
    assert "Candidate bindings" in said


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
def test_full_disk_is_said(tmp_path, limit, query, memory):
    lines = "\n".join(f"{i * 7919 % 100003},{i * 104729 % 1299709}" for i in range(200_000))
    written(tmp_path / "in", {"t.csv": "a,b\n" + lines})
    code = FULL.format(path=tmp_path / "in", limit=limit, query=query, memory=memory)
    environ = os.environ | {"TMPDIR": str(tmp_path)}
    given = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True
    )
    assert given.stdout.startswith(
        f"the disk of {tmp_path} is full: make room there, or set TMPDIR"
    )
    assert not list(tmp_path.glob("slipway-*"))


FULL = textwrap.dedent("""
    import resource
    from dataclasses import replace
    from flights import PROBLEM
    from slipway.core.errors import SlipwayError
    from slipway.data.sources import open_source
    # A file that may not grow is to a program what a full disk is.
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
    """An S3 server of its own, with a bucket; the variables that lead to it."""
    port = free_port()
    words = ["-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen([sys.executable, *words], stderr=subprocess.DEVNULL)
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
def test_bucket_is_a_folder(bucket, path):
    assert rows(f"s3://nyc-raw/{path}", environ=bucket) == ROWS


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://nyc-raw/nothing", "there is nothing at s3://nyc-raw/nothing"),
        ("s3://nyc-other/in", "s3://nyc-other/in cannot be read: .*NoSuchBucket"),
        ("s3://nyc-raw", r"has no table t \(there are: in\)"),
    ],
)
def test_bucket_without_the_tables_is_refused(bucket, url, said):
    assert re.search(said, refused(url, bucket))


def test_bucket_that_does_not_answer_ends_soon():
    said = refused("s3://nyc-raw/in", AWS | {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"})
    assert "set AWS_ACCESS_KEY_ID" in said


@pytest.fixture
def mongo(monkeypatch):
    """A MongoDB in this process, since there was no real one to be had."""
    client = mongomock_ng.MongoClient()
    monkeypatch.setattr(pymongo, "MongoClient", lambda url, **options: nullcontext(client))
    monkeypatch.setattr("slipway.data.sources.mongodb.BATCH", 2)
    return client["nyc"]


def test_collection_is_a_table_without_its_id(mongo):
    mongo.t.insert_many(
        [
            {"a": 3, "b": None, "never": None, "when": datetime(2013, 1, 1, 5)},
            {"a": 1, "b": "x", "c": 2.5},
            {"a": 2, "c": bson.Decimal128("0.25"), "deep": {"temp": 1}},
        ]
    )
    query = "SELECT a, b, c, never, STRFTIME(\"when\", '%H'), deep.temp FROM t ORDER BY a"
    assert rows("mongodb://host/nyc", query) == [
        (1, "x", 2.5, None, None, None),
        (2, None, 0.25, None, None, 1),
        (3, None, None, None, "05", None),
    ]
    environ = {"MONGO_DB_URL": "mongodb://host/nyc"}
    assert rows("mongodb:", "SELECT COUNT(*) FROM t", environ) == [(3,)]


def test_collection_with_a_text_among_numbers_is_text(mongo):
    mongo.t.insert_many([{"a": 1}, {"a": 2}, {"a": "three"}, {"a": 4.5}])
    assert rows("mongodb://host/nyc") == [("1",), ("2",), ("4.5",), ("three",)]


def test_collection_that_is_not_there_is_refused(mongo):
    mongo.tt.insert_one({"a": 1})
    assert refused("mongodb://host/nyc") == (
        "mongodb://host/nyc has no table t; did you mean tt? (there are: tt)"
    )
    assert "name the database" in refused("mongodb://host")


def test_columns_keep_their_type_until_a_value_does_not_fit():
    columns = Columns(["n", "x", "s"])
    first = columns.batch([(None, 1, "a"), (1, 2, None)])
    assert [*map(str, first.schema.types)] == ["int64", "int64", "string"]
    second = columns.batch([(None, 2.5, "b")])
    assert [*map(str, second.schema.types)] == ["int64", "double", "string"]
    third = columns.batch([("n/a", 3, b"c"), (2, Decimal("0.1"), None)])
    assert third.to_pylist() == [
        {"n": "n/a", "x": 3.0, "s": "c"},
        {"n": "2", "x": 0.1, "s": None},
    ]


def test_sqlite_gives_single_texts_among_numbers_as_text(tmp_path):
    with sqlite3.connect(tmp_path / "t.db") as database:
        database.execute("CREATE TABLE t (a INTEGER, b DOUBLE)")
        database.executemany("INSERT INTO t VALUES (?, ?)", [(1, 1.5), (2, "broken")])
    with open_source(f"sqlite:///{tmp_path / 't.db'}", T) as source:
        (batch,) = source.batches("SELECT a, b FROM t ORDER BY a")
    assert batch.to_pylist() == [{"a": 1, "b": "1.5"}, {"a": 2, "b": "broken"}]


def test_sqlite_floor_of_nothing_is_nothing(tmp_path):
    with sqlite3.connect(tmp_path / "t.db") as database:
        database.execute("CREATE TABLE t AS SELECT 2.5 AS a UNION ALL SELECT NULL")
    url = f"sqlite:///{tmp_path / 't.db'}"
    assert rows(url, "SELECT FLOOR(a) FROM t ORDER BY a") == [(2.0,), (None,)]


FAILING = {
    "postgresql://user:${PW}@127.0.0.1:1/nyc": "cannot connect to .* check host, user, password",
    "postgres://user@127.0.0.1:1/nyc?password=${PW}": "cannot connect to ",
    "mysql://user:${PW}@127.0.0.1:1/nyc": "cannot connect to ",
    "mariadb://user:${PW}@no-such-host.invalid/nyc": "cannot connect to ",
    "mongodb://user:${PW}@127.0.0.1:1/nyc?serverSelectionTimeoutMS=300": "cannot be read: ",
    "mongodb+srv://user:${PW}@127.0.0.1/nyc": "cannot be read: ",
    "sqlite:///no/such/file.db?password=${PW}": "there is no file sqlite:///no/such/file.db",
    "snowflake://user:${PW}@account/nyc": "pip install 'snowflake-sqlalchemy'",
    "bigquery://project?credentials=${PW}": "pip install 'sqlalchemy-bigquery'",
    "mssql://user:${PW}@host/nyc": "pip install 'pyodbc'",
    "postgresql+nonsense://user:${PW}@host/nyc": r"begins with postgresql\+nonsense://",
    "gopher://user:${PW}@host/nyc": "begins with gopher://, which is none of a path, s3",
    "spark://127.0.0.1:1?spark.hadoop.fs.s3a.secret.key=${PW}": "no Spark master answers at ",
    "sc://127.0.0.1:1/;token=${PW}": "no Spark Connect server answers at 127.0.0.1:1",
    "hive://nyc?password=${PW}": "set HIVE_METASTORE_URIS=thrift",
    "s3://nyc/${PW}": "there is nothing|cannot be read",
    "/no/such/folder": "there is no file or folder /no/such/folder",
}


@pytest.mark.parametrize("url", FAILING)
def test_source_that_fails_says_what_to_do_and_nothing_secret(url, caplog, capfd):
    environ = AWS | {"PW": CANARY, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
    with caplog.at_level("DEBUG"):
        said = refused(url, environ)
    assert re.search(FAILING[url], said)
    assert "c4n4ry" not in caplog.text
    assert "c4n4ry" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("url", [url for url in FAILING if "${PW}@" in url or "=${PW}" in url])
def test_whole_url_of_a_variable_is_as_secret(url):
    environ = {"URL": url.replace("${PW}", quote(CANARY, safe=""))}
    said = refused("env:URL", environ)
    assert re.search(FAILING[url], said)


@pytest.mark.parametrize("url", [url for url in FAILING if "${PW}@" in url or "=${PW}" in url])
def test_password_in_an_argument_is_refused(url):
    said = refused(url.replace("${PW}", "literal"))
    assert said.startswith("the URL holds a password")
    assert "${NAME}" in said
    assert "env:NAME" in said
    assert "literal" not in said


@pytest.mark.parametrize("url", ["postgresql://u:c4n4ry/of@h/d", "mysql://u:c4n4ry?of@h/d"])
def test_password_that_parts_a_url_wrongly_is_refused_unseen(url):
    assert "percent-encode it" in refused("env:URL", {"URL": url})


def test_variable_that_is_not_set_is_named():
    assert "variable PW; set it" in refused("postgresql://user:${PW}@host/nyc")
    assert "variable MONGO_DB_URL; set it" in refused("mongodb")


def test_address_fills_each_part_as_it_needs():
    url = "postgresql://${USER}:${PW}@${HOST}:5432/nyc?sslmode=require&password=${PW}"
    address = read_source_url(url, {"USER": "me@work", "PW": CANARY, "HOST": "db.example"})
    hidden = quote(CANARY, safe="")
    assert address.url == (
        f"postgresql://me%40work:{hidden}@db.example:5432/nyc?sslmode=require&password={hidden}"
    )
    assert address.shown == (
        "postgresql://${USER}:***@${HOST}:5432/nyc?sslmode=require&password=***"
    )
    assert CANARY not in repr(address)
    assert hidden not in repr(address)
    masked = address.mask(f"no way in with {CANARY} or {hidden}")
    assert masked == "no way in with *** or ***"


def test_error_of_a_driver_that_repeats_a_secret_is_masked(tmp_path, monkeypatch):
    written(tmp_path, {"t.csv": CSV})

    def failing(self):
        raise KeyError(f"no {CANARY}")

    monkeypatch.setattr("slipway.data.sources.duckdb_engine.DuckDBEngine.tables", failing)
    assert "KeyError: 'no ***'" in refused(tmp_path, {"MY_PASSWORD": CANARY})


def test_own_files_are_shown_by_their_origin():
    with open_source(None, PROBLEM) as source:
        assert source.shown == PROBLEM.source
        assert source.rows("SELECT COUNT(*) FROM flights") == [(336_776,)]


def test_kinds_of_source_that_are_not_opened_are_not_imported(tmp_path):
    written(tmp_path, {"t.csv": CSV})
    heavy = ["flask", "obstore", "pymongo", "pyspark", "sqlalchemy"]
    code = READ.format(path=tmp_path, query="SELECT a FROM t") + textwrap.dedent(f"""
        import sys
        print([name for name in {heavy} if name in sys.modules])
    """)
    given = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert given.stdout.endswith(b"[]\n")
