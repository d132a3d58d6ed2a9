"""Read the cells of a file with polars, as whole columns of typed values.

Only rows that are valid with certainty are read. A cell that is not clearly a number in its range
or a known category is left to ``Signature.check_text``, as is a row of the wrong width. So the
rules for errors and warnings exist once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, Any

import polars as pl

from slipway.models.features import Feature, Record
from slipway.models.signature import Signature
from slipway.models.validation import LARGEST_INTEGER, MAX_TEXT, MISSING_TEXTS, NUMERIC_KINDS
from slipway.serving.batch.csv_header import Header
from slipway.serving.batch.csv_reader import Block

if TYPE_CHECKING:
    import pandas as pd

# For more columns, Python splits a row faster than polars, which splits all of it.
MAX_SPLIT_COLUMNS = 100
_TYPES = {
    "number": pl.Float64(),
    "integer": pl.Int64(),
    "category": pl.String(),
    "flag": pl.Boolean(),
    "text": pl.String(),
}
_READABLE_TYPES = {
    "number": ("", "float64", "int64"),
    "integer": ("", "int64"),
    "category": ("", "category"),
    "flag": ("", "bool", "object"),
    "text": ("",),
}
_FLAGS = {"true": True, "false": False, "True": True, "False": False, "TRUE": True, "FALSE": False}


def is_readable(signature: Signature) -> bool:
    """Return whether the pipeline takes a frame whose column types can be read here."""
    takes_frame = signature.input in ("", "frame", "array") and not signature.columns
    takes_frame = takes_frame and not signature.alone
    return takes_frame and all(
        f.dtype in _READABLE_TYPES.get(f.kind, ()) and f.gap != "na" and not f.ordered
        for f in signature.features
    )


def _column_type(feature: Feature) -> pl.DataType:
    """Return the type of a feature's column."""
    if feature.kind in NUMERIC_KINDS:
        return pl.Int64() if feature.is_integer_column else pl.Float64()
    return _TYPES[feature.kind]


@dataclass
class TypedRows:
    """Rows as columns of values.

    Attributes
    ----------
    columns : polars.DataFrame
        One column per feature, in the order of the signature.
    rows : list of int
        The position of each row in its block.
    """

    columns: pl.DataFrame
    rows: list[int] = field(default_factory=list)

    def with_records(self, records: list[Record], rows: list[int]) -> TypedRows:
        """Return these rows and further records, sorted by their positions."""
        if not records:
            return self
        more = pl.DataFrame(records, schema=self.columns.schema, orient="row")
        rows = self.rows + rows
        order = sorted(range(len(rows)), key=rows.__getitem__)
        return TypedRows(pl.concat([self.columns, more])[order], [rows[i] for i in order])


class ColumnReader:
    """Reads the rows of a block that are valid with certainty.

    Parameters
    ----------
    signature : Signature
    header : Header
    """

    def __init__(self, signature: Signature, header: Header) -> None:
        self._header = header
        self._features = [f for f in signature.features if f.name in header.positions]
        types = {feature.name: _column_type(feature) for feature in signature.features}
        self._no_rows = pl.DataFrame(schema=types)
        self._values = [
            read_typed(feature, pl.col(feature.name)).cast(types[feature.name]).alias(feature.name)
            if feature in self._features
            else pl.lit(None, types[feature.name]).alias(feature.name)
            for feature in signature.features
        ]

    def __call__(self, block: Block) -> TypedRows:
        """Return the values of the rows that are valid with certainty."""
        try:
            cells = read_text_columns(block, self._header)
        except UnicodeEncodeError:
            # Some text is not UTF-8; the check of each row reports it.
            return TypedRows(self._no_rows)
        values = cells.select(self._values)
        is_certain = reduce(and_, (_is_certain(f, cells, values) for f in self._features))
        rows = is_certain.fill_null(False).arg_true()
        return TypedRows(values if len(rows) == len(values) else values[rows], rows.to_list())


def _is_certain(feature: Feature, cells: pl.DataFrame, values: pl.DataFrame) -> pl.Series:
    """Return which rows have a value for a feature, or an accepted missing value."""
    given = values[feature.name].is_not_null()
    return given | (cells[feature.name] == "") if accepts_empty(feature) else given


def accepts_empty(feature: Feature) -> bool:
    """Return whether an empty cell is a missing value without error or warning."""
    return feature.nullable and not feature.complete and not feature.has_text("")


