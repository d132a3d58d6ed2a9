"""Open the pickle of a fitted model without running what it says; see docs/model-life.md.

A pickle is a program: it names classes and functions, calls them, and gives objects their state.
Here it may name only what is on a list (``picklenames.py``) and what the operator has added. It
calls nothing but constructors of ours (``unpickling/``), which take exact types. What it has
built is checked (``unpickling/graph.py``) before anything uses it.
"""

from __future__ import annotations

import functools
import io
import os
import pickle
import sys
import types
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from slipway.errors import ModelError
from slipway.picklenames import CONSTRUCTORS, EXACT, Way, is_spare, may_hold, way_of
from slipway.unpickling.basic import Constructor
from slipway.unpickling.graph import Graph
from slipway.unpickling.plain import atoms, is_key, is_plain
from slipway.unpickling.refusal import Budget, PickleRefused, require
from slipway.unpickling.spare import Spare
from slipway.unpickling.states import set_state
from slipway.unpickling.survey import names_in

__all__ = ["SETTING", "PickleRefused", "load_pickle", "own_names"]

SETTING = "SLIPWAY_PICKLE_ALLOW"
_SHOWN = 20
_MAPS = (dict, OrderedDict, defaultdict, Counter)
# Of processes that share a registry, of objects kept elsewhere, and of no pickler today.
_NEVER = (
    *(pickle.INST, pickle.OBJ),
    *(pickle.EXT1, pickle.EXT2, pickle.EXT4),
    *(pickle.PERSID, pickle.BINPERSID),
    *(pickle.NEXT_BUFFER, pickle.READONLY_BUFFER),
)
# Parts in C, which expect their state.
_COMPILED = (
    *("sklearn.tree._tree", "sklearn.neighbors._kd_tree", "sklearn.neighbors._ball_tree"),
    "sklearn.metrics._dist_metrics",
)
_DANGEROUS = ("cloudpickle", "dill", "_dill", "joblib", "functools", "operator", "copyreg")


