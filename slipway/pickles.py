"""Open the pickle of a fitted model, and let nothing else come of it; see docs/model-life.md.

A pickle is a program: it names classes and functions, calls them, and hands objects their
state. Here it may name only what is on a list (``picklenames.py``) and what the operator has
added, and it may call only what it has named, never an object that it has made.
"""

from __future__ import annotations

import io
import os
import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

from slipway.errors import ModelError
from slipway.picklenames import EXACT, Way, may_hold, way_of

SETTING = "SLIPWAY_PICKLE_ALLOW"
_SHOWN = 20
# A scorer, and a threshold, look a method up by its name, which must not be ``tofile``.
_METHODS = {"auto", "default", "decision_function", "predict", "predict_proba"}
_METHOD_NAMES = ("response_method", "_response_method")
# Of protocols 0 and 1, of processes that share a registry, and of objects kept elsewhere.
_NEVER = (
    *(pickle.INST, pickle.OBJ),
    *(pickle.EXT1, pickle.EXT2, pickle.EXT4),
    *(pickle.PERSID, pickle.BINPERSID),
)


class PickleRefused(ModelError):
    """A pickle asks for what no model needs; nothing of that was run."""


def load_pickle(content: bytes, environ: Mapping[str, str] = os.environ) -> Any:
    """Open a pickle through the list.

    Parameters
    ----------
    content : bytes
    environ : mapping of str to str
        ``SLIPWAY_PICKLE_ALLOW`` has names of one's own: ``package.module:Name``, with commas
        between them, or ``package.module:*`` for all that a module defines.

    Returns
    -------
    object

    Raises
    ------
    PickleRefused
        It asks for what is not on the list, or does what a model's pickle never does.
    ModelError
        It cannot be opened for another reason.
    """
    own = own_names(environ)
    try:
        return _Careful(content, own).load()
    except _NotListed as error:
        survey = _Survey(content, own)
        # What stands for the refused parts fits nowhere; only their names are asked for.
        with suppress(Exception):
            survey.load()
        raise PickleRefused(_told(survey.refused or [error.name], own)) from None
    except ModelError:
        raise
    except Exception as error:
        if not content.startswith(pickle.PROTO):
            raise ModelError(
                "the pickle cannot be opened: it is none, or of an old protocol"
            ) from error
        fix = "what it uses must be in a module that can be imported here, not in a notebook"
        raise ModelError(f"the pickle cannot be opened: {error}; {fix}") from error


