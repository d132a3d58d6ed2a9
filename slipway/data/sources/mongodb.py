"""Collections of a MongoDB, copied into DuckDB a batch at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.core.errors import SlipwayError
from slipway.data.sources.arrow_columns import Columns
from slipway.data.sources.duckdb_engine import DuckDBEngine, open_duckdb
from slipway.data.sources.source_url import SourceUrl

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 10_000
SELECT_MS = 10_000


@contextmanager
def open_mongo(
    address: SourceUrl, wanted: Sequence[str], scratch: Path, memory: int | None
) -> Iterator[DuckDBEngine]:
    """Copy the collections that are wanted; each is a table, without ``_id``.

    Parameters
    ----------
    address : SourceUrl
        ``mongodb://host/DATABASE``.
    wanted : sequence of str
    scratch : Path
        The copies, on disk.
    memory : int, optional

    Yields
    ------
    DuckDBEngine

    Raises
    ------
    SlipwayError
        The server does not answer or does not let us in, or a collection is not there.
    """
    from slipway.data.sources.tables import require_tables

    try:
        import pymongo
        from pymongo.errors import PyMongoError
    except ImportError as error:
        raise SlipwayError("MongoDB needs pymongo: pip install 'slipway[train]'") from error
    with open_duckdb(scratch, memory) as duck:
        try:
            waits = {"serverSelectionTimeoutMS": SELECT_MS, "connectTimeoutMS": SELECT_MS}
            options = {name: ms for name, ms in waits.items() if name not in address.query}
            opened: Any = pymongo.MongoClient
            with opened(address.url, **options) as client:
                database = client[_database(address)]
                require_tables(tuple(wanted), database.list_collection_names(), address.shown)
                for name in wanted:
                    found = database[name].find({}, {"_id": 0}, batch_size=BATCH)
                    duck.load(name, "parquet", _written(found, scratch / name))
        except PyMongoError as error:
            said = " ".join(str(error).split())[:300]
            fix = "check host, user, password and database"
            raise SlipwayError(f"{address.shown} cannot be read: {said}; {fix}") from error
        yield duck


def _database(address: SourceUrl) -> str:
    """Give the database that the URL names."""
    if not address.path.strip("/"):
        raise SlipwayError(f"name the database: {address.shown.rstrip('/')}/DATABASE")
    return address.path.strip("/")


def _written(documents: Iterable[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Write documents as Parquet files, each with the fields and the types that it has."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir()
    fields: dict[str, None] = {}
    files: list[Path] = []
    filled: set[str] = set()
    rows = iter(documents)
    while batch := list(islice(rows, BATCH)):
        table = _table(batch)
        fields |= dict.fromkeys(table.column_names)
        # A field without a value has no type, which would be in the way of another file's.
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


def _table(documents: list[Mapping[str, Any]]) -> pa.Table:
    """Give documents as a table of all the fields that any of them has."""
    import pyarrow as pa

    names = [*dict.fromkeys(name for document in documents for name in document)]
    values = [[_plain(document.get(name)) for name in names] for document in documents]
    return pa.Table.from_batches([Columns(names).batch(values)])


def _plain(value: Any) -> Any:
    """Give a decimal of MongoDB as Python's."""
    return value.to_decimal() if hasattr(value, "to_decimal") else value
