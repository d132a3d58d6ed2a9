"""What a source is, and an engine that answers its queries."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from slipway.data.sources.source_url import SourceUrl
from slipway.data.sources.sql_translation import translate

if TYPE_CHECKING:
    import pyarrow as pa


BATCH_ROWS = 65_536


class Source(Protocol):
    """What answers queries about raw tables.

    Attributes
    ----------
    shown : str
        The URL without anything secret, for manifests, logs and errors.
    dialect : str
        The engine's, as sqlglot calls it.
    """

    shown: str
    dialect: str

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Give all rows of a short query, in DuckDB's dialect, as Python's values."""

    def batches(self, query: str, rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """Give the rows of a query, in DuckDB's dialect, so many at a time, in its own types."""


class QueryEngine(Protocol):
    """What runs SQL in its own dialect; its errors are ``SlipwayError``."""

    dialect: str

    def tables(self) -> list[str]:
        """Name the tables that there are."""

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Give all rows."""

    def texts(self, sql: str) -> Collection[str]:
        """Name the columns of a result that are texts and sorted in some language."""

    def batches(self, sql: str, rows: int) -> Iterator[pa.RecordBatch]:
        """Give all rows, so many at a time."""


class EngineSource:
    """An engine, asked in DuckDB's dialect, whose errors hold nothing secret.

    Parameters
    ----------
    engine : Engine
    address : SourceUrl
    """

    def __init__(self, engine: QueryEngine, address: SourceUrl) -> None:
        self.shown = address.shown
        self.dialect = engine.dialect
        self._engine = engine
        self._address = address

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Give all rows of a short query."""
        with self._address.masked():
            return self._engine.rows(translate(query, self.dialect))

    def batches(self, query: str, rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """Give the rows of a query, so many at a time."""
        with self._address.masked():
            texts = self._engine.texts(translate(query, self.dialect))
            yield from self._engine.batches(translate(query, self.dialect, texts), rows)
