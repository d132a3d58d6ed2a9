"""Copy collections of a MongoDB into DuckDB, batch by batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.core.errors import SlipwayError
from slipway.data.sources.arrow_columns import ArrowConverter
from slipway.data.sources.duckdb_engine import DuckDBEngine, open_duckdb
from slipway.data.sources.source_url import SourceUrl
from slipway.data.sources.tables import require_tables

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 10_000
TIMEOUT_MS = 10_000


@contextmanager
def open_mongo(
    source_url: SourceUrl, tables: Sequence[str], scratch: Path, memory: int | None
) -> Iterator[DuckDBEngine]:
    """Copy collections to tables, without ``_id``.

    Parameters
    ----------
    source_url : SourceUrl
        ``mongodb://host/DATABASE``.
    tables : sequence of str
    scratch : Path
        The folder for the copies.
    memory : int, optional

    Yields
    ------
    DuckDBEngine

    Raises
    ------
    SlipwayError
        The connection fails, or a collection does not exist.
    """
    try:
        import pymongo
        from pymongo.errors import PyMongoError
    except ImportError as error:
        raise SlipwayError("MongoDB needs pymongo: pip install 'slipway[train]'") from error
    with open_duckdb(scratch, memory) as engine:
        try:
            timeouts = {"serverSelectionTimeoutMS": TIMEOUT_MS, "connectTimeoutMS": TIMEOUT_MS}
            options = {name: ms for name, ms in timeouts.items() if name not in source_url.query}
            create_client: Any = pymongo.MongoClient
            with create_client(source_url.url, **options) as client:
                database = client[_database_name(source_url)]
                require_tables(tables, database.list_collection_names(), source_url.redacted)
                for name in tables:
                    documents = database[name].find({}, {"_id": 0}, batch_size=BATCH)
                    engine.load(name, "parquet", _write_parquet(documents, scratch / name))
        except PyMongoError as error:
            reason = " ".join(str(error).split())[:300]
            fix = "check host, user, password and database"
            raise SlipwayError(f"cannot read {source_url.redacted}: {reason}; {fix}") from error
        yield engine


def _database_name(source_url: SourceUrl) -> str:
    """Return the name of the database in the URL."""
    name = source_url.path.strip("/")
    if not name:
        example = f"{source_url.redacted.rstrip('/')}/DATABASE"
        raise SlipwayError(f"the URL names no database; use {example}")
    return name


def _write_parquet(documents: Iterable[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Write documents as Parquet files; each file has its own fields and types."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir()
    fields: dict[str, None] = {}
    files: list[Path] = []
    filled: set[str] = set()
    rows = iter(documents)
    while batch := list(islice(rows, BATCH)):
        table = _to_table(batch)
        fields |= dict.fromkeys(table.column_names)
        # A field without values has no type, and would conflict with another file.
        typed = [field.name for field in table.schema if not pa.types.is_null(field.type)]
        filled |= {*typed}
        files.append(folder / f"{len(files)}.parquet")
        pq.write_table(table.select(typed), files[-1])
    if not files:
        raise SlipwayError(f"the collection {folder.name} is empty")
    empty = {name: pa.nulls(0, pa.string()) for name in fields if name not in filled}
    if empty:
        files.append(folder / "empty.parquet")
        pq.write_table(pa.table(empty), files[-1])
    return files


def _to_table(documents: list[Mapping[str, Any]]) -> pa.Table:
    """Return documents as a table of all their fields."""
    import pyarrow as pa

    names = [*dict.fromkeys(name for document in documents for name in document)]
    values = [[_to_python(document.get(name)) for name in names] for document in documents]
    return pa.Table.from_batches([ArrowConverter(names).batch(values)])


def _to_python(value: Any) -> Any:
    """Convert a MongoDB decimal to a Python decimal."""
    return value.to_decimal() if hasattr(value, "to_decimal") else value
