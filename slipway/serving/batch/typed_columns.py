"""Cells that are plainly what they should be, read by polars as whole columns of values.

What is not plain is left out: a cell that is not clearly a number in its range or a known
category, a row of the wrong width. The careful way then answers it or says what is wrong, so
that nothing is decided twice.
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

# Of more columns, polars takes longer to split a row than Python, since it splits all of it.
WIDE = 100
_TYPES = {
    "number": pl.Float64(),
    "integer": pl.Int64(),
    "category": pl.String(),
    "flag": pl.Boolean(),
    "text": pl.String(),
}
_PLAIN_TYPES = {
    "number": ("", "float64", "int64"),
    "integer": ("", "int64"),
    "category": ("", "category"),
    "flag": ("", "bool", "object"),
    "text": ("",),
}
_FLAGS = {"true": True, "false": False, "True": True, "False": False, "TRUE": True, "FALSE": False}


def is_plain(signature: Signature) -> bool:
    """Whether a pipeline takes a frame, all of whose columns have types that are read here."""
    takes_frame = signature.input in ("", "frame", "array") and not signature.columns
    takes_frame = takes_frame and not signature.alone
    return takes_frame and all(
        f.dtype in _PLAIN_TYPES.get(f.kind, ()) and f.gap != "na" and not f.ordered
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
        One column a feature, in the signature's order.
    rows : list of int
        The place of each in its block.
    """

    columns: pl.DataFrame
    rows: list[int] = field(default_factory=list)

    def joined(self, records: list[Record], rows: list[int]) -> TypedRows:
        """Put records into their places."""
        if not records:
            return self
        more = pl.DataFrame(records, schema=self.columns.schema, orient="row")
        rows = self.rows + rows
        order = sorted(range(len(rows)), key=rows.__getitem__)
        return TypedRows(pl.concat([self.columns, more])[order], [rows[i] for i in order])


class ColumnReader:
    """Read the plain rows of a block.

    Parameters
    ----------
    signature : Signature
    header : Header
        Where each feature stands.
    """

    def __init__(self, signature: Signature, header: Header) -> None:
        self._header = header
        self._features = [each for each in signature.features if each.name in header.positions]
        types = {feature.name: _column_type(feature) for feature in signature.features}
        self._nothing = pl.DataFrame(schema=types)
        self._values = [
            read_typed(feature, pl.col(feature.name)).cast(types[feature.name]).alias(feature.name)
            if feature in self._features
            else pl.lit(None, types[feature.name]).alias(feature.name)
            for feature in signature.features
        ]

    def __call__(self, block: Block) -> TypedRows:
        """Give the values of the rows without any doubt."""
        try:
            cells = text_columns(block, self._header)
        except UnicodeEncodeError:
            # Some text is not UTF-8; the careful way says which.
            return TypedRows(self._nothing)
        values = cells.select(self._values)
        sound = reduce(and_, (_sound(each, cells, values) for each in self._features))
        rows = sound.fill_null(False).arg_true()
        return TypedRows(values if len(rows) == len(values) else values[rows], rows.to_list())


def _sound(feature: Feature, cells: pl.DataFrame, values: pl.DataFrame) -> pl.Series:
    """Say which rows have a value for a feature, or a gap where one is allowed."""
    given = values[feature.name].is_not_null()
    return given | (cells[feature.name] == "") if may_be_empty(feature) else given


def may_be_empty(feature: Feature) -> bool:
    """Whether there is nothing to say about an empty cell: it is a missing value."""
    return feature.nullable and not feature.complete and not feature.has_text("")


def text_columns(block: Block, header: Header) -> pl.DataFrame:
    """Give the features' cells as texts, null in a row of the wrong width.

    Numbers get decimal points; a cell whose mark is not the file's is null.

    Raises
    ------
    UnicodeEncodeError
        Some text is not UTF-8.
    """
    cells = _split_columns(block, header)
    if not header.numbers:
        return cells
    mark = header.dialect.decimal
    return cells.with_columns(_with_point(pl.col(name), mark) for name in header.numbers)


def _with_point(text: pl.Expr, mark: str) -> pl.Expr:
    """Spell numbers with a decimal point; null where the mark is another than the file's."""
    other = {",": ".", ".": ","}.get(mark)
    kept = pl.when(~text.str.contains(other, literal=True)).then(text) if other else text
    return kept if mark == "." else kept.str.replace_all(",", ".", literal=True)


def _split_columns(block: Block, header: Header) -> pl.DataFrame:
    """Give the features' cells as they came, null in a row of the wrong width."""
    n_columns, positions = len(header.names), header.positions
    separator = header.dialect.separator
    if block.cells is None and n_columns <= WIDE:
        rows = pl.DataFrame({"row": block.texts}, schema={"row": pl.String})
        fields = rows.select(pl.col("row").str.splitn(separator, n_columns)).unnest("row")
        # The last field takes all that is left: another separator in it, or none of it, misfits.
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
    named = dict(zip(positions, columns, strict=True))
    return pl.DataFrame(named, schema=dict.fromkeys(positions, pl.String))


def read_typed(feature: Feature, text: pl.Expr) -> pl.Expr:
    """Give a feature's values from its cells; null for a gap, and where there is any doubt."""
    if feature.kind in NUMERIC_KINDS:
        return plain_number(feature, text)
    if feature.kind == "flag":
        known = {t: flag for t, flag in _FLAGS.items() if flag in (feature.known or (True, False))}
        return text.replace_strict(known, default=None, return_dtype=pl.Boolean)
    if feature.categories:
        texts = [each for each in feature.categories if feature.has_text(str(each))]
        return pl.when(text.is_in(texts)).then(text)
    short = text.str.len_chars().is_between(1, MAX_TEXT)
    odd = text.str.contains("\0", literal=True) | text.is_in(list(MISSING_TEXTS))
    return pl.when(short & ~odd).then(text)


def plain_number(feature: Feature, text: pl.Expr) -> pl.Expr:
    """Give a feature's numbers from its cells; null for a gap, and where there is any doubt."""
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
    """Build the frame that a pipeline takes, equal to that of ``slipway.models.frames``.

    Parameters
    ----------
    signature : Signature
    columns : polars.DataFrame
        One column a feature.

    Returns
    -------
    DataFrame of shape (n_rows, n_features)
    """
    import pandas as pd

    made = {feature.name: _array(feature, columns[feature.name]) for feature in signature.features}
    return pd.DataFrame(made, copy=False)


def _array(feature: Feature, values: pl.Series) -> Any:
    """Give a feature's values in the type that the pipeline takes."""
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