def load_pickle(
    content: bytes, environ: Mapping[str, str] = os.environ, *, spare_unknown: bool = False
) -> Any:
    """Open a pickle through the list.

    Parameters
    ----------
    content : bytes
    environ : mapping of str to str
        ``SLIPWAY_PICKLE_ALLOW`` has your own names: ``package.module:Name``, separated by
        commas, or ``package.module:*`` for everything that a module defines.
    spare_unknown : bool
        Whether empty objects stand for unknown names. The caller must check what it uses of the
        result with ``require_whole``.

    Returns
    -------
    object

    Raises
    ------
    PickleRefused
        The pickle asks for a name that is not on the list, or does what no model's pickle does.
    ModelError
        The pickle cannot be read for another reason.
    """
    own = own_names(environ)
    unpickler = _Careful(content, own, spare_unknown=spare_unknown)
    try:
        model = unpickler.load()
        unpickler.require_complete()
        if not spare_unknown:
            unpickler.check_graph(model)
    except _NotListed as error:
        raise PickleRefused(_told(unpickler.not_listed(error.name, content), own)) from None
    except ModelError:
        raise
    except RecursionError as error:
        raise ModelError("cannot read the pickle: nested too deeply") from error
    except Exception as error:
        raise ModelError(_unreadable(content, error)) from error
    return model


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
    """Python's own unpickler, whose instructions can be guarded; the one in C cannot."""

    stack: list[Any]
    metastack: list[list[Any]]
    memo: dict[int, Any]
    proto: int
    read: Callable[[int], bytes]
    readline: Callable[[], bytes]
    dispatch = dict(pickle._Unpickler.dispatch)

    def __init__(
        self, content: bytes, own: frozenset[tuple[str, str]], *, spare_unknown: bool = False
    ) -> None:
        self.file = io.BytesIO(content)
        super().__init__(self.file)
        self.proto = 0
        self._kinds: dict[type, bool] = {}
        self.budget = Budget(len(content))
        self._size = len(content)
        self._own = own
        self._spare_unknown = spare_unknown
        # By identity; the objects themselves are kept, so that no other gets their identity.
        self._found: dict[int, tuple[Any, Way]] = {}
        self._builders: dict[int, Callable[..., Any]] = {}
        self._names: dict[tuple[str, str], Any] = {}
        self._pending: dict[int, Any] = {}

    def load(self) -> Any:
        """Run the pickle, whose frames are passed over because all of it is in memory."""
        self.stack, self.metastack, self.memo = [], [], {}
        self.append = self.stack.append
        self.read, self.readline = self.file.read, self.file.readline
        read, instructions, memo = self.read, self.dispatch, self.memo
        try:
            get, memoize = pickle.BINGET, pickle.MEMOIZE
            while code := read(1):
                # The two instructions that every second byte of a forest is.
                if code == get:
                    self.append(memo[read(1)[0]])
                elif code == memoize:
                    memo[len(memo)] = self.stack[-1]
                else:
                    instructions[code[0]](self)
        except pickle._Stop as stop:
            return stop.value
        raise EOFError

    def find_class(self, module: str, name: str) -> Any:
        """Return what a name stands for, if it is on the list."""
        require(type(module) is str and type(name) is str, "names a thing by another thing")
        if self.proto < 3:
            module, name = _of_python_3(module, name)
        if (module, name) not in self._names:
            self._names[module, name] = self._find(module, name)
        return self._names[module, name]

    def _find(self, module: str, name: str) -> Any:
        found: Any
        try:
            found, way = self._resolve(module, name)
        except _NotListed:
            if not self._spare_unknown:
                raise
            found, way = Spare((module, name)), "spare"
        if way == "built":
            return self._remember_builder(module, name, found)
        self._found[id(found)] = (found, way)
        return found

    def _resolve(self, module: str, name: str) -> tuple[Any, Way]:
        """Return what a name stands for, and how it may be used."""
        if (module, name) in self._own or (module, "*") in self._own:
            return _of_ones_own(module, name, whole=(module, name) not in self._own), "own"
        if is_spare(module):
            return Spare((module, name)), "spare"
        way = EXACT.get((module, name))
        if "." in name or not (way or may_hold(module)):
            raise _NotListed((module, name))
        found = getattr(import_module(module), name, None)
        way = way or way_of(module, name, found)
        if found is None or way is None:
            raise _NotListed((module, name))
        return found, way

    def _remember_builder(self, module: str, name: str, found: Any) -> Any:
        """Put a constructor of ours in the place of a function, and beside a class."""
        build = _builder(self, module, name, found)
        if not isinstance(found, type):
            return Constructor(name, build)
        self._found[id(found)] = (found, "built")
        self._builders[id(found)] = build
        return found

    def way(self, thing: Any) -> Way | None:
        """Return how a thing may be used; None for what the pickle has not named but made."""
        return self._found.get(id(thing), (None, None))[1]

    def call(self, thing: Any, args: Any) -> Any:
        """Answer a call by a constructor of ours, or by an allowed class."""
        require(type(args) is tuple, "calls a function in another way")
        if type(thing) is Constructor:
            return self._made(thing.function(*args))
        way = self.way(thing)
        if way == "built":
            return self._made(self._builders[id(thing)](*args))
        if way == "spare":
            return thing
        name = getattr(thing, "__name__", type(thing).__name__)
        require(way == "own" and isinstance(thing, type), f"calls {name}")
        require(is_plain(args), f"calls {name} with objects")
        return thing(*args)

    def make(self, kind: Any, args: Any) -> Any:
        """Make an object without its constructor."""
        require(type(args) is tuple, "makes an object in another way")
        way = self.way(kind)
        if way in ("built", "spare"):
            return self.call(kind, args)
        require(way in ("made", "own") and isinstance(kind, type), "makes an object in another way")
        if way == "made" and issubclass(kind, tuple) and len(args) == len(_fields(kind)) > 0:
            return tuple.__new__(kind, args)
        simple = type(kind.__new__) is types.BuiltinFunctionType
        right = not args or (way == "own" and (simple or is_plain(args)))
        require(right, "makes an object in another way")
        if not simple and way == "made":
            # Such as scikit-learn puts before a deprecated class, to warn of it.
            return self._made(object.__new__(kind))
        return self._made(kind.__new__(kind, *args))

    def _made(self, thing: Any) -> Any:
        """Remember what would crash if it were used without the state that comes later."""
        self.budget.spend(256)
        kind = type(thing)
        if kind not in self._kinds:
            self._kinds[kind] = _needs_state(kind)
        if self._kinds[kind]:
            self._pending[id(thing)] = thing
        return thing

    def set_state(self, thing: Any, state: Any) -> None:
        """Give an object that was made here its state."""
        if type(thing) is Spare:
            return None
        require(self.way(thing) is None, "changes a class or a function")
        if type(thing) is functools.partial:
            return self._set_partial(thing, state)
        if self.is_own(type(thing)):
            return _set_own(thing, state)
        require(type(thing).__module__ != "builtins", "changes what has no state")
        set_state(thing, state, self.budget)
        self._pending.pop(id(thing), None)
        return None

    def is_own(self, kind: type) -> bool:
        """Whether the operator has allowed a class."""
        return self._found.get(id(kind), (None, None))[1] == "own"

    def make_partial(self, *args: Any) -> Any:
        """Bind nothing to a function yet; what is bound comes with the state."""
        require(len(args) == 1, "calls functools.partial with other arguments than a model's")
        self._require_function(args[0])
        return functools.partial(args[0])

    def _set_partial(self, thing: Any, state: Any) -> None:
        right = type(state) is tuple and len(state) == 4 and state[3] in (None, {})
        require(right and type(state[1]) is tuple, "binds an object to a function")
        self._require_function(state[0])
        bound = {} if state[2] is None else state[2]
        require(type(bound) is dict, "binds an object to a function")
        values = (*state[1], *(bound[name] for name in bound if name != "estimator"))
        known = all(map(self._is_bindable, values))
        # check_array() is bound to an estimator for the sake of its name.
        known = known and ("estimator" not in bound or state[0].__name__ == "check_array")
        require(right and known, "binds an object to a function")
        thing.__setstate__((*state[:2], bound, None))

    def _is_bindable(self, value: Any) -> bool:
        """Whether a value, or all of a list, may be bound to a function that it is given to."""
        if type(value) in (list, tuple):
            return all(map(self._is_bindable, value))
        dtype = type(value).__module__ == "numpy.dtypes"
        return dtype or self.way(value) == "named" or is_plain(value)

    def _require_function(self, function: Any) -> None:
        known = self.way(function) in ("named", "own") and not isinstance(function, type)
        require(known, "binds something to what is not a function of a model")

    def make_old(self, *args: Any) -> Any:
        """Make an object as protocols 0 and 1 do."""
        require(len(args) == 3, "makes an object in another way")
        kind, base, content = args
        if base is tuple:
            return self.make(kind, content)
        made = self.make(kind, ())
        right = (base is object and content is None) or (base is dict and type(content) is dict)
        require(right and issubclass(kind, base), "makes an object in another way")
        if base is dict:
            _fill(self, made, list(content), list(content.values()))
        return made

    def require_complete(self) -> None:
        """Reject a pickle that leaves compiled parts without their state."""
        require(not self._pending, "leaves a part of the model empty")

    def check_graph(self, model: Any) -> None:
        """Check what was built; see ``unpickling/graph.py``."""
        own = (thing for thing, way in self._found.values() if way == "own")
        Graph(frozenset(thing for thing in own if isinstance(thing, type))).check(model)

    def not_listed(self, first: tuple[str, str], content: bytes) -> list[tuple[str, str]]:
        """List what else of the pickle is not on the list, without running it."""
        names = [first]
        for name in dict.fromkeys(names_in(content)):
            try:
                self._resolve(*(_of_python_3(*name) if self.proto < 3 else name))
            except _NotListed as error:
                names.append(error.name)
            except Exception:
                names.append(name)
        return list(dict.fromkeys(names))


