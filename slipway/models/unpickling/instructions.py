"""Pickle's instructions, each with the checks that Python's own do not make."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

from slipway.models.unpickling.placeholder import Placeholder
from slipway.models.unpickling.plain import MAPS, atoms, is_key
from slipway.models.unpickling.rejection import require

# Of processes that share a registry, of objects kept elsewhere, and of no pickler today.
_NEVER = (
    *(pickle.INST, pickle.OBJ),
    *(pickle.EXT1, pickle.EXT2, pickle.EXT4),
    *(pickle.PERSID, pickle.BINPERSID),
    *(pickle.NEXT_BUFFER, pickle.READONLY_BUFFER),
)


def _reduce(pickled: Any) -> None:
    args = pickled.stack.pop()
    pickled.stack[-1] = pickled.call(pickled.stack[-1], args)


def _newobj(pickled: Any) -> None:
    args = pickled.stack.pop()
    pickled.stack[-1] = pickled.make(pickled.stack[-1], args)


def _newobj_ex(pickled: Any) -> None:
    require(pickled.stack.pop() == {}, "makes an object in another way")
    _newobj(pickled)


def _build(pickled: Any) -> None:
    state = pickled.stack.pop()
    thing = pickled.stack[-1]
    if type(thing).__name__ == "ArrayHeader" and pickled.way(type(thing)) == "made":
        pickled.stack[-1] = pickled.read_array(state)
    else:
        pickled.set_state(thing, state)


def _require_list(thing: Any) -> None:
    require(type(thing) is list, "adds to what is not a list")


def _append(pickled: Any) -> None:
    value = pickled.stack.pop()
    _require_list(pickled.stack[-1])
    pickled.stack[-1].append(value)


def _appends(pickled: Any) -> None:
    values = pickled.pop_mark()
    _require_list(pickled.stack[-1])
    pickled.stack[-1].extend(values)


def _setitem(pickled: Any) -> None:
    value, key = pickled.stack.pop(), pickled.stack.pop()
    fill(pickled, pickled.stack[-1], [key], [value])


def _setitems(pickled: Any) -> None:
    items = pickled.pop_mark()
    fill(pickled, pickled.stack[-1], items[::2], items[1::2])


def _dict(pickled: Any) -> None:
    items = pickled.pop_mark()
    pickled.stack.append({})
    fill(pickled, pickled.stack[-1], items[::2], items[1::2])


def fill(pickled: Any, thing: Any, keys: list[Any], values: list[Any]) -> None:
    """Fill a dictionary, or one of a listed class, with plain keys."""
    if type(thing) is Placeholder:
        return
    kind = type(thing)
    known = kind in MAPS or pickled.way(kind) in ("made", "own")
    require(known and issubclass(kind, dict), "fills what is not a dictionary")
    _require_keys(keys)
    dict.update(thing, zip(keys, values, strict=True))


def _require_keys(keys: list[Any]) -> None:
    if not atoms().issuperset(map(type, keys)):
        require(all(map(is_key, keys)), "has an unusual thing as a key")


def _additems(pickled: Any) -> None:
    items = pickled.pop_mark()
    require(type(pickled.stack[-1]) is set, "adds to what is not a set")
    _require_keys(items)
    pickled.stack[-1].update(items)


def _frame(pickled: Any) -> None:
    pickled.read(8)


def _frozenset(pickled: Any) -> None:
    items = pickled.pop_mark()
    _require_keys(items)
    pickled.stack.append(frozenset(items))


def _bytearray(pickled: Any) -> None:
    """Read a bytearray; Python's own reader allocates its length before there are as many bytes."""
    length = int.from_bytes(pickled.read(8), "little")
    require(length <= pickled.size, "says that it is longer than it is")
    pickled.stack.append(bytearray(pickled.read(length)))


def _never(pickled: Any) -> None:
    require(False, "uses an instruction of shared registries or of another process")


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
    **dict.fromkeys(_NEVER, _never),
}
