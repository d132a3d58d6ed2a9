"""Python's own unpickler, kept to the list and to constructors of ours."""

from __future__ import annotations

import functools
import io
import pickle
import types
from collections.abc import Callable
from typing import Any, ClassVar

from slipway.models.unpickling.basic import Constructor
from slipway.models.unpickling.instructions import INSTRUCTIONS, fill
from slipway.models.unpickling.names import AllowedNames, translate_python_2
from slipway.models.unpickling.placeholder import Placeholder
from slipway.models.unpickling.plain import is_plain
from slipway.models.unpickling.rejection import Budget, require
from slipway.models.unpickling.states import set_state

# Parts in C, which expect their state.
_COMPILED = (
    *("sklearn.tree._tree", "sklearn.neighbors._kd_tree", "sklearn.neighbors._ball_tree"),
    "sklearn.metrics._dist_metrics",
)


class AllowlistUnpickler(pickle._Unpickler):
    """Python's own unpickler, whose instructions can be guarded; the one in C cannot."""

    stack: list[Any]
    metastack: list[list[Any]]
    memo: dict[int, Any]
    proto: int
    read: Callable[[int], bytes]
    readline: Callable[[], bytes]
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **pickle._Unpickler.dispatch,
        **{code[0]: read for code, read in INSTRUCTIONS.items()},
    }

    def __init__(
        self, content: bytes, own: frozenset[tuple[str, str]], *, spare_unknown: bool = False
    ) -> None:
        self.file = io.BytesIO(content)
        super().__init__(self.file)
        self.proto = 0
        self._kinds: dict[type, bool] = {}
        self.budget = Budget(len(content))
        self.size = len(content)
        builders = {
            ("functools", "partial"): self.make_partial,
            ("copyreg", "_reconstructor"): self.make_old,
        }
        self.names = AllowedNames(own, builders, spare_unknown=spare_unknown)
        self.way = self.names.way
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
        except pickle._Stop as stop:  # type: ignore[attr-defined]
            return stop.value
        raise EOFError

    def find_class(self, module: str, name: str) -> Any:
        """Return what a name stands for, if it is on the list."""
        require(type(module) is str and type(name) is str, "names a thing by another thing")
        if self.proto < 3:
            module, name = translate_python_2(module, name)
        return self.names.find(module, name)

    def call(self, thing: Any, args: Any) -> Any:
        """Answer a call by a constructor of ours, or by an allowed class."""
        require(type(args) is tuple, "calls a function in another way")
        if type(thing) is Constructor:
            return self._made(thing.function(*args))
        way = self.way(thing)
        if way == "built":
            return self._made(self.names.builder(thing)(*args))
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
        if type(thing) is Placeholder:
            return
        require(self.way(thing) is None, "changes a class or a function")
        if type(thing) is functools.partial:
            self._set_partial(thing, state)
            return
        if self.is_own(type(thing)):
            _set_own(thing, state)
            return
        require(type(thing).__module__ != "builtins", "changes what has no state")
        set_state(thing, state, self.budget, made=self.way(type(thing)) == "made")
        self._pending.pop(id(thing), None)

    def read_array(self, state: Any) -> Any:
        """Read the array that joblib writes after its header; objects are a pickle of their own."""
        from slipway.models.unpickling.joblib_arrays import read_array

        array = read_array(state, self.read, self.budget)
        if array is not None:
            return array
        outer = self.stack, self.metastack, self.memo, self.append, self.proto
        array = self.load()
        self.stack, self.metastack, self.memo, self.append, self.proto = outer
        require(type(array).__name__ == "ndarray", "writes an array in another way")
        return array

    def is_own(self, kind: type) -> bool:
        """Whether the operator has allowed a class."""
        return self.way(kind) == "own"

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
            fill(self, made, list(content), list(content.values()))
        return made

    def load_complete(self) -> Any:
        """Run the pickle, and reject one that leaves compiled parts without their state."""
        made = self.load()
        require(not self._pending, "leaves a part of the model empty")
        return made


def _needs_state(kind: type) -> bool:
    """Whether objects of a type must not be used before they have their state."""
    backed = kind.__module__.startswith("pandas.core.arrays.") and hasattr(kind, "_ndarray")
    return backed or kind.__module__ in _COMPILED


def _fields(kind: type) -> tuple[str, ...]:
    return getattr(kind, "_fields", ())


def _set_own(thing: Any, state: Any) -> None:
    """Give an object of an allowed class its state, as Python does."""
    names = state if type(state) is dict else {}
    special = any(type(name) is str and name[:2] == name[-2:] == "__" for name in names)
    require(not special, "gives an object a special method")
    if "__setstate__" in dir(type(thing)):
        thing.__setstate__(state)
        return
    slots: dict[str, Any] = {}
    if type(state) is tuple and len(state) == 2:
        state, slots = state
    thing.__dict__.update(state or {})
    for name, value in (slots or {}).items():
        setattr(thing, name, value)
