"""Query files, and copies of sources without SQL, with DuckDB."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from slipway.core.errors import SlipwayError
from slipway.data.sources.csv_files import diagnose, prepare_csv
from slipway.data.sources.csv_tables import load_text, quote
from slipway.data.sources.missing_texts import DEFAULT, MissingTexts

READERS = {
    "json": "read_json($files, sample_size = -1, union_by_name = true)",
    "parquet": "read_parquet($files, union_by_name = true)",
}
DISK_FULL = ("No space left", "File too large", "disk quota", "max_temp_directory_size")


class DuckDBEngine:
    """A DuckDB database in a scratch folder; tables can be larger than memory.

    Parameters
    ----------
    connection : DuckDBPyConnection
    scratch : Path
    """

    dialect = "duckdb"

    def __init__(self, connection: duckdb.DuckDBPyConnection, scratch: Path) -> None:
        self._connection = connection
        self._scratch = scratch

    def load(
        self,
        name: str,
        kind: str,
        files: Sequence[Path],
        missing: MissingTexts = DEFAULT,
    ) -> None:
        """Create a table from files of a kind: ``text``, ``json`` or ``parquet``.

        Parquet files become a view; other files are parsed once and copied.
        """
        if kind == "text":
            self._load_text(name, files, missing)
            return
        parameters = {"files": [str(file) for file in files]}
        with self._errors(f"cannot read {files[0]} as {kind}"):
            if kind == "parquet":
                relation = self._connection.sql(f"FROM {READERS[kind]}", params=parameters)
                relation.create_view(name)
            else:
                create = f"CREATE TABLE {quote(name)} AS FROM {READERS[kind]}"
                self._connection.execute(create, parameters)

    def _load_text(self, name: str, files: Sequence[Path], missing: MissingTexts) -> None:
        """Create a table from delimited text; diagnose files that cannot be read."""
        usable = [prepare_csv(file, self._scratch) for file in files]
        try:
            with self._errors(f"cannot read {files[0]} as text"):
                load_text(self._connection, name, usable, missing)
        except SlipwayError as error:
            reason = None if "the disk of" in error.message else diagnose(usable)
            if reason is None:
                raise
            for file, used in zip(files, usable, strict=True):
                reason = reason.replace(str(used), str(file))
            raise SlipwayError(reason) from error

    def tables(self) -> list[str]:
        """Return the names of all tables."""
        return [name for (name,) in self.rows("SELECT table_name FROM information_schema.tables")]

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return all rows."""
        with self._errors("the query failed"), self._connection.cursor() as cursor:
            return list(cursor.execute(sql).fetchall())

    def text_columns(self, sql: str) -> tuple[str, ...]:
        """Return no names: DuckDB sorts texts by bytes."""
        return ()

    def batches(self, sql: str, rows: int) -> Iterator[pa.RecordBatch]:
        """Yield all rows in batches."""
        with self._errors("the query failed"), self._connection.cursor() as cursor:
            for batch in cursor.sql(sql).to_arrow_reader(rows):
                yield cast_decimals(batch)

    @contextmanager
    def _errors(self, context: str) -> Iterator[None]:
        """Convert DuckDB errors to one-line messages."""
        try:
            yield
        # Arrow wraps the errors that DuckDB raises while rows are read.
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise _to_slipway_error(error, context, self._scratch) from error


def _to_slipway_error(error: Exception, context: str, scratch: Path) -> SlipwayError:
    """Return a one-line error for an exception of DuckDB."""
    reason = str(error)
    if any(word.lower() in reason.lower() for word in DISK_FULL):
        fix = "free some space, or set TMPDIR to a folder on another disk"
        return SlipwayError(f"the disk of {scratch.parent} is full; {fix}")
    lines = [line.strip() for line in reason.partition("\nLINE ")[0].splitlines() if line.strip()]
    return SlipwayError(f"{context}: {' '.join(lines[:2])}")


@contextmanager
def open_duckdb(scratch: Path, memory: int | None = None) -> Iterator[DuckDBEngine]:
    """Create an empty database.

    Parameters
    ----------
    scratch : Path
        The folder of the database and of spilled data.
    memory : int, optional
        Memory limit in bytes.

    Yields
    ------
    DuckDBEngine
    """
    config: dict[str, Any] = {"temp_directory": str(scratch / "spilled")}
    if memory is not None:
        config["memory_limit"] = f"{memory} bytes"
    try:
        with duckdb.connect(str(scratch / "tables.duckdb"), config=config) as connection:
            connection.execute("SET GLOBAL TimeZone = 'UTC'")
            yield DuckDBEngine(connection, scratch)
    except duckdb.Error as error:
        raise _to_slipway_error(error, "DuckDB failed", scratch) from error


def cast_decimals(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Cast decimals to doubles, which every engine has.

    Parameters
    ----------
    batch : RecordBatch

    Returns
    -------
    RecordBatch
    """
    for i, column in enumerate(batch.schema):
        if pa.types.is_decimal(column.type):
            batch = batch.set_column(i, column.name, pc.cast(batch.column(i), pa.float64()))
    return batch
