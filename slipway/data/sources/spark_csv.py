"""Convert the text columns of a Spark frame: missing values, then types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slipway.data.sources.missing_texts import MissingTexts

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# A column gets the first type whose pattern matches all its texts. Numbers with a leading zero,
# such as postcodes, stay texts.
TYPES = {
    "boolean": "(?i)^(true|false)$",
    "bigint": r"^\s*[+-]?(0|[1-9]\d{0,17})\s*$",
    "double": r"^\s*[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*$",
    "date": r"^\d{4}-\d\d-\d\d$",
    "timestamp": r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?$",
}


def cast_columns(frame: DataFrame, missing: MissingTexts) -> DataFrame:
    """Replace missing texts by NULL, and cast each column to the type of its texts.

    Spark's own reader accepts only one text for missing values.

    Parameters
    ----------
    frame : DataFrame
        A frame of text columns.
    missing : MissingTexts

    Returns
    -------
    DataFrame
    """
    from pyspark.sql import functions as sql

    cells = {name: sql.col(_quote(name)) for name in frame.columns}
    present = {n: sql.when(~cell.isin([*missing.texts]), cell) for n, cell in cells.items()}
    aggregates = [
        sql.min(cell.rlike(pattern).cast("int")).alias(f"{i} {kind}")
        for i, cell in enumerate(present.values())
        for kind, pattern in TYPES.items()
    ]
    fits = frame.select(*aggregates).collect()[0]
    columns = []
    for i, name in enumerate(frame.columns):
        kinds = [kind for kind in TYPES if fits[f"{i} {kind}"] == 1]
        # Without known categories, the type of the column decides which texts are missing.
        known = missing.categories.get(name.lower())
        kind = "string" if known or not kinds else kinds[0]
        kept = known or (missing.category_texts if kind == "string" else frozenset())
        missing_here = [text for text in missing.texts if text not in kept]
        cell: Any = sql.when(~cells[name].isin(missing_here), cells[name])
        cell = sql.trim(cell) if kind in ("bigint", "double") else cell
        columns.append(cell.cast(kind).alias(name))
    return frame.select(*columns)


def _quote(name: str) -> str:
    """Return a name as an identifier in Spark SQL."""
    return "`" + name.replace("`", "``") + "`"
