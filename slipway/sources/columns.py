"""Rows of Python's values as Arrow columns, each of one type while the values allow it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

REFUSED = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError)


class Columns:
    """The columns of one result, batch by batch.

    A column keeps the type of its first values. Where a later value is of another type, as
    SQLite and MongoDB allow, the column is text from that batch on, so that whoever checks the
    values can name the single one that does not belong.

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
        known = self._types.get(name)
        for kind in (known, None) if known is not None else (None,):
            try:
                array = pa.array(values, type=kind)
            except REFUSED:
                continue
            # Whole numbers may be followed by fractions, but by nothing else.
            if known is None or array.type == known or (known, array.type) == WIDER:
                return self._noted(name, array)
        return self._noted(name, pa.array([_text(value) for value in values], pa.string()))

    def _noted(self, name: str, array: pa.Array) -> pa.Array:
        """Remember the type, once there was a value."""
        if not pa.types.is_null(array.type):
            self._types[name] = array.type
        return array


WIDER = (pa.int64(), pa.float64())


def _text(value: Any) -> str | None:
    """Write a value as text."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return None if value is None else str(value)
