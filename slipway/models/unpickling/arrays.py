"""Constructors of numpy's types and arrays, with exact arguments."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from slipway.models.unpickling.plain import is_plain
from slipway.models.unpickling.rejection import Budget, require, require_types

_DTYPE = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f(?:2|4|8|16)|c(?:8|16|32)|O8|[SUV]\d{1,9}|[Mm]8)")


def make_dtype(*args: Any) -> np.dtype[Any]:
    """Make a dtype of a short code; a copy, so that no state reaches the shared ones."""
    require_types("numpy.dtype", args, str, (bool, int), (bool, int))
    code, aligned, copied = args
    right = _DTYPE.fullmatch(code) is not None and not aligned and bool(copied)
    require(right, "makes a dtype in another way")
    made: np.dtype[Any] = np.dtype(code, align=False, copy=True)
    return made


def set_dtype(dtype: np.dtype[Any], state: Any) -> None:
    """Set byte order, unit of time, and fields, all of which must fit the dtype."""
    require(type(state) is tuple and len(state) in (8, 9), "describes a dtype in another way")
    kinds = ((int,), (str,), (type(None),), (type(None), tuple), (type(None), dict))
    require_types("numpy.dtype", state[:8], *kinds, (int,), (int,), (int,))
    version, order, _, names, fields, size, alignment, flags = state[:8]
    require(version in (3, 4) and order in ("<", ">", "|", "="), "describes a dtype in another way")
    _require_unit(dtype, state[8:])
    if names is None:
        sized = size in (-1, dtype.itemsize) and alignment in (-1, dtype.alignment)
        right = sized and flags == dtype.flags and fields is None
        require(right, "describes a dtype in another way")
    else:
        require(dtype.kind == "V" and size == dtype.itemsize, "describes a dtype in another way")
        require(alignment in (1, 2, 4, 8, 16), "describes a dtype in another way")
        _require_fields(names, fields, size, flags)
    dtype.__setstate__(state)  # type: ignore[attr-defined]


def _require_unit(dtype: np.dtype[Any], metadata: tuple[Any, ...]) -> None:
    """Allow metadata only as the unit of dates."""
    if not metadata or metadata[0] is None:
        return
    require(dtype.kind in "mM" and type(metadata[0]) is tuple, "describes a dtype in another way")
    require_types("numpy.dtype", metadata[0], (type(None), dict), tuple)
    require_types("numpy.dtype", metadata[0][1], bytes, int, int, int)
    require(not metadata[0][0], "describes a dtype in another way")


def _require_fields(names: tuple[Any, ...], fields: Any, size: int, flags: int) -> None:
    """Let numpy itself check offsets and sizes of fields, none of which is an object."""
    right = type(fields) is dict and all(type(name) is str for name in names)
    require(right and set(names) == set(fields), "describes a dtype in another way")
    require(flags & ~0x90 == 0, "describes a dtype in another way")
    for field in fields.values():
        require(type(field) is tuple and len(field) == 2, "describes a dtype in another way")
        require_dtype(field[0])
        right = not field[0].hasobject and type(field[1]) is int and field[1] >= 0
        require(right, "describes a dtype in another way")
    parts = {
        "names": list(names),
        "formats": [fields[name][0] for name in names],
        "offsets": [fields[name][1] for name in names],
        "itemsize": size,
    }
    np.dtype(parts)  # type: ignore[call-overload]


def require_dtype(dtype: Any) -> None:
    """Require a dtype whose arrays hold plain bytes, or objects and nothing else."""
    require(issubclass(type(dtype), np.dtype), "makes an array without a dtype")
    require(not dtype.hasobject or dtype.kind == "O", "makes a dtype with objects in its fields")


def require_array(array: Any, kinds: str = "biufc") -> None:
    """Require a plain array, and of certain kinds of numbers."""
    right = type(array) is np.ndarray and array.dtype.kind in kinds
    require(right, "has another thing where a model has an array of numbers")


def make_empty_array(*args: Any) -> np.ndarray[Any, Any]:
    """Make the empty array to which a state is given, as numpy's ``_reconstruct`` does."""
    require_types("numpy's _reconstruct", args, type, tuple, (bytes, str))
    subtype, shape, code = args
    right = subtype is np.ndarray and shape == (0,) and code in (b"b", "b")
    require(right, "makes an array in another way")
    return np.ndarray((0,), np.int8)


