"""Python's unpickler, restricted to the allowlist and to checked constructors."""

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

# Modules with compiled classes, which must not be used without their state.
_COMPILED = (
    *("sklearn.tree._tree", "sklearn.neighbors._kd_tree", "sklearn.neighbors._ball_tree"),
    "sklearn.metrics._dist_metrics",
)


class AllowlistUnpickler(pickle._Unpickler):
    """Python's unpickler with checked instructions; the one in C cannot be extended."""

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
        self, content: bytes, own: frozenset[tuple[str, str]], *, replace_unknown: bool = False
    ) -> None:
        self.file = io.BytesIO(content)
        super().__init__(self.file)
        self.proto = 0
        self._kinds: dict[type, bool] = {}
        self.budget = Budget(len(content))
        self.size = len(content)
        builders = {
            ("functools", "partial"): self.make_partial,
            ("copyreg", "_reconstructor"): self.make_legacy,
        }
        self.names = AllowedNames(own, builders, replace_unknown=replace_unknown)
        self.permission = self.names.permission
        self._pending: dict[int, Any] = {}

    def load(self) -> Any:
        """Run the pickle; frames are ignored, because the whole pickle is in memory."""
        self.stack, self.metastack, self.memo = [], [], {}
        self.append = self.stack.append
        self.read, self.readline = self.file.read, self.file.readline
        read, instructions, memo = self.read, self.dispatch, self.memo
        try:
            get, memoize = pickle.BINGET, pickle.MEMOIZE
            while code := read(1):
                # These two instructions are half of the bytes of a forest.
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
        """Return the object of a name, if the name is allowed."""
        require(type(module) is str and type(name) is str, "contains a name that is not a text")
        if self.proto < 3:
            module, name = translate_python_2(module, name)
        return self.names.find(module, name)

    def call(self, callee: Any, args: Any) -> Any:
        """Run a call with a constructor of this package, or an allowed class."""
        require(type(args) is tuple, "calls a function with unexpected arguments")
        if type(callee) is Constructor:
            return self._register(callee.function(*args))
        permission = self.permission(callee)
        if permission == "callable":
            return self._register(self.names.builder(callee)(*args))
        if permission == "placeholder":
            return callee
        name = getattr(callee, "__name__", type(callee).__name__)
        require(permission == "custom" and isinstance(callee, type), f"calls {name}")
        require(is_plain(args), f"calls {name} with objects")
        return callee(*args)

    def make(self, kind: Any, args: Any) -> Any:
        """Create an object without its constructor."""
        require(type(args) is tuple, "constructs an object with unexpected arguments")
        permission = self.permission(kind)
        if permission in ("callable", "placeholder"):
            return self.call(kind, args)
        is_custom = permission == "custom"
        allowed = (is_custom or permission == "instantiable") and isinstance(kind, type)
        require(allowed, "constructs an object with unexpected arguments")
        if not is_custom and issubclass(kind, tuple) and len(args) == len(_fields(kind)) > 0:
            return tuple.__new__(kind, args)
        has_builtin_new = type(kind.__new__) is types.BuiltinFunctionType
        valid = not args or (is_custom and (has_builtin_new or is_plain(args)))
        require(valid, "constructs an object with unexpected arguments")
        if not has_builtin_new and not is_custom:
            # scikit-learn replaces __new__ of deprecated classes to issue a warning.
            return self._register(object.__new__(kind))
        return self._register(kind.__new__(kind, *args))

    def _register(self, instance: Any) -> Any:
        """Register an object that would crash if it were used before its state is restored."""
        self.budget.spend(256)
        kind = type(instance)
        if kind not in self._kinds:
            self._kinds[kind] = _needs_state(kind)
        if self._kinds[kind]:
            self._pending[id(instance)] = instance
        return instance

    def set_state(self, instance: Any, state: Any) -> None:
        """Restore the state of an object."""
        if type(instance) is Placeholder:
            return
        require(self.permission(instance) is None, "changes a class or a function")
        if type(instance) is functools.partial:
            self._set_partial(instance, state)
            return
        if self.is_own(type(instance)):
            _set_own(instance, state)
            return
        require(type(instance).__module__ != "builtins", "sets the state of a built-in object")
        constructed = self.permission(type(instance)) == "instantiable"
        set_state(instance, state, self.budget, may_set_attributes=constructed)
        self._pending.pop(id(instance), None)

    def read_array(self, state: Any) -> Any:
        """Read the array after a header of joblib; arrays of objects are nested pickles."""
        from slipway.models.unpickling.joblib_arrays import read_array

        array = read_array(state, self.read, self.budget)
        if array is not None:
            return array
        outer = self.stack, self.metastack, self.memo, self.append, self.proto
        array = self.load()
        self.stack, self.metastack, self.memo, self.append, self.proto = outer
        require(type(array).__name__ == "ndarray", "stores an array in an unexpected format")
        return array

    def is_own(self, kind: type) -> bool:
        """Whether the operator has allowed a class."""
        return self.permission(kind) == "custom"

    def make_partial(self, *args: Any) -> Any:
        """Construct a ``functools.partial``, whose arguments are restored later."""
        require(len(args) == 1, "calls functools.partial with unexpected arguments")
        self._require_function(args[0])
        return functools.partial(args[0])

    def _set_partial(self, partial: Any, state: Any) -> None:
        valid = type(state) is tuple and len(state) == 4 and state[3] in (None, {})
        require(valid and type(state[1]) is tuple, "binds an unsupported object to a function")
        self._require_function(state[0])
        bound = {} if state[2] is None else state[2]
        require(type(bound) is dict, "binds an unsupported object to a function")
        values = (*state[1], *(bound[name] for name in bound if name != "estimator"))
        known = all(map(self._may_bind, values))
        # check_array() is bound to an estimator, of which it uses only the name.
        known = known and ("estimator" not in bound or state[0].__name__ == "check_array")
        require(valid and known, "binds an unsupported object to a function")
        partial.__setstate__((*state[:2], bound, None))

    def _may_bind(self, value: Any) -> bool:
        """Whether a value, or all values of a list, may be bound to a function."""
        if type(value) in (list, tuple):
            return all(map(self._may_bind, value))
        is_dtype = type(value).__module__ == "numpy.dtypes"
        return is_dtype or self.permission(value) == "reference" or is_plain(value)

    def _require_function(self, function: Any) -> None:
        allowed = self.permission(function) in ("reference", "custom")
        allowed = allowed and not isinstance(function, type)
        require(allowed, "binds arguments to an object that is not an allowed function")

    def make_legacy(self, *args: Any) -> Any:
        """Create an object as protocols 0 and 1 do."""
        require(len(args) == 3, "constructs an object with unexpected arguments")
        kind, base, content = args
        if base is tuple:
            return self.make(kind, content)
        instance = self.make(kind, ())
        valid = (base is object and content is None) or (base is dict and type(content) is dict)
        require(valid and issubclass(kind, base), "constructs an object with unexpected arguments")
        if base is dict:
            fill(self, instance, list(content), list(content.values()))
        return instance

    def load_complete(self) -> Any:
        """Run the pickle; reject it if compiled parts have no state."""
        root = self.load()
        require(not self._pending, "leaves a part of the model without its state")
        return root


def _needs_state(kind: type) -> bool:
    """Whether objects of a type must not be used before their state is restored."""
    backed = kind.__module__.startswith("pandas.core.arrays.") and hasattr(kind, "_ndarray")
    return backed or kind.__module__ in _COMPILED


def _fields(kind: type) -> tuple[str, ...]:
    return getattr(kind, "_fields", ())


def _set_own(instance: Any, state: Any) -> None:
    """Restore an object of a class that the operator allowed, as Python does."""
    names = state if type(state) is dict else {}
    special = any(type(name) is str and name[:2] == name[-2:] == "__" for name in names)
    require(not special, "sets a special method of an object")
    if "__setstate__" in dir(type(instance)):
        instance.__setstate__(state)
        return
    slots: dict[str, Any] = {}
    if type(state) is tuple and len(state) == 2:
        state, slots = state
    instance.__dict__.update(state or {})
    for name, value in (slots or {}).items():
        setattr(instance, name, value)
