"""DuckDB over files, or over what other sources without SQL have been copied into."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

BATCH_ROWS = 65_536
TEXT = "read_csv($files, nullstr = ['NA', ''], sample_size = -1, filename = false)"


class Duck:
    """A DuckDB database in a scratch folder, so that tables may be larger than memory.

    Parameters
    ----------
    shown : str
    connection : DuckDBPyConnection
    """

    dialect = "duckdb"

    def __init__(self, shown: str, connection: duckdb.DuckDBPyConnection) -> None:
        self.shown = shown
        self._connection = connection

    def load(self, name: str, files: Sequence[Path]) -> None:
        """Read files as a table."""
        self._connection.execute(
            f"CREATE TABLE {quoted(name)} AS FROM {TEXT}", {"files": [str(file) for file in files]}
        )

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Give all rows of a short query as Python's values."""
        return self._connection.cursor().execute(query).fetchall()

    def batches(self, query: str, rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """Give the rows of a query, so many at a time."""
        with self._connection.cursor() as cursor:
            yield from cursor.sql(query).to_arrow_reader(rows)


@contextmanager
def open_duck(shown: str, scratch: Path, memory: int | None = None) -> Iterator[Duck]:
    """Make an empty database.

    Parameters
    ----------
    shown : str
    scratch : Path
        A folder for the database and for what a query has no memory for.
    memory : int, optional
        Bytes.
    """
    config: dict[str, Any] = {"temp_directory": str(scratch / "spilled")}
    if memory is not None:
        config["memory_limit"] = f"{memory} bytes"
    with duckdb.connect(str(scratch / "tables.duckdb"), config=config) as connection:
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
        yield Duck(shown, connection)


def quoted(name: str) -> str:
    """Write a name in SQL."""
    return '"' + name.replace('"', '""') + '"'
