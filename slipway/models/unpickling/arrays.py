"""Constructors of numpy's dtypes and arrays that check their arguments."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from slipway.models.unpickling.plain import is_plain
from slipway.models.unpickling.rejection import Budget, require, require_types

_DTYPE = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f(?:2|4|8|16)|c(?:8|16|32)|O8|[SUV]\d{1,9}|[Mm]8)")


def make_dtype(*args: Any) -> np.dtype[Any]:
    """Construct a dtype from a short code, as a copy, to protect the shared dtypes."""
    require_types("numpy.dtype", args, str, (bool, int), (bool, int))
    code, aligned, copied = args
    valid = _DTYPE.fullmatch(code) is not None and not aligned and bool(copied)
    require(valid, "constructs a dtype with unexpected arguments")
    dtype: np.dtype[Any] = np.dtype(code, align=False, copy=True)
    return dtype


def set_dtype(dtype: np.dtype[Any], state: Any) -> None:
    """Restore byte order, unit of time and fields, which must fit the dtype."""
    require(type(state) is tuple and len(state) in (8, 9), "describes an unexpected dtype")
    kinds = ((int,), (str,), (type(None),), (type(None), tuple), (type(None), dict))
    require_types("numpy.dtype", state[:8], *kinds, (int,), (int,), (int,))
    version, order, _, names, fields, size, alignment, flags = state[:8]
    require(version in (3, 4) and order in ("<", ">", "|", "="), "describes an unexpected dtype")
    _require_unit(dtype, state[8:])
    if names is None:
        fits = size in (-1, dtype.itemsize) and alignment in (-1, dtype.alignment)
        valid = fits and flags == dtype.flags and fields is None
        require(valid, "describes an unexpected dtype")
    else:
        require(dtype.kind == "V" and size == dtype.itemsize, "describes an unexpected dtype")
        require(alignment in (1, 2, 4, 8, 16), "describes an unexpected dtype")
        _require_fields(names, fields, size, flags)
    dtype.__setstate__(state)  # type: ignore[attr-defined]


def _require_unit(dtype: np.dtype[Any], metadata: tuple[Any, ...]) -> None:
    """Require that the only metadata is the unit of dates."""
    if not metadata or metadata[0] is None:
        return
    require(dtype.kind in "mM" and type(metadata[0]) is tuple, "describes an unexpected dtype")
    require_types("numpy.dtype", metadata[0], (type(None), dict), tuple)
    require_types("numpy.dtype", metadata[0][1], bytes, int, int, int)
    require(not metadata[0][0], "describes an unexpected dtype")


def _require_fields(names: tuple[Any, ...], fields: Any, size: int, flags: int) -> None:
    """Require fields without objects; numpy checks their offsets and sizes."""
    valid = type(fields) is dict and all(type(name) is str for name in names)
    require(valid and set(names) == set(fields), "describes an unexpected dtype")
    require(flags & ~0x90 == 0, "describes an unexpected dtype")
    for field in fields.values():
        require(type(field) is tuple and len(field) == 2, "describes an unexpected dtype")
        require_dtype(field[0])
        valid = not field[0].hasobject and type(field[1]) is int and field[1] >= 0
        require(valid, "describes an unexpected dtype")
    parts = {
        "names": list(names),
        "formats": [fields[name][0] for name in names],
        "offsets": [fields[name][1] for name in names],
        "itemsize": size,
    }
    np.dtype(parts)  # type: ignore[call-overload]


def require_dtype(dtype: Any) -> None:
    """Require a dtype of plain bytes, or of objects only."""
    require(issubclass(type(dtype), np.dtype), "constructs an array without a dtype")
    require(
        not dtype.hasobject or dtype.kind == "O", "constructs a dtype with objects in its fields"
    )


def require_array(array: Any, kinds: str = "biufc") -> None:
    """Require a plain array of the given kinds of numbers."""
    valid = type(array) is np.ndarray and array.dtype.kind in kinds
    require(valid, "contains another object in place of an array of numbers")


def make_empty_array(*args: Any) -> np.ndarray[Any, Any]:
    """Construct an empty array to be restored, as numpy's ``_reconstruct`` does."""
    require_types("numpy's _reconstruct", args, type, tuple, (bytes, str))
    subtype, shape, code = args
    valid = subtype is np.ndarray and shape == (0,) and code in (b"b", "b")
    require(valid, "constructs an array with unexpected arguments")
    return np.ndarray((0,), np.int8)


