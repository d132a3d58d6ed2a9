"""A source of raw tables, by its URL."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import pyarrow as pa

from slipway.problem import Problem

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


def open_source(
    url: str | None,
    problem: Problem,
    environ: Mapping[str, str] = os.environ,
    memory: int | None = None,
) -> AbstractContextManager[Source]:
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
        The bytes that DuckDB or a local Spark may take.

    Returns
    -------
    context manager of Source

    Raises
    ------
    SlipwayError
        The message says what is wrong and what to do.
    """
    return _own_files(problem, memory)


@contextmanager
def _own_files(problem: Problem, memory: int | None) -> Iterator[Source]:
    """Open the problem's own CSV files."""
    from slipway.sources.duck import open_duck

    with TemporaryDirectory(prefix="slipway-") as folder:
        scratch = Path(folder)
        tables = problem.read_tables(scratch)
        with open_duck(problem.source, scratch, memory) as duck:
            for name, file in tables.items():
                duck.load(name, [file])
            yield duck
