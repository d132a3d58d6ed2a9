"""A table of DuckDB from delimited text, in which each cell is what people mean by it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from slipway.core.errors import SlipwayError
from slipway.data.sources.csv_files import diagnosis, is_misread
from slipway.data.sources.missing_texts import MissingTexts

READ = "read_csv($files, nullstr = $missing, sample_size = -1, union_by_name = true)"
AS_TEXT = (
    "read_csv($files, nullstr = [chr(0) || 'none'], sample_size = -1, union_by_name = true, "
    "types = $types)"
)
COMMA = r"\s*[+-]?\d+,\d+\s*"
# In a file that is not parted by semicolons, 1,234 may also be a thousand and more.
CLEAR_COMMA = r"\s*[+-]?\d+,(\d{1,2}|\d{4,})\s*"
NUMBER = r"\s*[+-]?\d+(,\d+)?\s*"


def load_text(
    connection: duckdb.DuckDBPyConnection, name: str, files: Sequence[Path], missing: MissingTexts
) -> None:
    """Make a table of text files; DuckDB finds their delimiter and their types.

    Parameters
    ----------
    connection : DuckDBPyConnection
    name : str
    files : sequence of Path
    missing : MissingTexts

    Raises
    ------
    SlipwayError
        The rows cannot be parted into columns.
    """
    words = {"files": [str(file) for file in files], "missing": [*missing.texts]}
    connection.execute(f"CREATE TABLE {quoted(name)} AS FROM {READ}", words)
    types = _types(connection, name)
    # A row of another length makes DuckDB begin behind the header, or read one column only.
    if is_misread([*types]) and (reason := diagnosis(files)) is not None:
        raise SlipwayError(reason)
    flags = [column for column, kind in types.items() if kind == "BOOLEAN"]
    kept = missing.kept
    texts = [c for c, kind in types.items() if kind == "VARCHAR" and kept]
    named = [c for c in types if c.lower() in missing.categories]
    again = [*dict.fromkeys([*flags, *texts, *named])]
    if again:
        _read_again(connection, name, files, again, missing)
        _restore_flags(connection, name, [c for c in flags if c not in named])
    _read_decimal_commas(connection, name, files, missing.labels)


def _types(connection: duckdb.DuckDBPyConnection, name: str) -> dict[str, str]:
    """Return the columns of a table and their types."""
    described = connection.execute(f"DESCRIBE {quoted(name)}").fetchall()
    return {column: kind for column, kind, *_ in described}


def _read_again(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    files: Sequence[Path],
    columns: Sequence[str],
    missing: MissingTexts,
) -> None:
    """Put the texts of some columns in the place of what DuckDB made of them.

    It reads yes and no as flags, and a text that stands for a missing value as one although it is
    a known category.
    """
    replaced = []
    for column in columns:
        kept = missing.categories.get(column.lower(), missing.kept)
        gone = ", ".join(_literal(text) for text in missing.texts if text not in kept)
        cell = f"given.{quoted(column)}"
        value = f"CASE WHEN {cell} IN ({gone}) THEN NULL ELSE {cell} END" if gone else cell
        replaced.append(f"{value} AS {quoted(column)}")
    # The columns' names are quoted, and the texts written as SQL literals.
    select = f"SELECT typed.* REPLACE ({', '.join(replaced)})"
    joined = f"FROM {quoted(name)} AS typed POSITIONAL JOIN {AS_TEXT} AS given"
    connection.execute(
        f"CREATE OR REPLACE TABLE {quoted(name)} AS {select} {joined}",
        {"files": [str(file) for file in files], "types": dict.fromkeys(columns, "VARCHAR")},
    )


def _restore_flags(
    connection: duckdb.DuckDBPyConnection, name: str, columns: Sequence[str]
) -> None:
    """Make columns of true and false flags again."""
    for column in columns:
        cell = f"lower({quoted(column)})"
        others = f"SELECT COUNT(*) FROM {quoted(name)} WHERE {cell} NOT IN ('true', 'false')"  # noqa: S608
        if _one(connection, others) == (0,):
            change = f"ALTER TABLE {quoted(name)} ALTER COLUMN {quoted(column)} TYPE BOOLEAN"
            connection.execute(change)


def _read_decimal_commas(
    connection: duckdb.DuckDBPyConnection, name: str, files: Sequence[Path], labels: frozenset[str]
) -> None:
    """Read 1,5 as a number in columns that hold mostly such, where commas part no cells."""
    types = _types(connection, name)
    texts = [c for c, kind in types.items() if kind == "VARCHAR" and c.lower() not in labels]
    if not texts:
        return
    delimiter = _one(connection, "SELECT Delimiter FROM sniff_csv($1)", [str(files[0])])[0]
    for column in texts if delimiter != "," else ():
        cell, clear = quoted(column), COMMA if delimiter == ";" else CLEAR_COMMA
        counts = ", ".join(
            f"COUNT_IF(regexp_full_match({cell}, '{each}'))" for each in (clear, NUMBER)
        )
        asked = f"SELECT {counts}, COUNT({cell}) FROM {quoted(name)}"  # noqa: S608
        commas, numbers, filled = _one(connection, asked)
        if commas and 2 * numbers > filled:
            point = f"replace({cell}, ',', '.')"
            value = f"CASE WHEN regexp_full_match({cell}, '{NUMBER}') THEN {point} ELSE {cell} END"
            kind = "DOUBLE" if numbers == filled else "VARCHAR"
            connection.execute(
                f"ALTER TABLE {quoted(name)} ALTER COLUMN {cell} TYPE {kind} USING {value}::{kind}"
            )


def _one(
    connection: duckdb.DuckDBPyConnection, sql: str, words: list[str] | None = None
) -> tuple[Any, ...]:
    """Return the one row of a query."""
    row: tuple[Any, ...] = connection.execute(sql, words or []).fetchall()[0]
    return row


def quoted(name: str) -> str:
    """Write a name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    """Write a text in SQL."""
    return "'" + text.replace("'", "''") + "'"