def set_array(array: np.ndarray[Any, Any], state: Any, budget: Budget) -> None:
    """Restore shape, dtype and content, whose length must fit."""
    require(type(state) is tuple, "restores an array from an unexpected state")
    require_types("an array's __setstate__", state[:2], int, tuple)
    require_types("an array's __setstate__", state[3:], (bool, int), (bytes, list))
    _, shape, dtype, _, content = state
    require_dtype(dtype)
    count = count_elements(shape)
    if dtype.hasobject:
        valid = type(content) is list and len(content) == count
        nested = valid and np.ndarray in set(map(type, content))
        require(not (nested and any(map(_may_nest, content))), "nests arrays of objects")
        budget.spend(8 * count)
    else:
        valid = type(content) is bytes and len(content) == count * dtype.itemsize
        budget.spend(len(content))
    require(valid, "restores an array with content that does not fit its shape")
    array.__setstate__(state)


def _may_nest(value: Any) -> bool:
    """Whether an array may contain arrays of objects, whose nesting could overflow the stack.

    An empty array counts, because it could be filled later.
    """
    if type(value) is not np.ndarray:
        return False
    return not value.size or (value.dtype.hasobject and not is_plain(value, 1))


def count_elements(shape: Any) -> int:
    """Return the number of elements of a shape, which must consist of plain integers."""
    valid = type(shape) is tuple and all(type(n) is int and n >= 0 for n in shape)
    require(valid and len(shape) <= 32, "contains an invalid array shape")
    return math.prod(shape)


def make_array_of_buffer(*args: Any) -> np.ndarray[Any, Any]:
    """Construct an array from bytes, as protocol 5 writes it."""
    require_types("numpy's _frombuffer", args[:1], (bytes, bytearray))
    require_types("numpy's _frombuffer", args[2:], tuple, str)
    content, dtype, shape, order = args
    require_dtype(dtype)
    valid = not dtype.hasobject and order in ("C", "F") and len(content)
    if not count_elements(shape):
        # numpy cannot read an array from an empty buffer.
        require(
            not dtype.hasobject and not content,
            "restores an array with content that does not fit its shape",
        )
        return np.empty(shape, dtype)
    require(bool(valid), "constructs an array with unexpected arguments")
    return np.frombuffer(content, dtype).reshape(shape, order=order)


def make_scalar(*args: Any) -> Any:
    """Construct one number of a dtype."""
    require(
        len(args) == 2 and type(args[1]) is bytes, "constructs a number with unexpected arguments"
    )
    dtype, content = args
    require_dtype(dtype)
    valid = dtype.kind not in "OV" and len(content) == dtype.itemsize
    require(valid, "constructs a number with unexpected arguments")
    return np.frombuffer(content, dtype)[0] if content else dtype.type()


def make_empty_masked(*args: Any) -> np.ma.MaskedArray[Any, Any]:
    """Construct an empty masked array to be restored."""
    require_types("numpy's _mareconstruct", args, type, type, tuple, (bytes, str))
    valid = args[0] is np.ma.MaskedArray and args[1] is np.ndarray and args[2] == (0,)
    require(valid and args[3] in (b"b", "b"), "constructs an array with unexpected arguments")
    mask = np.ndarray((0,), bool)
    return np.ma.MaskedArray.__new__(np.ma.MaskedArray, np.ndarray((0,), np.int8), mask=mask)


def set_masked(array: np.ma.MaskedArray[Any, Any], state: Any, budget: Budget) -> None:
    """Restore the parts of a masked array, with the checks of ``set_array``."""
    require(type(state) is tuple and len(state) == 7, "restores an array from an unexpected state")
    values, mask = np.ndarray((0,), np.int8), np.ndarray((0,), np.int8)
    set_array(values, state[:5], budget)
    set_array(mask, (1, state[1], np.dtype(bool), state[3], state[5]), budget)
    require(is_plain(state[6], 2), "restores an array from an unexpected state")
    array.__setstate__(state)