def require_whole(part: Any) -> None:
    """Check what is used of a pickle that was opened with ``spare_unknown``.

    Raises
    ------
    PickleRefused
        A part of it was not made, or stands where a model has another thing.
    """
    Graph(frozenset()).check(part)


def _needs_state(kind: type) -> bool:
    """Whether objects of a type must not be used before they have their state."""
    backed = kind.__module__.startswith("pandas.core.arrays.") and hasattr(kind, "_ndarray")
    return backed or kind.__module__ in _COMPILED


def _fields(kind: type) -> tuple[str, ...]:
    return getattr(kind, "_fields", ())


def _set_own(thing: Any, state: Any) -> None:
    """Give an object of an allowed class its state, as Python does."""
    if "__setstate__" in dir(type(thing)):
        thing.__setstate__(state)
        return
    slots: dict[str, Any] = {}
    if type(state) is tuple and len(state) == 2:
        state, slots = state
    thing.__dict__.update(state or {})
    for name, value in (slots or {}).items():
        setattr(thing, name, value)


def _builder(unpickler: _Careful, module: str, name: str, found: Any) -> Callable[..., Any]:
    """Find the constructor of ours that answers the calls of a name."""
    if (module, name) == ("functools", "partial"):
        return unpickler.make_partial
    if (module, name) == ("copyreg", "_reconstructor"):
        return unpickler.make_old
    if (module, name) in CONSTRUCTORS:
        part, _, function = CONSTRUCTORS[module, name].partition(".")
        build = getattr(import_module(f"slipway.unpickling.{part}"), function)
        return functools.partial(build, found) if function == "make_offset" else build
    from slipway.unpickling.compiled import make_by_cython, make_numbered

    return functools.partial(make_numbered if isinstance(found, type) else make_by_cython, found)