def set_array(array: np.ndarray[Any, Any], state: Any, budget: Budget) -> None:
    """Set shape, dtype and content, whose length must fit."""
    require(type(state) is tuple, "fills an array in another way")
    require_types("an array's __setstate__", state[:2], int, tuple)
    require_types("an array's __setstate__", state[3:], (bool, int), (bytes, list))
    _, shape, dtype, _, content = state
    require_dtype(dtype)
    count = count_elements(shape)
    if dtype.hasobject:
        right = type(content) is list and len(content) == count
        nested = right and np.ndarray in set(map(type, content))
        require(not (nested and any(map(_is_objects, content))), "nests arrays of objects")
        budget.spend(8 * count)
    else:
        right = type(content) is bytes and len(content) == count * dtype.itemsize
        budget.spend(len(content))
    require(right, "fills an array with another content than its shape needs")
    array.__setstate__(state)


def _is_objects(value: Any) -> bool:
    """Whether a value is an array of objects that may hold others; Python nests them by the stack.

    One that is still empty might be filled later.
    """
    if type(value) is not np.ndarray:
        return False
    return not value.size or (value.dtype.hasobject and not is_plain(value, 1))


def count_elements(shape: Any) -> int:
    """Count the elements of a shape, whose numbers must be plain."""
    right = type(shape) is tuple and all(type(n) is int and n >= 0 for n in shape)
    require(right and len(shape) <= 32, "has another thing where an array has its shape")
    return math.prod(shape)


def make_array_of_buffer(*args: Any) -> np.ndarray[Any, Any]:
    """Make an array of bytes, as protocol 5 writes it."""
    require_types("numpy's _frombuffer", args[:1], (bytes, bytearray))
    require_types("numpy's _frombuffer", args[2:], tuple, str)
    content, dtype, shape, order = args
    require_dtype(dtype)
    right = not dtype.hasobject and order in ("C", "F") and len(content)
    if not count_elements(shape):
        # Numpy reads no array from an empty buffer.
        require(not dtype.hasobject and not content, "fills an array of another size")
        return np.empty(shape, dtype)
    require(bool(right), "makes an array in another way")
    return np.frombuffer(content, dtype).reshape(shape, order=order)


def make_scalar(*args: Any) -> Any:
    """Make one number of a dtype."""
    require(len(args) == 2 and type(args[1]) is bytes, "makes a number in another way")
    dtype, content = args
    require_dtype(dtype)
    right = dtype.kind not in "OV" and len(content) == dtype.itemsize
    require(right, "makes a number in another way")
    return np.frombuffer(content, dtype)[0] if content else dtype.type()


def make_empty_masked(*args: Any) -> np.ma.MaskedArray[Any, Any]:
    """Make the empty masked array to which a state is given."""
    require_types("numpy's _mareconstruct", args, type, type, tuple, (bytes, str))
    right = args[0] is np.ma.MaskedArray and args[1] is np.ndarray and args[2] == (0,)
    require(right and args[3] in (b"b", "b"), "makes an array in another way")
    mask = np.ndarray((0,), bool)
    return np.ma.MaskedArray.__new__(np.ma.MaskedArray, np.ndarray((0,), np.int8), mask=mask)


def set_masked(array: np.ma.MaskedArray[Any, Any], state: Any, budget: Budget) -> None:
    """Set the parts of a masked array as those of arrays are set."""
    require(type(state) is tuple and len(state) == 7, "fills an array in another way")
    values, mask = np.ndarray((0,), np.int8), np.ndarray((0,), np.int8)
    set_array(values, state[:5], budget)
    set_array(mask, (1, state[1], np.dtype(bool), state[3], state[5]), budget)
    require(is_plain(state[6], 2), "fills an array in another way")
    array.__setstate__(state)
