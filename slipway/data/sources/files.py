"""Tables in files: delimited text, JSON lines or Parquet, a file or a folder each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath

from slipway.core.errors import SlipwayError
from slipway.data.sources.duckdb_engine import DuckDBEngine, open_duckdb
from slipway.data.sources.missing_texts import MissingTexts

KINDS = {
    ".csv": "text",
    ".tsv": "text",
    ".txt": "text",
    ".psv": "text",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".parquet": "parquet",
}
PACKED = (".gz", ".zst")


@contextmanager
def open_named(
    tables: Mapping[str, Path], scratch: Path, memory: int | None, missing: MissingTexts
) -> Iterator[DuckDBEngine]:
    """Open the files that a problem names itself.

    Parameters
    ----------
    tables : mapping of str to Path
    scratch : Path
    memory : int, optional
    missing : MissingTexts

    Yields
    ------
    DuckDBEngine
    """
    with open_duckdb(scratch, memory) as duck:
        for name, file in tables.items():
            duck.load(name, "text", [file], missing)
        yield duck


@contextmanager
def open_files(
    path: Path,
    shown: str,
    wanted: Sequence[str],
    scratch: Path,
    memory: int | None,
    missing: MissingTexts,
) -> Iterator[DuckDBEngine]:
    """Open a file, which is the table of its name, or a folder of tables.

    Parameters
    ----------
    path : Path
    shown : str
        What errors call it.
    wanted : sequence of str
        Other tables are not read.
    scratch : Path
    memory : int, optional
    missing : MissingTexts

    Yields
    ------
    DuckDBEngine

    Raises
    ------
    SlipwayError
        There is nothing, or it is nothing that can be read.
    """
    from slipway.data.sources.tables import require_tables

    found = _found(path, shown)
    require_tables(tuple(wanted), [*found], shown)
    with open_duckdb(scratch, memory) as duck:
        for name, places in found.items():
            if name.lower() in {each.lower() for each in wanted}:
                duck.load(name, *_one(name, places, shown), missing)
        yield duck


def table_of(path: PurePath) -> tuple[str, str | None]:
    """Give the table that a file in a folder of tables belongs to, and its kind.

    Parameters
    ----------
    path : PurePath
        Relative to the folder: ``flights.csv.gz`` or ``flights/part-0.parquet``.

    Returns
    -------
    tuple of str and str
        The kind is None for what is no data.
    """
    name = path.name
    for packed in PACKED:
        name = name.removesuffix(packed)
    hidden = name.startswith((".", "_"))
    kind = None if hidden else KINDS.get(PurePath(name).suffix.lower())
    return (path.parts[0] if len(path.parts) > 1 else PurePath(name).stem), kind


def _found(path: Path, shown: str) -> dict[str, dict[str, list[Path]]]:
    """Find the files of each table, by the file or folder that holds it."""
    if not path.exists():
        raise SlipwayError(f"there is no file or folder {shown}")
    files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
    root = path.parent if path.is_file() else path
    tables: dict[str, dict[str, list[Path]]] = {}
    for file in files:
        inside = file.relative_to(root)
        name, kind = table_of(inside)
        if kind is not None:
            tables.setdefault(name, {}).setdefault(inside.parts[0], []).append(file)
    if not tables:
        raise SlipwayError(f"{shown} holds no table: a file or folder each, {', '.join(KINDS)}")
    return tables


def _one(name: str, places: dict[str, list[Path]], shown: str) -> tuple[str, list[Path]]:
    """Give the one kind of a table, and its files."""
    files = [file for held in places.values() for file in held]
    kinds = {str(table_of(PurePath(file.name))[1]) for file in files}
    if len(places) > 1 or len(kinds) > 1:
        names = ", ".join([*places] if len(places) > 1 else sorted(kinds))
        raise SlipwayError(f"{shown} has more than one {name}: {names}; leave one of them there")
    return kinds.pop(), files
