"""Write the rows of a statement at the source, atomically."""

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
DRAFT_NAME = "slipway_half_written"
REPLACED_NAME = "slipway_replaced"


def fetch_native_rows(source: Source, sql: str) -> list[tuple[Any, ...]]:
    """Return all rows of a statement in the source's own dialect.

    Parameters
    ----------
    source : Source
    sql : str

    Returns
    -------
    list of tuple
    """
    engine_source = _engine_source(source)
    with engine_source._source_url.mask_errors():
        return engine_source._engine.rows(sql)


def write_rows(source: Source, sql: str, out: str, *, replace: bool) -> int:
    """Write the rows of a statement to a file or table.

    Parameters
    ----------
    source : Source
    sql : str
        A statement in the source's own dialect.
    out : str
        A ``.parquet`` or ``.csv`` file on this machine, or ``table:NAME`` in a database. With
        Spark, any other name is a folder of Parquet files.
    replace : bool
        Whether to replace an existing output.

    Returns
    -------
    int
        The number of rows.

    Raises
    ------
    SlipwayError
        The output exists, or the engine fails. An existing output stays unchanged.
    """
    engine_source = _engine_source(source)
    with engine_source._source_url.mask_errors():
        if _is_file(out) and not isinstance(engine_source._engine, DuckDBEngine):
            return _write_batches(engine_source._engine, sql, Path(out), replace=replace)
        return _write(engine_source._engine, sql, out, replace=replace)


def _is_file(out: str) -> bool:
    """Return whether an output is one file on this machine."""
    return "://" not in out and not out.startswith(TABLE) and out.endswith((".parquet", ".csv"))


def _engine_source(source: Source) -> EngineSource:
    if not isinstance(source, EngineSource):
        raise SlipwayError(f"{source.redacted} has no engine for queries in its own dialect")
    return source


@singledispatch
def _write(engine: Any, sql: str, out: str, *, replace: bool) -> int:
    """Write the rows of a statement with an engine."""
    raise SlipwayError(f"cannot write with a {type(engine).__name__}")


@_write.register
def _(engine: DuckDBEngine, sql: str, out: str, *, replace: bool) -> int:
    with _atomic_file(Path(_file_name(out)), replace=replace) as draft:
        return _copy_to_file(engine, sql, draft, csv=out.endswith(".csv"))


def _write_batches(engine: QueryEngine, sql: str, path: Path, *, replace: bool) -> int:
    """Write the batches of an engine to one file.

    Each batch has the types of its own values; DuckDB infers the common types.
    """
    import pyarrow.parquet as pq

    with (
        _atomic_file(path, replace=replace) as draft,
        TemporaryDirectory(prefix="slipway-") as folder,
    ):
        parts = 0
        for parts, batch in enumerate(engine.batches(sql, BATCH_ROWS), 1):
            with pq.ParquetWriter(Path(folder) / f"{parts:09}.parquet", batch.schema) as writer:
                writer.write_batch(batch)
        if not parts:
            raise SlipwayError("the query returns no rows to score")
        with TemporaryDirectory(prefix="slipway-") as scratch, open_duckdb(Path(scratch)) as duckdb:
            query = f"FROM read_parquet('{folder}/*.parquet', union_by_name = true)"
            return _copy_to_file(duckdb, query, draft, csv=path.suffix == ".csv")


def _copy_to_file(engine: DuckDBEngine, sql: str, path: Path, *, csv: bool) -> int:
    """Write the rows of a DuckDB query to a file."""
    quoted_path = str(path).replace("'", "''")
    file_format = "csv, HEADER" if csv else "parquet"
    return int(engine.rows(f"COPY ({sql}) TO '{quoted_path}' (FORMAT {file_format})")[0][0])


