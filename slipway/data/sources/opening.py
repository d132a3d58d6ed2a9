"""A source of raw tables, by its URL."""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol

from slipway.core.errors import SlipwayError
from slipway.data.problem import Problem, running
from slipway.data.sources.source_url import Address, read_address
from slipway.data.sources.sql_translation import translate

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 65_536
BUCKETS = ("s3", "s3a", "gs", "gcs", "az", "azure", "abfs", "abfss")
SPARKS = ("spark", "sc", "hive")


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


class Engine(Protocol):
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
    address : Address
    """

    def __init__(self, engine: Engine, address: Address) -> None:
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


@contextmanager
def open_source(
    url: str | None,
    problem: Problem,
    environ: Mapping[str, str] = os.environ,
    memory: int | None = None,
) -> Iterator[Source]:
    """Open a source.

    Parameters
    ----------
    url : str, optional
        Where the tables are; ``env:NAME`` takes the whole URL from a variable, and ``${NAME}``
        a part of it. By default the problem's own files.
    problem : Problem
        Its tables are looked for at once.
    environ : mapping of str to str
        Where everything secret comes from.
    memory : int, optional
        The bytes that DuckDB or the driver of Spark may take.

    Yields
    ------
    Source

    Raises
    ------
    SlipwayError
        The message says what is wrong and what to do.
    """
    address = _own(problem) if url is None else read_address(url, environ)
    with ExitStack() as stack:
        with address.masked():
            scratch = Path(stack.enter_context(TemporaryDirectory(prefix="slipway-")))
            opened = _opened(url, address, problem, environ, scratch, memory)
            engine = stack.enter_context(opened)
            require_tables(problem.tables, engine.tables(), address.shown)
        yield EngineSource(engine, address)


def require_tables(wanted: tuple[str, ...], found: list[str], shown: str) -> None:
    """Refuse a source that lacks a table.

    Parameters
    ----------
    wanted : tuple of str
    found : list of str
        Engines write names in lower or upper case as they like.
    shown : str

    Raises
    ------
    SlipwayError
        The message names the tables that there are.
    """
    known = {name.lower(): name for name in found}
    for name in wanted:
        if name.lower() in known:
            continue
        near = difflib.get_close_matches(name.lower(), known, n=1)
        hint = f"; did you mean {known[near[0]]}?" if near else ""
        there = ", ".join(sorted(found)[:20]) or "none"
        raise SlipwayError(f"{shown} has no table {name}{hint} (there are: {there})")


def _own(problem: Problem) -> Address:
    """Name the problem's own files."""
    return Address("own", "", "", "", {}, problem.source, ())


def _own_tables(problem: Problem, scratch: Path) -> dict[str, Path]:
    """Return the files that a problem names for its tables."""
    with running("read_tables"):
        tables = {str(name): Path(file) for name, file in problem.read_tables(scratch).items()}
    for name, file in tables.items():
        if not file.is_file():
            raise SlipwayError(f"the problem's read_tables names {file} for {name}; no such file")
    return tables


def _opened(
    url: str | None,
    address: Address,
    problem: Problem,
    environ: Mapping[str, str],
    scratch: Path,
    memory: int | None,
) -> AbstractContextManager[Engine]:
    """Choose by the scheme; what a source needs is imported with it."""
    from slipway.data.sources.missing_texts import missing_texts

    scheme, missing = address.scheme, missing_texts(problem)
    if url is None or scheme == "file" or scheme in BUCKETS:
        from slipway.data.sources import files

        if url is None:
            return files.open_named(_own_tables(problem, scratch), scratch, memory, missing)
        folder = Path(address.path)
        if scheme in BUCKETS:
            from slipway.data.sources.buckets import download

            folder = download(address, problem.tables, environ, scratch / "downloaded")
        return files.open_files(folder, address.shown, problem.tables, scratch, memory, missing)
    if scheme.startswith("mongodb"):
        from slipway.data.sources.mongodb import open_mongo

        return open_mongo(address, problem.tables, scratch, memory)
    if scheme in SPARKS:
        from slipway.data.sources.spark_catalog import open_catalog

        return open_catalog(address, problem.tables, environ, scratch, memory, missing)
    from slipway.data.sources.databases import open_database

    return open_database(address, problem.tables)
