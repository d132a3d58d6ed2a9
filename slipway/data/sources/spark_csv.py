"""A table of Spark from delimited text: the texts for missing values, then the types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slipway.data.sources.missing_texts import MissingTexts

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# What all texts of a column must spell for it to have the type; the first that fits is taken. A
# number with a zero in front is a text, as a postcode is.
TYPES = {
    "boolean": "(?i)^(true|false)$",
    "bigint": r"^\s*[+-]?(0|[1-9]\d{0,17})\s*$",
    "double": r"^\s*[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*$",
    "date": r"^\d{4}-\d\d-\d\d$",
    "timestamp": r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?$",
}


def typed_texts(frame: DataFrame, missing: MissingTexts) -> DataFrame:
    """Return a frame of texts with missing values, and each column in its own type.

    Spark itself knows one text for a missing value only.

    Parameters
    ----------
    frame : DataFrame
        Of texts.
    missing : MissingTexts

    Returns
    -------
    DataFrame
    """
    from pyspark.sql import functions as sql

    cells = {name: sql.col(_quoted(name)) for name in frame.columns}
    filled = {n: sql.when(~cell.isin([*missing.texts]), cell) for n, cell in cells.items()}
    asked = [
        sql.min(cell.rlike(pattern).cast("int")).alias(f"{i} {kind}")
        for i, cell in enumerate(filled.values())
        for kind, pattern in TYPES.items()
    ]
    fits = frame.select(*asked).collect()[0]
    columns = []
    for i, name in enumerate(frame.columns):
        kinds = [kind for kind in TYPES if fits[f"{i} {kind}"] == 1]
        # Where no category is known, the column's own type decides.
        known = missing.categories.get(name.lower())
        kind = "string" if known or not kinds else kinds[0]
        kept = known or (missing.kept if kind == "string" else frozenset())
        gone = [text for text in missing.texts if text not in kept]
        cell: Any = sql.when(~cells[name].isin(gone), cells[name])
        cell = sql.trim(cell) if kind in ("bigint", "double") else cell
        columns.append(cell.cast(kind).alias(name))
    return frame.select(*columns)


def _quoted(name: str) -> str:
    """Write a name in Spark's SQL."""
    return "`" + name.replace("`", "``") + "`"
