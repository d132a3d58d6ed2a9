"""Read tables with Spark: from a catalog, Hive's metastore, or files in a folder."""

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
from slipway.data.sources.arrow_columns import ArrowConverter
from slipway.data.sources.duckdb_engine import cast_decimals
from slipway.data.sources.files import classify_path
from slipway.data.sources.missing_texts import DEFAULT, MissingTexts
from slipway.data.sources.source_url import SourceUrl
from slipway.data.sources.spark_csv import cast_columns
from slipway.data.sources.spark_session import open_spark, require_reachable

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

APP = "slipway etl"
DEFAULT_SETTINGS = {
    # The driver keeps several copies of one partition of the result in memory.
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
    """The tables of a Spark session.

    Parameters
    ----------
    session : SparkSession
    redacted : str
        The URL without secrets, for errors.
    scratch : Path, optional
        A folder that the executors share with this process.
    """

    dialect = "spark"

    def __init__(self, session: SparkSession, redacted: str, scratch: Path | None = None) -> None:
        self._session = session
        self._redacted = redacted
        self._scratch = scratch

    def use_database(self, database: str) -> None:
        """Select the database of the tables."""
        with self._errors():
            if not self._session.catalog.databaseExists(database):
                rows = self._session.sql("SHOW DATABASES").collect()
                existing = ", ".join(row[0] for row in rows)
                raise SlipwayError(
                    f"{self._redacted} has no database {database} (databases: {existing})"
                )
            self._session.catalog.setCurrentDatabase(database)

    def load(self, folder: str, name: str, missing: MissingTexts = DEFAULT) -> None:
        """Register the files with a table's name in a folder of any file system as a view."""
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
            kinds = {kind for kind in map(_file_kind, files) if kind is not None}
            if len(kinds) != 1:
                what = "no" if not kinds else "more than one kind of"
                raise SlipwayError(f"{folder} has {what} files for the table {name}")
            self._read(*kinds.pop(), pattern, missing).createOrReplaceTempView(name)

    def tables(self) -> list[str]:
        """Return the names of all tables and views."""
        with self._errors():
            return [row["tableName"] for row in self._session.sql("SHOW TABLES").collect()]

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return all rows."""
        with self._errors():
            return [*self._stream_rows(self._session.sql(sql))]

    def text_columns(self, sql: str) -> tuple[str, ...]:
        """Return no names: Spark sorts texts by bytes."""
        return ()

    def batches(self, sql: str, rows: int) -> Iterator[pa.RecordBatch]:
        """Yield all rows in batches.

        A local Spark writes the result to files on all cores, in order. A cluster sends one
        partition at a time through the driver.
        """
        with self._errors():
            frame = self._session.sql(sql)
            if self._scratch is not None:
                yield from self._read_from_files(frame, self._scratch, rows)
                return
            columns, parts = ArrowConverter(frame.columns), iter(self._stream_rows(frame))
            while chunk := list(islice(parts, rows)):
                yield columns.batch(chunk)

    def _read_from_files(
        self, frame: DataFrame, scratch: Path, rows: int
    ) -> Iterator[pa.RecordBatch]:
        """Write a result to files on this machine, and yield its batches."""
        import pyarrow.parquet as pq

        with TemporaryDirectory(dir=scratch) as folder:
            frame.write.mode("overwrite").parquet(f"file://{folder}")
            for file in sorted(Path(folder).glob("part-*.parquet")):
                with pq.ParquetFile(file) as opened:
                    yield from map(cast_decimals, opened.iter_batches(rows))

    def _read(self, kind: str, suffix: str, pattern: str, missing: MissingTexts) -> DataFrame:
        """Read files as a table, with NULL for the texts that mean a missing value."""
        options = dict(READERS[kind])
        reader = self._session.read.format(options.pop("format")).options(**options)
        if kind != "text":
            return reader.load(pattern)
        texts = reader.option("sep", SEPARATORS.get(suffix, ",")).load(pattern)
        return cast_columns(texts, missing)

    def _stream_rows(self, frame: DataFrame) -> Iterator[tuple[Any, ...]]:
        """Yield rows, one partition at a time, with times in UTC."""
        from pyspark.sql import functions
        from pyspark.sql.types import TimestampType

        types = [field.dataType for field in frame.schema]
        timestamps = [i for i, kind in enumerate(types) if isinstance(kind, TimestampType)]
        names = [functions.col(f"`{name}`") for name in frame.columns]
        for i in timestamps:
            names[i] = functions.unix_micros(names[i])
        for row in (frame.select(*names) if timestamps else frame).toLocalIterator(
            prefetchPartitions=True
        ):
            values = list(row)
            for i in timestamps:
                values[i] = None if values[i] is None else _to_datetime(values[i])
            yield tuple(values)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Convert Spark errors to messages without plan and stack trace."""
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
            reason = _summarize_error(error)
            raise SlipwayError(f"query on {self._redacted} failed: {reason}") from error


@contextmanager
def open_catalog(
    source_url: SourceUrl,
    tables: Sequence[str],
    environ: Mapping[str, str],
    scratch: Path,
    memory: int | None,
    missing: MissingTexts,
) -> Iterator[SparkCatalogEngine]:
    """Start Spark and open the tables of a source.

    Parameters
    ----------
    source_url : SourceUrl
        ``spark://master/DATABASE``, ``sc://host:15002/DATABASE`` or ``hive://DATABASE``.
    tables : sequence of str
        Names of the tables to read if they are files in a folder: ``?path=FOLDER``.
    environ : mapping of str to str
    scratch : Path
    memory : int, optional
        Memory of the driver in bytes.
    missing : MissingTexts
        The texts that mean a missing value in text files.

    Yields
    ------
    SparkCatalogEngine

    Raises
    ------
    SlipwayError
        Spark does not start, or the database or the files of a table do not exist.
    """
    conf = {key: text for key, text in source_url.query.items() if key.startswith("spark.")}
    if memory is not None:
        conf.setdefault("spark.driver.memory", f"{max(memory >> 20, 512)}m")
    for key, text in DEFAULT_SETTINGS.items():
        conf.setdefault(key, text)
    database = source_url.path.strip("/")
    if source_url.scheme == "hive":
        database = source_url.host
        conf = _hive_settings(source_url, environ) | conf
    master = _master(source_url)
    with open_spark(master, APP, **conf) as session:
        shared = scratch if master.startswith("local") else None
        catalog = SparkCatalogEngine(session, source_url.redacted, shared)
        if database:
            catalog.use_database(database)
        for name in tables if "path" in source_url.query else ():
            catalog.load(source_url.query["path"], name, missing)
        yield catalog


def _master(source_url: SourceUrl) -> str:
    """Return the Spark master of a URL."""
    if source_url.scheme == "hive":
        return source_url.query.get("master", "local[*]")
    if source_url.scheme == "sc":
        settings = "".join(
            f";{key}={text}"
            for key, text in source_url.query.items()
            if key != "path" and not key.startswith("spark.")
        )
        return f"sc://{source_url.host}/{settings}"
    return source_url.host if LOCAL.fullmatch(source_url.host) else f"spark://{source_url.host}"


def _hive_settings(source_url: SourceUrl, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of Hive's metastore; Spark's default is the working folder."""
    uris = environ.get(METASTORE, "")
    folders = [environ[name] for name in ("SPARK_CONF_DIR", "HADOOP_CONF_DIR") if name in environ]
    has_hive_site = any((Path(folder) / "hive-site.xml").is_file() for folder in folders)
    if not uris and not has_hive_site and not any("metastore" in key for key in source_url.query):
        raise SlipwayError(
            f"{source_url.redacted} needs a metastore: set {METASTORE}=thrift://host:9083, or "
            "SPARK_CONF_DIR to the folder of hive-site.xml"
        )
    conf = {"spark.sql.catalogImplementation": "hive"}
    if uris:
        parts = [urlsplit(uri.strip()) for uri in uris.split(",")]
        servers = [f"{part.hostname}:{part.port or 9083}" for part in parts]
        require_reachable("Hive metastore", servers)
        conf["spark.hadoop.hive.metastore.uris"] = uris
    return conf


def _file_kind(file: str) -> tuple[str, str] | None:
    """Return the kind of a file, and the suffix that implies its separator."""
    path = PurePosixPath(file)
    kind = classify_path(PurePosixPath(path.name))[1]
    return None if kind is None else (kind, next((s for s in path.suffixes if s in SEPARATORS), ""))


def _to_datetime(micros: int) -> datetime:
    """Return the time that is some microseconds after 1970."""
    seconds, rest = divmod(micros, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)


def _summarize_error(error: Exception) -> str:
    """Return the first lines of a Spark error, and its last cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    causes = [line for line in lines if line.startswith("Caused by: ")]
    return " ".join(lines[:2] + causes[-1:])[:500] or type(error).__name__
