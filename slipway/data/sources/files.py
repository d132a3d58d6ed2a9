"""Read tables from files: delimited text, JSON lines or Parquet, one file or folder each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath

from slipway.core.errors import SlipwayError
from slipway.data.sources.duckdb_engine import DuckDBEngine, open_duckdb
from slipway.data.sources.missing_texts import MissingTexts
from slipway.data.sources.tables import require_tables

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
COMPRESSIONS = (".gz", ".zst")


@contextmanager
def open_problem_files(
    tables: Mapping[str, Path], scratch: Path, memory: int | None, missing: MissingTexts
) -> Iterator[DuckDBEngine]:
    """Open the files of a problem's ``read_tables``.

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
    with open_duckdb(scratch, memory) as engine:
        for name, file in tables.items():
            engine.load(name, "text", [file], missing)
        yield engine


@contextmanager
def open_files(
    path: Path,
    redacted: str,
    tables: Sequence[str],
    scratch: Path,
    memory: int | None,
    missing: MissingTexts,
) -> Iterator[DuckDBEngine]:
    """Open a file, which is the table with its name, or a folder of tables.

    Parameters
    ----------
    path : Path
    redacted : str
        The name of the path in errors.
    tables : sequence of str
        The tables to read.
    scratch : Path
    memory : int, optional
    missing : MissingTexts

    Yields
    ------
    DuckDBEngine

    Raises
    ------
    SlipwayError
        A table is absent or cannot be read.
    """
    existing = _find_tables(path, redacted)
    require_tables(tables, existing, redacted)
    with open_duckdb(scratch, memory) as engine:
        for name, groups in existing.items():
            if name.lower() in {table.lower() for table in tables}:
                engine.load(name, *_require_one_kind(name, groups, redacted), missing)
        yield engine


def classify_path(path: PurePath) -> tuple[str, str | None]:
    """Return the table that a file belongs to, and its kind.

    Parameters
    ----------
    path : PurePath
        Relative to the folder: ``flights.csv.gz`` or ``flights/part-0.parquet``.

    Returns
    -------
    tuple of str and str
        The kind is None if the file is not data.
    """
    name = path.name
    for suffix in COMPRESSIONS:
        name = name.removesuffix(suffix)
    hidden = name.startswith((".", "_"))
    kind = None if hidden else KINDS.get(PurePath(name).suffix.lower())
    return (path.parts[0] if len(path.parts) > 1 else PurePath(name).stem), kind


def _find_tables(path: Path, redacted: str) -> dict[str, dict[str, list[Path]]]:
    """Return the files of each table, by the file or folder in the root."""
    if not path.exists():
        raise SlipwayError(f"no such file or folder: {redacted}")
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    root = path.parent if path.is_file() else path
    tables: dict[str, dict[str, list[Path]]] = {}
    for file in files:
        inside = file.relative_to(root)
        name, kind = classify_path(inside)
        if kind is not None:
            tables.setdefault(name, {}).setdefault(inside.parts[0], []).append(file)
    if not tables:
        raise SlipwayError(f"no tables in {redacted}; name files TABLE{', TABLE'.join(KINDS)}")
    return tables


def _require_one_kind(
    name: str, groups: dict[str, list[Path]], redacted: str
) -> tuple[str, list[Path]]:
    """Return the kind of a table's files, and the files."""
    files = [file for group in groups.values() for file in group]
    kinds = {str(classify_path(PurePath(file.name))[1]) for file in files}
    if len(groups) > 1 or len(kinds) > 1:
        names = ", ".join([*groups] if len(groups) > 1 else sorted(kinds))
        raise SlipwayError(f"{redacted} has more than one {name}: {names}; keep one of them")
    return kinds.pop(), files
