"""Rows of Python's values as Arrow columns, each of one type while the values allow it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

REFUSED = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError)
NUMBERS = {pa.int64(), pa.float64()}


class Columns:
    """The columns of one result, batch by batch.

    A column keeps the type of its first values; whole numbers may be followed by fractions.
    Where a value is of another type, as SQLite and MongoDB allow, the column is text from that
    batch on, so that whoever checks the values can name the single one that does not belong.

    Parameters
    ----------
    names : sequence of str
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = [*names]
        self._types: dict[str, pa.DataType] = {}

    def batch(self, rows: Sequence[Sequence[Any]]) -> pa.RecordBatch:
        """Turn rows into a batch."""
        values = zip(*rows, strict=True) if rows else ((),) * len(self.names)
        arrays = [
            self._array(name, column) for name, column in zip(self.names, values, strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, names=self.names)

    def _array(self, name: str, values: Sequence[Any]) -> pa.Array:
        """Turn a column's values into an array of its type, or of a wider one."""
        if any(isinstance(value, Decimal) for value in values):
            values = [float(v) if isinstance(v, Decimal) else v for v in values]
        try:
            # Without a type: given one, Arrow cuts 2.5 to the whole number 2.
            array = pa.array(values)
        except REFUSED:
            return self._noted(name, _texts(values))
        known = self._types.get(name, array.type)
        if pa.types.is_null(array.type):
            return array.cast(known)
        if array.type == known:
            return self._noted(name, array)
        if {known, array.type} == NUMBERS:
            return self._noted(name, array.cast(pa.float64()))
        return self._noted(name, _texts(values))

    def _noted(self, name: str, array: pa.Array) -> pa.Array:
        """Remember the type."""
        self._types[name] = array.type
        return array


def _texts(values: Sequence[Any]) -> pa.Array:
    """Write values as texts."""
    texts = [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in values]
    return pa.array([None if text is None else str(text) for text in texts], pa.string())
