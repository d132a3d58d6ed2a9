"""Load delimited text into a DuckDB table, with categories, flags and decimal commas."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from slipway.core.errors import SlipwayError
from slipway.data.sources.csv_files import diagnose, is_misread
from slipway.data.sources.missing_texts import MissingTexts

TYPED = "read_csv($files, nullstr = $missing, sample_size = -1, union_by_name = true)"
UNTYPED = (
    "read_csv($files, nullstr = [chr(0) || 'none'], sample_size = -1, union_by_name = true, "
    "types = $types)"
)
COMMA = r"\s*[+-]?\d+,\d+\s*"
# Unless semicolons separate the cells, 1,234 can also mean 1234.
CLEAR_COMMA = r"\s*[+-]?\d+,(\d{1,2}|\d{4,})\s*"
NUMBER = r"\s*[+-]?\d+(,\d+)?\s*"


def load_text(
    connection: duckdb.DuckDBPyConnection, name: str, files: Sequence[Path], missing: MissingTexts
) -> None:
    """Create a table from text files; DuckDB detects the delimiter and the types.

    Parameters
    ----------
    connection : DuckDBPyConnection
    name : str
    files : sequence of Path
    missing : MissingTexts

    Raises
    ------
    SlipwayError
        The rows cannot be split into columns.
    """
    parameters = {"files": [str(file) for file in files], "missing": [*missing.texts]}
    connection.execute(f"CREATE TABLE {quote(name)} AS FROM {TYPED}", parameters)
    types = _column_types(connection, name)
    # After a row of another length, DuckDB skips the header or reads a single column.
    if is_misread([*types]) and (reason := diagnose(files)) is not None:
        raise SlipwayError(reason)
    flags = [column for column, kind in types.items() if kind == "BOOLEAN"]
    kept = missing.category_texts
    texts = [c for c, kind in types.items() if kind == "VARCHAR" and kept]
    with_categories = [c for c in types if c.lower() in missing.categories]
    changed = [*dict.fromkeys([*flags, *texts, *with_categories])]
    if changed:
        _restore_texts(connection, name, files, changed, missing)
        _restore_flags(connection, name, [c for c in flags if c not in with_categories])
    _read_decimal_commas(connection, name, files, missing.text_features)


def _column_types(connection: duckdb.DuckDBPyConnection, name: str) -> dict[str, str]:
    """Return the types of a table's columns by name."""
    columns = connection.execute(f"DESCRIBE {quote(name)}").fetchall()
    return {column: kind for column, kind, *_ in columns}


def _restore_texts(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    files: Sequence[Path],
    columns: Sequence[str],
    missing: MissingTexts,
) -> None:
    """Replace some columns by their original texts.

    DuckDB reads yes and no as flags, and a known category such as ``NA`` as a missing value.
    """
    replaced = []
    for column in columns:
        kept = missing.categories.get(column.lower(), missing.category_texts)
        missing_list = ", ".join(_quote_literal(text) for text in missing.texts if text not in kept)
        cell = f"given.{quote(column)}"
        if missing_list:
            cell = f"CASE WHEN {cell} IN ({missing_list}) THEN NULL ELSE {cell} END"
        replaced.append(f"{cell} AS {quote(column)}")
    # Names and texts are quoted.
    select = f"SELECT typed.* REPLACE ({', '.join(replaced)})"
    joined = f"FROM {quote(name)} AS typed POSITIONAL JOIN {UNTYPED} AS given"
    connection.execute(
        f"CREATE OR REPLACE TABLE {quote(name)} AS {select} {joined}",
        {"files": [str(file) for file in files], "types": dict.fromkeys(columns, "VARCHAR")},
    )


def _restore_flags(
    connection: duckdb.DuckDBPyConnection, name: str, columns: Sequence[str]
) -> None:
    """Convert columns of only true and false back to flags."""
    for column in columns:
        cell = f"lower({quote(column)})"
        others = f"SELECT COUNT(*) FROM {quote(name)} WHERE {cell} NOT IN ('true', 'false')"  # noqa: S608
        if _fetch_row(connection, others) == (0,):
            change = f"ALTER TABLE {quote(name)} ALTER COLUMN {quote(column)} TYPE BOOLEAN"
            connection.execute(change)


def _read_decimal_commas(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    files: Sequence[Path],
    text_features: frozenset[str],
) -> None:
    """Convert columns of mostly numbers such as 1,5, unless commas separate the cells."""
    types = _column_types(connection, name)
    texts = [c for c, kind in types.items() if kind == "VARCHAR" and c.lower() not in text_features]
    if not texts:
        return
    delimiter = _fetch_row(connection, "SELECT Delimiter FROM sniff_csv($1)", [str(files[0])])[0]
    for column in texts if delimiter != "," else ():
        cell, clear = quote(column), COMMA if delimiter == ";" else CLEAR_COMMA
        counts = ", ".join(
            f"COUNT_IF(regexp_full_match({cell}, '{pattern}'))" for pattern in (clear, NUMBER)
        )
        query = f"SELECT {counts}, COUNT({cell}) FROM {quote(name)}"  # noqa: S608
        commas, numbers, filled = _fetch_row(connection, query)
        if commas and 2 * numbers > filled:
            point = f"replace({cell}, ',', '.')"
            value = f"CASE WHEN regexp_full_match({cell}, '{NUMBER}') THEN {point} ELSE {cell} END"
            kind = "DOUBLE" if numbers == filled else "VARCHAR"
            connection.execute(
                f"ALTER TABLE {quote(name)} ALTER COLUMN {cell} TYPE {kind} USING {value}::{kind}"
            )


def _fetch_row(
    connection: duckdb.DuckDBPyConnection, sql: str, parameters: list[str] | None = None
) -> tuple[Any, ...]:
    """Return the first row of a query."""
    row: tuple[Any, ...] = connection.execute(sql, parameters or []).fetchall()[0]
    return row


def quote(name: str) -> str:
    """Return a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _quote_literal(text: str) -> str:
    """Return a text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"
