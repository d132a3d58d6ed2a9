"""The protocols of sources and query engines."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from slipway.data.sources.source_url import SourceUrl
from slipway.data.sources.sql_translation import translate

if TYPE_CHECKING:
    import pyarrow as pa


BATCH_ROWS = 65_536


class Source(Protocol):
    """A set of raw tables that can be queried.

    Attributes
    ----------
    redacted : str
        The URL without secrets, for manifests, logs and errors.
    dialect : str
        sqlglot's name of the engine's SQL dialect.
    """

    redacted: str
    dialect: str

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return all rows of a short query, in DuckDB's dialect, as Python values."""

    def batches(self, query: str, rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a query, in DuckDB's dialect, in batches of the engine's types."""


class QueryEngine(Protocol):
    """An engine that runs SQL in its own dialect and raises ``SlipwayError``."""

    dialect: str

    def tables(self) -> list[str]:
        """Return the names of all tables."""

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return all rows."""

    def text_columns(self, sql: str) -> Collection[str]:
        """Return the names of text columns, whose order can depend on a collation."""

    def batches(self, sql: str, rows: int) -> Iterator[pa.RecordBatch]:
        """Yield all rows in batches."""


class EngineSource:
    """A source that translates queries for its engine and masks secrets in errors.

    Parameters
    ----------
    engine : QueryEngine
    source_url : SourceUrl
    """

    def __init__(self, engine: QueryEngine, source_url: SourceUrl) -> None:
        self.redacted = source_url.redacted
        self.dialect = engine.dialect
        self._engine = engine
        self._source_url = source_url

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return all rows of a short query."""
        with self._source_url.mask_errors():
            return self._engine.rows(translate(query, self.dialect))

    def batches(self, query: str, rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a query in batches."""
        with self._source_url.mask_errors():
            texts = self._engine.text_columns(translate(query, self.dialect))
            yield from self._engine.batches(translate(query, self.dialect, texts), rows)
