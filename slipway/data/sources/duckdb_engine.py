"""DuckDB, over files or over what sources without SQL have been copied into."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from slipway.core.errors import SlipwayError
from slipway.data.sources.csv_files import diagnosis, ready
from slipway.data.sources.csv_tables import load_text, quoted
from slipway.data.sources.missing_texts import USUAL, MissingTexts

READERS = {
    "json": "read_json($files, sample_size = -1, union_by_name = true)",
    "parquet": "read_parquet($files, union_by_name = true)",
}
FULL = ("No space left", "File too large", "disk quota", "max_temp_directory_size")


class DuckDBEngine:
    """A DuckDB database in a scratch folder, so that tables may be larger than memory.

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
        missing: MissingTexts = USUAL,
    ) -> None:
        """Make a table of files: ``text``, ``json`` or ``parquet``.

        Parquet is read where it is; text is parsed once, however often a query reads it.
        """
        if kind == "text":
            self._load_text(name, files, missing)
            return
        words = {"files": [str(file) for file in files]}
        with self._errors(f"{files[0]} cannot be read as {kind}"):
            if kind == "parquet":
                relation = self._connection.sql(f"FROM {READERS[kind]}", params=words)
                relation.create_view(name)
            else:
                create = f"CREATE TABLE {quoted(name)} AS FROM {READERS[kind]}"
                self._connection.execute(create, words)

    def _load_text(self, name: str, files: Sequence[Path], missing: MissingTexts) -> None:
        """Make a table of delimited text, and say in what way files are not that."""
        usable = [ready(file, self._scratch) for file in files]
        try:
            with self._errors(f"{files[0]} cannot be read as text"):
                load_text(self._connection, name, usable, missing)
        except SlipwayError as error:
            reason = None if "the disk of" in error.message else diagnosis(usable)
            if reason is None:
                raise
            for file, used in zip(files, usable, strict=True):
                reason = reason.replace(str(used), str(file))
            raise SlipwayError(reason) from error

    def tables(self) -> list[str]:
        """Name the tables that there are."""
        return [name for (name,) in self.rows("SELECT table_name FROM information_schema.tables")]

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Give all rows."""
        with self._errors("the query failed"), self._connection.cursor() as cursor:
            return list(cursor.execute(sql).fetchall())

    def texts(self, sql: str) -> tuple[str, ...]:
        """Name none: texts are in the order of their bytes."""
        return ()

    def batches(self, sql: str, rows: int) -> Iterator[pa.RecordBatch]:
        """Give all rows, so many at a time."""
        with self._errors("the query failed"), self._connection.cursor() as cursor:
            for batch in cursor.sql(sql).to_arrow_reader(rows):
                yield plain_numbers(batch)

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        """Turn what DuckDB raises into an error for people."""
        try:
            yield
        # Arrow hands on what DuckDB raises while rows are read as an error of its own.
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise _explained(error, what, self._scratch) from error


def _explained(error: Exception, what: str, scratch: Path) -> SlipwayError:
    """Say in one line what DuckDB said, or what to do where the disk is full."""
    said = str(error)
    if any(word.lower() in said.lower() for word in FULL):
        fix = "make room there, or set TMPDIR to a folder with more"
        return SlipwayError(f"the disk of {scratch.parent} is full: {fix}")
    lines = [line.strip() for line in said.partition("\nLINE ")[0].splitlines() if line.strip()]
    return SlipwayError(f"{what}: {' '.join(lines[:2])}")


@contextmanager
def open_duckdb(scratch: Path, memory: int | None = None) -> Iterator[DuckDBEngine]:
    """Make an empty database.

    Parameters
    ----------
    scratch : Path
        A folder for the database and for what a query has no memory for.
    memory : int, optional
        Bytes.

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
        raise _explained(error, "DuckDB failed", scratch) from error


def plain_numbers(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Give decimals as doubles, which is what every engine has.

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
