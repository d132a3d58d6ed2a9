"""Write the rows of a statement where the source is, in one step: all of them or nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import singledispatch
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from slipway.core.errors import SlipwayError
from slipway.data.sources.databases import SqlAlchemyEngine
from slipway.data.sources.duckdb_engine import DuckDBEngine, open_duckdb
from slipway.data.sources.engine import BATCH_ROWS, EngineSource, QueryEngine, Source
from slipway.data.sources.spark_catalog import SparkCatalogEngine

if TYPE_CHECKING:
    import sqlalchemy

TABLE = "table:"
HALF = "slipway_half_written"
GONE = "slipway_replaced"


def native_rows(source: Source, sql: str) -> list[tuple[Any, ...]]:
    """Give all rows of a statement in the source's own dialect.

    Parameters
    ----------
    source : Source
    sql : str

    Returns
    -------
    list of tuple
    """
    opened = _engine_source(source)
    with opened._address.masked():
        return opened._engine.rows(sql)


def write(source: Source, sql: str, out: str, *, replace: bool) -> int:
    """Write the rows of a statement.

    Parameters
    ----------
    source : Source
    sql : str
        In the source's own dialect.
    out : str
        A ``.parquet`` or ``.csv`` file on this machine; ``table:NAME`` in a database; with Spark
        any other name is a folder of Parquet files.
    replace : bool
        Whether what is there may be replaced.

    Returns
    -------
    int
        How many rows there are.

    Raises
    ------
    SlipwayError
        The output exists, or the engine fails; then what was there before is untouched.
    """
    opened = _engine_source(source)
    with opened._address.masked():
        if _is_file(out) and not isinstance(opened._engine, DuckDBEngine):
            return _streamed(opened._engine, sql, Path(out), replace=replace)
        return _write(opened._engine, sql, out, replace=replace)


def _is_file(out: str) -> bool:
    """Whether an output is one file on this machine."""
    return "://" not in out and not out.startswith(TABLE) and out.endswith((".parquet", ".csv"))


def _engine_source(source: Source) -> EngineSource:
    if not isinstance(source, EngineSource):
        raise SlipwayError(f"{source.shown} has no engine that could be asked in its own dialect")
    return source


@singledispatch
def _write(engine: Any, sql: str, out: str, *, replace: bool) -> int:
    """Write with an engine."""
    raise SlipwayError(f"there is no way to write with a {type(engine).__name__}")


@_write.register
def _(engine: DuckDBEngine, sql: str, out: str, *, replace: bool) -> int:
    with _in_one_step(Path(_file(out)), replace=replace) as half:
        return _copied(engine, sql, half, csv=out.endswith(".csv"))


def _streamed(engine: QueryEngine, sql: str, path: Path, *, replace: bool) -> int:
    """Write the rows that an engine gives, so many at a time, into one file.

    Each batch has the types of its own values, and DuckDB finds those that hold for all.
    """
    import pyarrow.parquet as pq

    with (
        _in_one_step(path, replace=replace) as half,
        TemporaryDirectory(prefix="slipway-") as folder,
    ):
        parts = 0
        for parts, batch in enumerate(engine.batches(sql, BATCH_ROWS), 1):
            with pq.ParquetWriter(Path(folder) / f"{parts:09}.parquet", batch.schema) as writer:
                writer.write_batch(batch)
        if not parts:
            raise SlipwayError("the query gives no rows to score")
        with TemporaryDirectory(prefix="slipway-") as scratch, open_duckdb(Path(scratch)) as duck:
            given = f"FROM read_parquet('{folder}/*.parquet', union_by_name = true)"
            return _copied(duck, given, half, csv=path.suffix == ".csv")


def _copied(duck: DuckDBEngine, sql: str, path: Path, *, csv: bool) -> int:
    """Write the rows of a query of DuckDB's as a file."""
    text = str(path).replace("'", "''")
    form = "csv, HEADER" if csv else "parquet"
    return int(duck.rows(f"COPY ({sql}) TO '{text}' (FORMAT {form})")[0][0])


