"""Tables that Spark knows: of a catalog, of Hive's metastore, or files in a folder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from slipway.core.errors import SlipwayError
from slipway.data.sources.arrow_columns import Columns
from slipway.data.sources.duckdb_engine import plain_numbers
from slipway.data.sources.files import table_of
from slipway.data.sources.missing_texts import USUAL, MissingTexts
from slipway.data.sources.source_url import SourceUrl
from slipway.data.sources.spark_csv import typed_texts
from slipway.data.sources.spark_session import open_spark, require_answer

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

APP = "slipway etl"
RESULT = {
    # The driver holds a part of the result at a time, several times over.
    "spark.sql.adaptive.advisoryPartitionSizeInBytes": "4m",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.shuffle.partitions": "200",
}
METASTORE = "HIVE_METASTORE_URIS"
LOCAL = re.compile(r"(local(\[.*\])?|yarn)")
READERS: dict[str, dict[str, Any]] = {
    "text": {"format": "csv", "header": True},
    "json": {"format": "json"},
    "parquet": {"format": "parquet"},
}
SEPARATORS = {".tsv": "\t", ".psv": "|"}


class SparkCatalogEngine:
    """A Spark session's tables.

    Parameters
    ----------
    session : SparkSession
    shown : str
    scratch : Path, optional
        A folder that the session's executors share with this process.
    """

    dialect = "spark"

    def __init__(self, session: SparkSession, shown: str, scratch: Path | None = None) -> None:
        self._session = session
        self._shown = shown
        self._scratch = scratch

    def use(self, database: str) -> None:
        """Take tables from a database."""
        with self._errors():
            if not self._session.catalog.databaseExists(database):
                there = ", ".join(row[0] for row in self._session.sql("SHOW DATABASES").collect())
                raise SlipwayError(f"{self._shown}: no database {database} (there are: {there})")
            self._session.catalog.setCurrentDatabase(database)

    def load(self, folder: str, name: str, missing: MissingTexts = USUAL) -> None:
        """Read a table from the files of its name in a folder, on whatever file system."""
        pattern = f"{folder.rstrip('/')}/{{{name},{name}.*}}"
        options = {"recursiveFileLookup": "true"}
        with self._errors():
            try:
                listed = self._session.read.format("binaryFile").options(**options).load(pattern)
                files = [row[0] for row in listed.select("path").limit(1000).collect()]
            except Exception as error:
                if "PATH_NOT_FOUND" not in str(error):
                    raise
                files = []
            kinds = {kind for kind in map(_kind, files) if kind is not None}
            if len(kinds) != 1:
                what = "no" if not kinds else "more than one kind of"
                raise SlipwayError(f"{folder} has {what} files for the table {name}")
            self._read(kinds.pop(), pattern, missing).createOrReplaceTempView(name)

    def tables(self) -> list[str]:
        """Name the tables and views that there are."""
        with self._errors():
            return [row["tableName"] for row in self._session.sql("SHOW TABLES").collect()]

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Give all rows."""
        with self._errors():
            return [*self._streamed(self._session.sql(sql))]

    def texts(self, sql: str) -> tuple[str, ...]:
        """Name none: texts are in the order of their bytes."""
        return ()

    def batches(self, sql: str, rows: int) -> Iterator[pa.RecordBatch]:
        """Give all rows, so many at a time.

        In this process's own Spark all cores write them down, in order; what a cluster gives
        comes a part at a time by way of the driver.
        """
        with self._errors():
            frame = self._session.sql(sql)
            if self._scratch is not None:
                yield from self._stored(frame, self._scratch, rows)
                return
            columns, parts = Columns(frame.columns), iter(self._streamed(frame))
            while taken := list(islice(parts, rows)):
                yield columns.batch(taken)

    def _stored(self, frame: DataFrame, scratch: Path, rows: int) -> Iterator[pa.RecordBatch]:
        """Give rows by way of files on this machine."""
        import pyarrow.parquet as pq

        with TemporaryDirectory(dir=scratch) as folder:
            frame.write.mode("overwrite").parquet(f"file://{folder}")
            for file in sorted(Path(folder).glob("part-*.parquet")):
                with pq.ParquetFile(file) as opened:
                    yield from map(plain_numbers, opened.iter_batches(rows))

    def _read(self, found: tuple[str, str], pattern: str, missing: MissingTexts) -> DataFrame:
        """Read files as a table; a text that stands for a missing value is NULL."""
        kind, suffix = found
        options = dict(READERS[kind])
        reader = self._session.read.format(options.pop("format")).options(**options)
        if kind != "text":
            return reader.load(pattern)
        texts = reader.option("sep", SEPARATORS.get(suffix, ",")).load(pattern)
        return typed_texts(texts, missing)

    def _streamed(self, frame: DataFrame) -> Iterator[tuple[Any, ...]]:
        """Give rows a part at a time, with times in UTC, whatever Python's own zone is."""
        from pyspark.sql import functions
        from pyspark.sql.types import TimestampType

        zoned = [i for i, f in enumerate(frame.schema) if isinstance(f.dataType, TimestampType)]
        names = [functions.col(f"`{name}`") for name in frame.columns]
        for i in zoned:
            names[i] = functions.unix_micros(names[i])
        for row in (frame.select(*names) if zoned else frame).toLocalIterator(
            prefetchPartitions=True
        ):
            values = list(row)
            for i in zoned:
                values[i] = None if values[i] is None else _moment(values[i])
            yield tuple(values)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Say what Spark said, without its plan and its stack."""
        from pyspark.errors import PySparkException

        kinds: tuple[type[Exception], ...] = (PySparkException, OSError, EOFError, RuntimeError)
        try:
            from py4j.protocol import Py4JError  # type: ignore[import-untyped]

            kinds = (*kinds, Py4JError)
        except ImportError:
            pass
        try:
            yield
        except kinds as error:
            said = _said(error)
            raise SlipwayError(f"{self._shown} did not answer the query: {said}") from error


@contextmanager
def open_catalog(
    address: SourceUrl,
    wanted: Sequence[str],
    environ: Mapping[str, str],
    scratch: Path,
    memory: int | None,
    missing: MissingTexts,
) -> Iterator[SparkCatalogEngine]:
    """Start Spark on a source's tables.

    Parameters
    ----------
    address : SourceUrl
        ``spark://master/DATABASE``, ``sc://host:15002/DATABASE`` or ``hive://DATABASE``.
    wanted : sequence of str
        The tables, where they are files in a folder: ``?path=FOLDER``.
    environ : mapping of str to str
    scratch : Path
    memory : int, optional
        Bytes of the driver.
    missing : MissingTexts
        Of text files.

    Yields
    ------
    SparkCatalogEngine

    Raises
    ------
    SlipwayError
        There is no Spark, no database, or no file of a table.
    """
    conf = {key: text for key, text in address.query.items() if key.startswith("spark.")}
    if memory is not None:
        conf.setdefault("spark.driver.memory", f"{max(memory >> 20, 512)}m")
    for key, text in RESULT.items():
        conf.setdefault(key, text)
    database = address.path.strip("/")
    if address.scheme == "hive":
        database = address.host
        conf = _hive(address, environ) | conf
    master = _master(address)
    with open_spark(master, APP, **conf) as session:
        shared = scratch if master.startswith("local") else None
        catalog = SparkCatalogEngine(session, address.shown, shared)
        if database:
            catalog.use(database)
        for name in wanted if "path" in address.query else ():
            catalog.load(address.query["path"], name, missing)
        yield catalog


def _master(address: SourceUrl) -> str:
    """Give the master that a URL means."""
    if address.scheme == "hive":
        return address.query.get("master", "local[*]")
    if address.scheme == "sc":
        own = {k: v for k, v in address.query.items() if k != "path" and not k.startswith("spark.")}
        settings = "".join(f";{key}={text}" for key, text in own.items())
        return f"sc://{address.host}/{settings}"
    return address.host if LOCAL.fullmatch(address.host) else f"spark://{address.host}"


def _hive(address: SourceUrl, environ: Mapping[str, str]) -> dict[str, str]:
    """Say where Hive's metastore is; Spark would otherwise make one in the current folder."""
    uris = environ.get(METASTORE, "")
    folders = [environ[name] for name in ("SPARK_CONF_DIR", "HADOOP_CONF_DIR") if name in environ]
    known = any((Path(folder) / "hive-site.xml").is_file() for folder in folders)
    if not uris and not known and not any("metastore" in key for key in address.query):
        raise SlipwayError(
            f"{address.shown} needs a metastore: set {METASTORE}=thrift://host:9083, or "
            "SPARK_CONF_DIR to the folder of hive-site.xml"
        )
    conf = {"spark.sql.catalogImplementation": "hive"}
    if uris:
        parts = [urlsplit(uri.strip()) for uri in uris.split(",")]
        require_answer("Hive metastore", [f"{part.hostname}:{part.port or 9083}" for part in parts])
        conf["spark.hadoop.hive.metastore.uris"] = uris
    return conf


def _kind(file: str) -> tuple[str, str] | None:
    """Give the kind of a file, and its suffix, which tells what its cells are parted by."""
    path = PurePosixPath(file)
    kind = table_of(PurePosixPath(path.name))[1]
    return None if kind is None else (kind, next((s for s in path.suffixes if s in SEPARATORS), ""))


def _moment(micros: int) -> datetime:
    """Give a time by its microseconds since 1970."""
    seconds, rest = divmod(micros, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)


def _said(error: Exception) -> str:
    """Give what Spark said first, and the last of its causes."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    causes = [line for line in lines if line.startswith("Caused by: ")]
    return " ".join(lines[:2] + causes[-1:])[:500] or type(error).__name__