def own_names(environ: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    """Read the names that the operator has added."""
    entries = [entry.strip() for entry in environ.get(SETTING, "").split(",")]
    names = [entry.partition(":") for entry in entries if entry]
    if not all(module and name for module, _, name in names):
        raise ModelError(f"{SETTING} must be names such as mymodule:MyTransformer, with commas")
    return frozenset((module, name) for module, _, name in names)


class _NotListed(Exception):
    """A pickle asks for a name that is not on the list."""

    def __init__(self, name: tuple[str, str]) -> None:
        super().__init__(name)
        self.name = name


class _Careful(pickle._Unpickler):
    """Python's own unpickler, because the one in C lets a pickle call whatever it has made."""

    stack: list[Any]
    metastack: list[list[Any]]
    dispatch = dict(pickle._Unpickler.dispatch)

    def __init__(self, content: bytes, own: frozenset[tuple[str, str]]) -> None:
        super().__init__(io.BytesIO(content))
        self._own = own
        # By identity; the objects themselves are kept, so that no other gets their identity.
        self._found: dict[int, tuple[Any, Way]] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Give what a name stands for, if it is on the list."""
        found, way = self.resolve(module, name)
        self._found[id(found)] = (found, way)
        return found

    def resolve(self, module: str, name: str) -> tuple[Any, Way]:
        """Give what a name stands for, and how it may be used."""
        if (module, name) in self._own or (module, "*") in self._own:
            return _of_ones_own(module, name, whole=(module, name) not in self._own), "called"
        way = EXACT.get((module, name))
        if "." in name or not (way or may_hold(module)):
            raise _NotListed((module, name))
        found = getattr(import_module(module), name, None)
        way = way or way_of(module, name, found)
        if found is None or way is None:
            raise _NotListed((module, name))
        return found, way

    def way(self, thing: Any) -> Way | None:
        """Give how a thing may be used; None for what the pickle has not named but made."""
        return self._found.get(id(thing), (None, None))[1]


def _of_ones_own(module: str, name: str, *, whole: bool) -> Any:
    """Find what the operator has allowed; of a whole module only what it defines itself."""
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    if whole and getattr(found, "__module__", "") != module:
        raise _NotListed((module, name))
    return found


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise PickleRefused(f"the pickle {what}, which no model's does; it was not opened")


def _reduce(pickled: _Careful) -> None:
    called = pickled.way(pickled.stack[-2]) == "called"
    _require(called, "calls what is not there to be called")


def _newobj(pickled: _Careful) -> None:
    way, empty = pickled.way(pickled.stack[-2]), not pickled.stack[-1]
    _require(way == "called" or (way == "made" and empty), "makes an object in another way")


def _newobj_ex(pickled: _Careful) -> None:
    way, empty = pickled.way(pickled.stack[-3]), not (pickled.stack[-2] or pickled.stack[-1])
    _require(way == "called" or (way == "made" and empty), "makes an object in another way")


def _build(pickled: _Careful) -> None:
    """Keep states to objects that were made here, and to names that Python has no use for."""
    thing, state = pickled.stack[-2:]
    _require(pickled.way(thing) is None, "changes a class or a function")
    for each in state if isinstance(state, tuple) else (state,):
        if not hasattr(type(each), "items"):
            continue
        _require(type(each) is dict, "gives an object the state of another")
        for name, value in each.items():
            special = isinstance(name, str) and name.startswith("__")
            _require(not special, "gives an object a special method")
            _require(name not in _METHOD_NAMES or _is_answer(value), "names another method")


def _is_answer(methods: Any) -> bool:
    """Whether one name of a method, or several, are those that give answers."""
    several = methods if isinstance(methods, list | tuple) else [methods]
    return all(isinstance(each, str) and each in _METHODS for each in several)


def _append(pickled: _Careful) -> None:
    _require(type(pickled.stack[-2]) is list, "adds to what is no list")


def _appends(pickled: _Careful) -> None:
    _require(type(pickled.metastack[-1][-1]) is list, "adds to what is no list")


def _additems(pickled: _Careful) -> None:
    _require(type(pickled.metastack[-1][-1]) is set, "adds to what is no set")


def _never(pickled: _Careful) -> None:
    _require(False, "uses an instruction of old protocols or of shared registries")


def _guarded(code: int, guard: Callable[[_Careful], None]) -> Callable[[Any], None]:
    """Put a guard before one instruction."""
    plain = pickle._Unpickler.dispatch[code]

    def load(pickled: Any) -> None:
        guard(pickled)
        plain(pickled)

    return load


_GUARDS = {
    pickle.REDUCE: _reduce,
    pickle.NEWOBJ: _newobj,
    pickle.NEWOBJ_EX: _newobj_ex,
    pickle.BUILD: _build,
    pickle.APPEND: _append,
    pickle.APPENDS: _appends,
    pickle.ADDITEMS: _additems,
    **dict.fromkeys(_NEVER, _never),
}
for _instruction, _guard in _GUARDS.items():
    _Careful.dispatch[_instruction[0]] = _guarded(_instruction[0], _guard)


class _Nothing:
    """Stands for a refused part while the others are looked for."""

    def __new__(cls, *_: Any, **__: Any) -> _Nothing:
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        pass


class _Survey(_Careful):
    """Finds every name that is not on the list, without using one of them."""

    def __init__(self, content: bytes, own: frozenset[tuple[str, str]]) -> None:
        super().__init__(content, own)
        self.refused: list[tuple[str, str]] = []

    def resolve(self, module: str, name: str) -> tuple[Any, Way]:
        """Give what a name stands for, or nothing in its place."""
        try:
            return super().resolve(module, name)
        except _NotListed:
            self.refused.append((module, name))
            return _Nothing, "called"


def _told(refused: Sequence[tuple[str, str]], own: frozenset[tuple[str, str]]) -> str:
    """Say what was refused, and what its owner can do."""
    names = list(dict.fromkeys(refused))
    # A name can be anything, also what moves a terminal's cursor.
    listed = ", ".join(ascii(f"{module}.{name}")[1:-1] for module, name in names[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    told = f"the pickle asks for {listed}{more}, which a model is not made of; it was not opened"
    modules = {module for module, _ in names}
    if "joblib.numpy_pickle" in modules:
        return (
            f"{told}: it is a file of joblib's; write it with pickle.dump(joblib.load(...), file)"
        )
    if "__main__" in modules:
        return f"{told}: what a notebook defines must be in a module, and imported from there"
    if more or any(module.partition(".")[0] in sys.stdlib_module_names for module in modules):
        return f"{told}, and no model needs it"
    setting = ",".join(sorted(f"{module}:{name}" for module, name in {*names, *own}))
    return f"{told}; if it is code of your own, set {SETTING}={setting}"