def _of_python_3(module: str, name: str) -> tuple[str, str]:
    """Translate a name of Python 2, as protocols 0 to 2 have them."""
    if (module, name) in NAME_MAPPING:
        return NAME_MAPPING[module, name]
    return IMPORT_MAPPING.get(module, module), name


def _of_ones_own(module: str, name: str, *, whole: bool) -> Any:
    """Find what the operator has allowed; of a whole module only what it defines itself."""
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    if whole and getattr(found, "__module__", "") != module:
        raise _NotListed((module, name))
    return found


def _reduce(pickled: _Careful) -> None:
    args = pickled.stack.pop()
    pickled.stack[-1] = pickled.call(pickled.stack[-1], args)


def _newobj(pickled: _Careful) -> None:
    args = pickled.stack.pop()
    pickled.stack[-1] = pickled.make(pickled.stack[-1], args)


def _newobj_ex(pickled: _Careful) -> None:
    require(pickled.stack.pop() == {}, "makes an object in another way")
    _newobj(pickled)


def _build(pickled: _Careful) -> None:
    state = pickled.stack.pop()
    pickled.set_state(pickled.stack[-1], state)


def _require_list(thing: Any) -> None:
    require(type(thing) is list, "adds to what is not a list")


def _append(pickled: _Careful) -> None:
    value = pickled.stack.pop()
    _require_list(pickled.stack[-1])
    pickled.stack[-1].append(value)


def _appends(pickled: _Careful) -> None:
    values = pickled.pop_mark()  # type: ignore[attr-defined]
    _require_list(pickled.stack[-1])
    pickled.stack[-1].extend(values)


def _setitem(pickled: _Careful) -> None:
    value, key = pickled.stack.pop(), pickled.stack.pop()
    _fill(pickled, pickled.stack[-1], [key], [value])


