"""Pickle instructions with checks that Python's unpickler lacks."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

from slipway.models.unpickling.placeholder import Placeholder
from slipway.models.unpickling.plain import MAPS, atoms, is_key
from slipway.models.unpickling.rejection import require

# Instructions for shared registries, for objects stored elsewhere, and of obsolete picklers.
_UNSUPPORTED = (
    *(pickle.INST, pickle.OBJ),
    *(pickle.EXT1, pickle.EXT2, pickle.EXT4),
    *(pickle.PERSID, pickle.BINPERSID),
    *(pickle.NEXT_BUFFER, pickle.READONLY_BUFFER),
)


def _reduce(unpickler: Any) -> None:
    args = unpickler.stack.pop()
    unpickler.stack[-1] = unpickler.call(unpickler.stack[-1], args)


def _newobj(unpickler: Any) -> None:
    args = unpickler.stack.pop()
    unpickler.stack[-1] = unpickler.make(unpickler.stack[-1], args)


def _newobj_ex(unpickler: Any) -> None:
    require(unpickler.stack.pop() == {}, "constructs an object with unexpected arguments")
    _newobj(unpickler)


def _build(unpickler: Any) -> None:
    state = unpickler.stack.pop()
    instance = unpickler.stack[-1]
    if (
        type(instance).__name__ == "ArrayHeader"
        and unpickler.permission(type(instance)) == "instantiable"
    ):
        unpickler.stack[-1] = unpickler.read_array(state)
    else:
        unpickler.set_state(instance, state)


def _require_list(instance: Any) -> None:
    require(type(instance) is list, "appends to an object that is not a list")


def _append(unpickler: Any) -> None:
    value = unpickler.stack.pop()
    _require_list(unpickler.stack[-1])
    unpickler.stack[-1].append(value)


def _appends(unpickler: Any) -> None:
    values = unpickler.pop_mark()
    _require_list(unpickler.stack[-1])
    unpickler.stack[-1].extend(values)


def _setitem(unpickler: Any) -> None:
    value, key = unpickler.stack.pop(), unpickler.stack.pop()
    fill(unpickler, unpickler.stack[-1], [key], [value])


def _setitems(unpickler: Any) -> None:
    items = unpickler.pop_mark()
    fill(unpickler, unpickler.stack[-1], items[::2], items[1::2])


def _dict(unpickler: Any) -> None:
    items = unpickler.pop_mark()
    unpickler.stack.append({})
    fill(unpickler, unpickler.stack[-1], items[::2], items[1::2])


def fill(unpickler: Any, instance: Any, keys: list[Any], values: list[Any]) -> None:
    """Set items of a dictionary or an allowed subclass; keys must be plain."""
    if type(instance) is Placeholder:
        return
    kind = type(instance)
    known = kind in MAPS or unpickler.permission(kind) in ("instantiable", "custom")
    require(known and issubclass(kind, dict), "sets items of an object that is not a dictionary")
    _require_keys(keys)
    dict.update(instance, zip(keys, values, strict=True))


def _require_keys(keys: list[Any]) -> None:
    if not atoms().issuperset(map(type, keys)):
        require(all(map(is_key, keys)), "contains an unsupported dictionary key")


def _additems(unpickler: Any) -> None:
    items = unpickler.pop_mark()
    require(type(unpickler.stack[-1]) is set, "adds to an object that is not a set")
    _require_keys(items)
    unpickler.stack[-1].update(items)


def _frame(unpickler: Any) -> None:
    unpickler.read(8)


def _frozenset(unpickler: Any) -> None:
    items = unpickler.pop_mark()
    _require_keys(items)
    unpickler.stack.append(frozenset(items))


def _bytearray(unpickler: Any) -> None:
    """Read a bytearray; Python's reader would allocate its length before it checks it."""
    length = int.from_bytes(unpickler.read(8), "little")
    require(length <= unpickler.size, "contains a bytearray that is longer than the pickle")
    unpickler.stack.append(bytearray(unpickler.read(length)))


def _reject(unpickler: Any) -> None:
    require(False, "uses an instruction for shared registries or other processes")


INSTRUCTIONS: dict[bytes, Callable[[Any], None]] = {
    pickle.REDUCE: _reduce,
    pickle.NEWOBJ: _newobj,
    pickle.NEWOBJ_EX: _newobj_ex,
    pickle.BUILD: _build,
    pickle.APPEND: _append,
    pickle.APPENDS: _appends,
    pickle.SETITEM: _setitem,
    pickle.SETITEMS: _setitems,
    pickle.DICT: _dict,
    pickle.ADDITEMS: _additems,
    pickle.FROZENSET: _frozenset,
    pickle.BYTEARRAY8: _bytearray,
    pickle.FRAME: _frame,
    **dict.fromkeys(_UNSUPPORTED, _reject),
}
