"""Read arrays that joblib writes between the instructions of a pickle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from slipway.models.unpickling.arrays import count_elements, require_dtype
from slipway.models.unpickling.rejection import Budget, require

_KNOWN = {"subclass", "shape", "order", "dtype", "allow_mmap", "numpy_array_alignment_bytes"}


class ArrayHeader:
    """The header of an array in joblib's files, in place of joblib's class."""


def read_array(state: Any, read: Callable[[int], bytes], budget: Budget) -> Any:
    """Read the array that follows a header.

    Parameters
    ----------
    state : dict
        The state of the header.
    read : callable
        Reads a number of bytes from the file.
    budget : Budget

    Returns
    -------
    ndarray or None
        None if its elements are objects, which follow as a nested pickle.
    """
    valid = type(state) is dict and set(state) <= _KNOWN and state.get("subclass") is np.ndarray
    require(valid and state.get("order") in ("C", "F"), "stores an array in an unexpected format")
    dtype, shape, order = state.get("dtype"), state.get("shape"), state["order"]
    require_dtype(dtype)
    count = count_elements(shape)
    if dtype.hasobject:
        return None
    if state.get("numpy_array_alignment_bytes") is not None:
        read(int.from_bytes(read(1), "little"))
    size = count * dtype.itemsize
    budget.spend(size)
    content = read(size)
    require(len(content) == size, "is truncated within an array")
    # A bytearray, because joblib's arrays are writable.
    values = np.frombuffer(bytearray(content), dtype) if size else np.empty(count, dtype)
    return values.reshape(shape, order=order)