def _setitems(pickled: _Careful) -> None:
    items = pickled.pop_mark()  # type: ignore[attr-defined]
    _fill(pickled, pickled.stack[-1], items[::2], items[1::2])


def _dict(pickled: _Careful) -> None:
    items = pickled.pop_mark()  # type: ignore[attr-defined]
    pickled.stack.append({})
    _fill(pickled, pickled.stack[-1], items[::2], items[1::2])


def _fill(pickled: _Careful, thing: Any, keys: list[Any], values: list[Any]) -> None:
    if type(thing) is Spare:
        return
    kind = type(thing)
    known = kind in _MAPS or kind.__name__ == "Bunch" or pickled.is_own(kind)
    require(known and issubclass(kind, dict), "fills what is not a dictionary")
    _require_keys(keys)
    dict.update(thing, zip(keys, values, strict=True))


def _require_keys(keys: list[Any]) -> None:
    if not atoms().issuperset(map(type, keys)):
        require(all(map(is_key, keys)), "has an unusual thing as a key")


def _additems(pickled: _Careful) -> None:
    items = pickled.pop_mark()  # type: ignore[attr-defined]
    require(type(pickled.stack[-1]) is set, "adds to what is not a set")
    _require_keys(items)
    pickled.stack[-1].update(items)


def _frame(pickled: _Careful) -> None:
    pickled.read(8)


def _frozenset(pickled: _Careful) -> None:
    items = pickled.pop_mark()  # type: ignore[attr-defined]
    _require_keys(items)
    pickled.stack.append(frozenset(items))


def _bytearray(pickled: _Careful) -> None:
    """Read a bytearray; Python's own reader allocates its length before there are as many bytes."""
    length = int.from_bytes(pickled.read(8), "little")
    require(length <= pickled._size, "says that it is longer than it is")
    pickled.stack.append(bytearray(pickled.read(length)))


def _never(pickled: _Careful) -> None:
    require(False, "uses an instruction of shared registries or of another process")


_GUARDS: dict[bytes, Callable[[_Careful], None]] = {
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
for _instruction, _guard in _GUARDS.items():
    _Careful.dispatch[_instruction[0]] = _guard


def _unreadable(content: bytes, error: Exception) -> str:
    """Say why a file is not a pickle that can be read."""
    if not content:
        return "cannot read the pickle: the file is empty"
    if not content.startswith(pickle.PROTO) and not content.rstrip().endswith(pickle.STOP):
        return "cannot read the pickle: not a pickle file"
    if not content.endswith(pickle.STOP):
        return "cannot read the pickle: the file is cut off; copy or write it again"
    fix = "what it uses must be in a module that can be imported here, not in a notebook"
    return f"cannot read the pickle: {type(error).__name__}: {error}; {fix}"


def _told(refused: Sequence[tuple[str, str]], own: frozenset[tuple[str, str]]) -> str:
    """Name what was rejected, and what its owner can do."""
    names = list(dict.fromkeys(refused))
    # A name can be anything, also what moves a terminal's cursor.
    listed = ", ".join(ascii(f"{module}.{name}")[1:-1] for module, name in names[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    told = f"the pickle asks for {listed}{more}, which a model is not made of; it was rejected"
    packages = {module.partition(".")[0] for module, _ in names}
    if "__main__" in packages or packages & {"cloudpickle", "dill", "_dill"}:
        return f"{told}. Move functions and classes of a notebook to a module, {_AGAIN}"
    if more or any(map(_is_dangerous, packages)):
        return f"{told}, and no model needs it"
    setting = ",".join(sorted(f"{module}:{name}" for module, name in {*names, *own}))
    return f"{told}; if it is code of your own, set {SETTING}={setting}"


_AGAIN = "such as mymodule.py beside the model, import them from there, and fit the model again"


def _is_dangerous(package: str) -> bool:
    """Whether a package has functions that run any code, so that none is to be allowed."""
    return package in sys.stdlib_module_names or package in _DANGEROUS
