"""A source of raw tables, by its URL."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from slipway.core.errors import SlipwayError
from slipway.data.problem import Problem, field_errors
from slipway.data.sources.engine import EngineSource, QueryEngine, Source
from slipway.data.sources.source_url import SourceUrl, read_source_url
from slipway.data.sources.tables import require_tables

if TYPE_CHECKING:
    pass

BUCKETS = ("s3", "s3a", "gs", "gcs", "az", "azure", "abfs", "abfss")
SPARKS = ("spark", "sc", "hive")


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
    address = _own(problem) if url is None else read_source_url(url, environ)
    with ExitStack() as stack:
        with address.masked():
            scratch = Path(stack.enter_context(TemporaryDirectory(prefix="slipway-")))
            opened = _opened(url, address, problem, environ, scratch, memory)
            engine = stack.enter_context(opened)
            require_tables(problem.tables, engine.tables(), address.shown)
        yield EngineSource(engine, address)


def _own(problem: Problem) -> SourceUrl:
    """Name the problem's own files."""
    return SourceUrl("own", "", "", "", {}, problem.source, ())


def _own_tables(problem: Problem, scratch: Path) -> dict[str, Path]:
    """Return the files that a problem names for its tables."""
    with field_errors("read_tables"):
        tables = {str(name): Path(file) for name, file in problem.read_tables(scratch).items()}
    for name, file in tables.items():
        if not file.is_file():
            raise SlipwayError(f"the problem's read_tables names {file} for {name}; no such file")
    return tables


def _opened(
    url: str | None,
    address: SourceUrl,
    problem: Problem,
    environ: Mapping[str, str],
    scratch: Path,
    memory: int | None,
) -> AbstractContextManager[QueryEngine]:
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
