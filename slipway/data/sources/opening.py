"""Open the source of raw tables of a URL."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from slipway.core.errors import SlipwayError
from slipway.data.problem import Problem, field_errors
from slipway.data.sources.engine import EngineSource, QueryEngine, Source
from slipway.data.sources.source_url import SourceUrl, read_source_url
from slipway.data.sources.tables import require_tables

BUCKET_SCHEMES = ("s3", "s3a", "gs", "gcs", "az", "azure", "abfs", "abfss")
SPARK_SCHEMES = ("spark", "sc", "hive")


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
        The location of the tables; by default the problem's own files. ``env:NAME`` reads the
        whole URL from a variable, and ``${NAME}`` a part of it.
    problem : Problem
        The source must have its tables.
    environ : mapping of str to str
        The variables with secrets.
    memory : int, optional
        Memory limit of DuckDB or the Spark driver in bytes.

    Yields
    ------
    Source

    Raises
    ------
    SlipwayError
        The source cannot be opened, or lacks a table.
    """
    source_url = _default_source_url(problem) if url is None else read_source_url(url, environ)
    with ExitStack() as stack:
        with source_url.mask_errors():
            scratch = Path(stack.enter_context(TemporaryDirectory(prefix="slipway-")))
            context = _open_engine(url, source_url, problem, environ, scratch, memory)
            engine = stack.enter_context(context)
            require_tables(problem.tables, engine.tables(), source_url.redacted)
        yield EngineSource(engine, source_url)


def _default_source_url(problem: Problem) -> SourceUrl:
    """Return the URL that represents the problem's own files."""
    return SourceUrl("own", "", "", "", {}, problem.source, ())


def _read_default_tables(problem: Problem, scratch: Path) -> dict[str, Path]:
    """Return the files of a problem's ``read_tables``."""
    with field_errors("read_tables"):
        tables = {str(name): Path(file) for name, file in problem.read_tables(scratch).items()}
    for name, file in tables.items():
        if not file.is_file():
            raise SlipwayError(f"the problem's read_tables returns no file for {name}: {file}")
    return tables


def _open_engine(
    url: str | None,
    source_url: SourceUrl,
    problem: Problem,
    environ: Mapping[str, str],
    scratch: Path,
    memory: int | None,
) -> AbstractContextManager[QueryEngine]:
    """Open the engine for a scheme; import only the libraries that it needs."""
    from slipway.data.sources.missing_texts import read_missing_texts

    scheme, missing = source_url.scheme, read_missing_texts(problem)
    if url is None or scheme == "file" or scheme in BUCKET_SCHEMES:
        from slipway.data.sources import files

        if url is None:
            tables = _read_default_tables(problem, scratch)
            return files.open_problem_files(tables, scratch, memory, missing)
        path, name = Path(source_url.path), source_url.redacted
        if scheme in BUCKET_SCHEMES:
            from slipway.data.sources.buckets import download_tables

            path = download_tables(source_url, problem.tables, environ, scratch / "downloaded")
        return files.open_files(path, name, problem.tables, scratch, memory, missing)
    if scheme.startswith("mongodb"):
        from slipway.data.sources.mongodb import open_mongo

        return open_mongo(source_url, problem.tables, scratch, memory)
    if scheme in SPARK_SCHEMES:
        from slipway.data.sources.spark_catalog import open_catalog

        return open_catalog(source_url, problem.tables, environ, scratch, memory, missing)
    from slipway.data.sources.databases import open_database

    return open_database(source_url)