@contextmanager
def _atomic_file(path: Path, *, replace: bool) -> Iterator[Path]:
    """Yield a temporary path, and rename it to ``path`` on success."""
    if path.exists() and (path.is_dir() or not replace):
        raise _output_exists(str(path))
    draft = path.with_name(f".{path.name}.tmp")
    try:
        yield draft
        os.replace(draft, path)
    except OSError as error:
        raise SlipwayError(f"cannot write {path}: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)


@_write.register
def _(engine: SparkCatalogEngine, sql: str, out: str, *, replace: bool) -> int:
    session, folder = engine._session, _file_name(out)
    if not hasattr(session, "_jvm"):
        raise SlipwayError("cannot write through Spark Connect; use the master, spark://host")
    stem = folder.rstrip("/")
    draft, replaced = f"{stem}.{DRAFT_NAME}", f"{stem}.{REPLACED_NAME}"
    with engine._errors():
        paths = session.sparkContext._jvm.org.apache.hadoop.fs.Path  # type: ignore[union-attr]
        target = paths(folder)
        files = target.getFileSystem(session.sparkContext._jsc.hadoopConfiguration())
        if files.exists(target) and not replace:
            raise _output_exists(out)
        session.sql(sql).write.mode("overwrite").parquet(draft)
        rows = session.read.parquet(draft).count()
        if files.exists(target):
            files.rename(target, paths(replaced))
        files.rename(paths(draft), target)
        files.delete(paths(replaced), True)
    return rows


@_write.register
def _(engine: SqlAlchemyEngine, sql: str, out: str, *, replace: bool) -> int:
    name = _table_name(out)
    with engine._errors():
        import sqlalchemy

        # The open read transaction has locks that would block the new table.
        engine._connection.rollback()
        with _open_writer(engine._connection.engine) as connection:
            exists = sqlalchemy.inspect(connection).has_table(name)
            if exists and not replace:
                raise _output_exists(out)
            quote = connection.dialect.identifier_preparer.quote_identifier
            return _replace_table(
                connection, sql, quote(name), quote(DRAFT_NAME), quote(REPLACED_NAME), exists
            )


def _replace_table(
    connection: sqlalchemy.Connection, sql: str, name: str, draft: str, replaced: str, exists: bool
) -> int:
    """Create a table under a temporary name, then rename it; return the number of rows.

    MySQL commits after each of these statements, so there one RENAME statement swaps the tables.
    """

    def run(statement: str) -> Any:
        return connection.exec_driver_sql(statement, execution_options={"no_parameters": True})

    is_mysql = connection.dialect.name in ("mysql", "mariadb")
    run(f"DROP TABLE IF EXISTS {draft}")
    try:
        run(f"CREATE TABLE {draft} AS {sql}")
        rows = int(run(f"SELECT COUNT(*) FROM {draft}").scalar_one())  # noqa: S608
        if is_mysql and exists:
            run(f"RENAME TABLE {name} TO {replaced}, {draft} TO {name}")
            run(f"DROP TABLE {replaced}")
        else:
            if exists:
                run(f"DROP TABLE {name}")
            run(f"ALTER TABLE {draft} RENAME TO {name}")
    except Exception:
        if is_mysql:
            run(f"DROP TABLE IF EXISTS {draft}")
        raise
    return rows


@contextmanager
def _open_writer(engine: sqlalchemy.Engine) -> Iterator[sqlalchemy.Connection]:
    """Open a writable connection with one transaction."""
    import sqlalchemy

    sqlite = engine.dialect.name == "sqlite"
    url = engine.url.update_query_dict({"mode": "rw"}) if sqlite else engine.url
    writing = sqlalchemy.create_engine(url)
    try:
        with writing.connect() as connection:
            if sqlite:
                # Python's module starts a transaction only at the first INSERT.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            connection.commit()
    finally:
        writing.dispose()


def _table_name(out: str) -> str:
    """Return the table that an output names."""
    if not out.startswith(TABLE) or not out.removeprefix(TABLE):
        raise SlipwayError(
            f"the output {out} is neither a table nor a file; use {TABLE}NAME, "
            "or a name that ends in .parquet or .csv"
        )
    return out.removeprefix(TABLE)


def _file_name(out: str) -> str:
    """Return the file or folder that an output names."""
    if out.startswith(TABLE):
        raise SlipwayError(f"{out} needs a database; use a file that ends in .parquet or .csv")
    return out


def _output_exists(out: str) -> SlipwayError:
    return SlipwayError(f"{out} exists; --replace overwrites it")