@contextmanager
def _in_one_step(path: Path, *, replace: bool) -> Iterator[Path]:
    """Yield another name to write to; the file gets its own name at the end, or never."""
    if path.exists() and (path.is_dir() or not replace):
        raise _exists(str(path))
    half = path.with_name(f".{path.name}.tmp")
    try:
        yield half
        os.replace(half, path)
    except OSError as error:
        raise SlipwayError(f"cannot write {path}: {error.strerror}") from error
    finally:
        half.unlink(missing_ok=True)


@_write.register
def _(engine: SparkCatalogEngine, sql: str, out: str, *, replace: bool) -> int:
    session, folder = engine._session, _file(out)
    if not hasattr(session, "_jvm"):
        raise SlipwayError("a Spark Connect server cannot write so: give its master, spark://host")
    half, gone = f"{folder.rstrip('/')}.{HALF}", f"{folder.rstrip('/')}.{GONE}"
    with engine._errors():
        paths = session.sparkContext._jvm.org.apache.hadoop.fs.Path  # type: ignore[union-attr]
        target = paths(folder)
        files = target.getFileSystem(session.sparkContext._jsc.hadoopConfiguration())
        if files.exists(target) and not replace:
            raise _exists(out)
        session.sql(sql).write.mode("overwrite").parquet(half)
        rows = session.read.parquet(half).count()
        if files.exists(target):
            files.rename(target, paths(gone))
        files.rename(paths(half), target)
        files.delete(paths(gone), True)
    return rows


@_write.register
def _(engine: SqlAlchemyEngine, sql: str, out: str, *, replace: bool) -> int:
    name = _table(out)
    with engine._errors():
        import sqlalchemy

        # What was read so far would hold the locks that a new table has to wait for.
        engine._connection.rollback()
        with _writer(engine._connection.engine) as connection:
            there = sqlalchemy.inspect(connection).has_table(name)
            if there and not replace:
                raise _exists(out)
            quote = connection.dialect.identifier_preparer.quote_identifier
            return _replaced(connection, sql, quote(name), quote(HALF), quote(GONE), there)


def _replaced(
    connection: sqlalchemy.Connection, sql: str, name: str, half: str, gone: str, there: bool
) -> int:
    """Make a table under another name, and give it its own at the end.

    MySQL ends a transaction with each of these statements, so that the last is but one there.
    """

    def run(statement: str) -> Any:
        return connection.exec_driver_sql(statement, execution_options={"no_parameters": True})

    in_one = connection.dialect.name in ("mysql", "mariadb")
    run(f"DROP TABLE IF EXISTS {half}")
    try:
        run(f"CREATE TABLE {half} AS {sql}")
        rows = int(run(f"SELECT COUNT(*) FROM {half}").scalar_one())  # noqa: S608
        if in_one and there:
            run(f"RENAME TABLE {name} TO {gone}, {half} TO {name}")
            run(f"DROP TABLE {gone}")
        else:
            if there:
                run(f"DROP TABLE {name}")
            run(f"ALTER TABLE {half} RENAME TO {name}")
    except Exception:
        if in_one:
            run(f"DROP TABLE IF EXISTS {half}")
        raise
    return rows


@contextmanager
def _writer(engine: sqlalchemy.Engine) -> Iterator[sqlalchemy.Connection]:
    """Open a connection that may write, in one transaction."""
    import sqlalchemy

    sqlite = engine.dialect.name == "sqlite"
    url = engine.url.update_query_dict({"mode": "rw"}) if sqlite else engine.url
    writing = sqlalchemy.create_engine(url)
    try:
        with writing.connect() as connection:
            if sqlite:
                # Python's module would begin a transaction only with the first INSERT.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            connection.commit()
    finally:
        writing.dispose()


def _table(out: str) -> str:
    """Give the table that an output names."""
    if not out.startswith(TABLE) or not out.removeprefix(TABLE):
        raise SlipwayError(
            f"the output {out} is neither a table of the database nor a file: give {TABLE}NAME, "
            "or a name that ends in .parquet or .csv"
        )
    return out.removeprefix(TABLE)


def _file(out: str) -> str:
    """Give the file or folder that an output names."""
    if out.startswith(TABLE):
        raise SlipwayError(f"{out} needs a database; give a file that ends in .parquet or .csv")
    return out


def _exists(out: str) -> SlipwayError:
    return SlipwayError(f"{out} exists; --replace puts the new answers in its place")