def read_text_columns(block: Block, header: Header) -> pl.DataFrame:
    """Return the cells of the features as text, null in a row of the wrong width.

    Numbers get decimal points; a cell with another decimal mark than the file is null.

    Raises
    ------
    UnicodeEncodeError
        Some text is not UTF-8.
    """
    cells = _split_columns(block, header)
    if not header.numbers:
        return cells
    mark = header.dialect.decimal
    return cells.with_columns(_normalize_decimals(pl.col(name), mark) for name in header.numbers)


def _normalize_decimals(text: pl.Expr, mark: str) -> pl.Expr:
    """Return numbers with a decimal point; null for another decimal mark than the file's."""
    other = {",": ".", ".": ","}.get(mark)
    kept = pl.when(~text.str.contains(other, literal=True)).then(text) if other else text
    return kept if mark == "." else kept.str.replace_all(",", ".", literal=True)


def _split_columns(block: Block, header: Header) -> pl.DataFrame:
    """Return the unchanged cells of the features, null in a row of the wrong width."""
    n_columns, positions = len(header.names), header.positions
    separator = header.dialect.separator
    if block.cells is None and n_columns <= MAX_SPLIT_COLUMNS:
        rows = pl.DataFrame({"row": block.texts}, schema={"row": pl.String})
        fields = rows.select(pl.col("row").str.splitn(separator, n_columns)).unnest("row")
        # The last field has the rest of the row; in a row of the wrong width it has a separator
        # or is null.
        fits = ~fields.to_series(-1).str.contains(separator, literal=True)
        cells = fields.select(
            pl.col(f"field_{position}").alias(name) for name, position in positions.items()
        )
        whole = fits.all(ignore_nulls=False)
        return cells if whole else cells.select(pl.when(fits).then(pl.all()))
    columns: list[list[str | None]] = [[] for _ in positions]
    for row in block.cells or (text.split(separator) for text in block.texts):
        fits_header = len(row) == n_columns
        for column, position in zip(columns, positions.values(), strict=True):
            column.append(row[position] if fits_header else None)
    cells_by_name = dict(zip(positions, columns, strict=True))
    return pl.DataFrame(cells_by_name, schema=dict.fromkeys(positions, pl.String))


def read_typed(feature: Feature, text: pl.Expr) -> pl.Expr:
    """Return the values of a feature; null for missing or uncertain values."""
    if feature.kind in NUMERIC_KINDS:
        return read_number(feature, text)
    if feature.kind == "flag":
        known = {t: flag for t, flag in _FLAGS.items() if flag in (feature.known or (True, False))}
        return text.replace_strict(known, default=None, return_dtype=pl.Boolean)
    if feature.categories:
        texts = [value for value in feature.categories if feature.has_text(str(value))]
        return pl.when(text.is_in(texts)).then(text)
    short = text.str.len_chars().is_between(1, MAX_TEXT)
    unusual = text.str.contains("\0", literal=True) | text.is_in(list(MISSING_TEXTS))
    return pl.when(short & ~unusual).then(text)


def read_number(feature: Feature, text: pl.Expr) -> pl.Expr:
    """Return the numbers of a feature; null for missing or uncertain values."""
    value = text.cast(pl.Float64, strict=False)
    low, high = feature.ordinary_range
    ordinary = value.is_finite()
    if low is not None:
        ordinary &= value >= low
    if high is not None:
        ordinary &= value <= high
    if feature.is_integer_column or feature.whole:
        ordinary &= (value == value.floor()) & (value.abs() <= LARGEST_INTEGER)
    if feature.categories:
        ordinary &= value.is_in(pl.Series(feature.categories, dtype=pl.Float64).implode())
    return pl.when(ordinary).then(value)


def to_frame(signature: Signature, columns: pl.DataFrame) -> pd.DataFrame:
    """Build the frame that a pipeline takes, equal to the one of ``slipway.models.frames``.

    Parameters
    ----------
    signature : Signature
    columns : polars.DataFrame
        One column per feature.

    Returns
    -------
    DataFrame of shape (n_rows, n_features)
    """
    import pandas as pd

    features = signature.features
    arrays = {feature.name: _to_array(feature, columns[feature.name]) for feature in features}
    return pd.DataFrame(arrays, copy=False)


def _to_array(feature: Feature, values: pl.Series) -> Any:
    """Return the values of a feature in the column type of the pipeline."""
    import numpy as np
    import pandas as pd

    kind = feature.column_type
    if kind == "category":
        return pd.Categorical(values.to_list(), categories=list(feature.categories))
    if kind != "object":
        return values.to_numpy(writable=True).astype(kind, copy=False)
    if values.dtype == pl.String:
        array = values.to_numpy(writable=True)
    else:
        array = np.array(values.to_list(), dtype=object)
    if feature.gap == "nan" and values.null_count():
        array[values.is_null().to_numpy()] = np.nan
    return array
