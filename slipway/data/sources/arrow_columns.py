"""Convert rows of Python values to Arrow batches with stable column types."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

CONVERSION_ERRORS = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError)
NUMBERS = {pa.int64(), pa.float64()}


class ArrowConverter:
    """Converter of the rows of one result to Arrow, batch by batch.

    A column keeps the type of its first values; integers may be followed by fractions. If a value
    has another type, as SQLite and MongoDB allow, the column is text from that batch on. The row
    checks can then name the invalid value.

    Parameters
    ----------
    names : sequence of str
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = [*names]
        self._types: dict[str, pa.DataType] = {}

    def batch(self, rows: Sequence[Sequence[Any]]) -> pa.RecordBatch:
        """Return rows as a batch."""
        values = zip(*rows, strict=True) if rows else ((),) * len(self.names)
        arrays = [
            self._to_array(name, column) for name, column in zip(self.names, values, strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, names=self.names)

    def _to_array(self, name: str, values: Sequence[Any]) -> pa.Array:
        """Return a column's values as an array of its type, or of a wider one."""
        if any(isinstance(value, Decimal) for value in values):
            values = [float(v) if isinstance(v, Decimal) else v for v in values]
        try:
            # Pass no type: with an integer type, Arrow truncates 2.5 to 2.
            array = pa.array(values)
        except CONVERSION_ERRORS:
            return self._remember_type(name, _to_texts(values))
        previous = self._types.get(name, array.type)
        if pa.types.is_null(array.type):
            return array.cast(previous)
        if array.type == previous:
            return self._remember_type(name, array)
        if {previous, array.type} == NUMBERS:
            return self._remember_type(name, array.cast(pa.float64()))
        return self._remember_type(name, _to_texts(values))

    def _remember_type(self, name: str, array: pa.Array) -> pa.Array:
        """Store the type of a column and return its array."""
        self._types[name] = array.type
        return array


def _to_texts(values: Sequence[Any]) -> pa.Array:
    """Return values as an array of texts."""
    texts = [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in values]
    return pa.array([None if text is None else str(text) for text in texts], pa.string())
