"""Look up the names in a pickle; constructors of this package replace functions."""

from __future__ import annotations

import functools
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from slipway.models.unpickling.allowlist import (
    CONSTRUCTORS,
    EXACT,
    Permission,
    is_unneeded,
    may_contain,
    permission_of,
)
from slipway.models.unpickling.basic import Constructor
from slipway.models.unpickling.placeholder import Placeholder
from slipway.models.unpickling.survey import list_names

_JOBLIB = {("joblib.numpy_pickle", "NumpyArrayWrapper")}
Builder = Callable[..., Any]


class NotListed(Exception):
    """A pickle contains a name that is not on the allowlist."""

    def __init__(self, name: tuple[str, str]) -> None:
        super().__init__(name)
        self.name = name


class AllowedNames:
    """The names in one pickle, and their permissions.

    Parameters
    ----------
    own : set of (str, str)
        Names that the operator has allowed.
    builders : mapping
        Constructors that need the unpickler.
    replace_unknown : bool
        Whether placeholders replace unknown names.
    """

    def __init__(
        self,
        own: frozenset[tuple[str, str]],
        builders: Mapping[tuple[str, str], Builder] | None = None,
        *,
        replace_unknown: bool = False,
    ) -> None:
        self.own = own
        self._unpickler_builders = builders or {}
        self._replace_unknown = replace_unknown
        # By identity. The references keep other objects from getting the same identity.
        self._permissions: dict[int, tuple[Any, Permission]] = {}
        self._builders: dict[int, Builder] = {}
        self._names: dict[tuple[str, str], Any] = {}

    def find(self, module: str, name: str) -> Any:
        """Return the object or constructor of a name.

        Raises
        ------
        NotListed
            The name is not on the allowlist.
        """
        if (module, name) not in self._names:
            self._names[module, name] = self._find(module, name)
        return self._names[module, name]

    def _find(self, module: str, name: str) -> Any:
        value: Any
        try:
            value, permission = self.resolve(module, name)
        except NotListed:
            if not self._replace_unknown:
                raise
            value, permission = Placeholder((module, name)), "placeholder"
        if permission == "callable":
            return self._register_builder(module, name, value)
        self._permissions[id(value)] = (value, permission)
        return value

    def resolve(self, module: str, name: str) -> tuple[Any, Permission]:
        """Return the object of a name, and its permission."""
        if (module, name) in self.own or (module, "*") in self.own:
            return _find_own(module, name, whole=(module, name) not in self.own), "custom"
        if is_unneeded(module):
            return Placeholder((module, name)), "placeholder"
        if (module, name) in _JOBLIB:
            from slipway.models.unpickling.joblib_arrays import ArrayHeader

            return ArrayHeader, "instantiable"
        permission = EXACT.get((module, name))
        if "." in name or not (permission or may_contain(module)):
            raise NotListed((module, name))
        value = getattr(import_module(module), name, None)
        permission = permission or permission_of(module, name, value)
        if value is None or permission is None:
            raise NotListed((module, name))
        return value, permission

    def _register_builder(self, module: str, name: str, value: Any) -> Any:
        """Return a constructor in place of a function; register one for a class."""
        build = self._find_builder(module, name, value)
        if not isinstance(value, type):
            return Constructor(name, build)
        self._permissions[id(value)] = (value, "callable")
        self._builders[id(value)] = build
        return value

    def permission(self, value: Any) -> Permission | None:
        """Return the permission of an object that the pickle has named, otherwise None."""
        return self._permissions.get(id(value), (None, None))[1]

    def builder(self, value: Any) -> Builder:
        """Return the constructor that replaces calls of a class."""
        return self._builders[id(value)]

    def _find_builder(self, module: str, name: str, value: Any) -> Callable[..., Any]:
        """Return the constructor that replaces calls of a name."""
        if (module, name) in self._unpickler_builders:
            return self._unpickler_builders[module, name]
        if (module, name) in CONSTRUCTORS:
            part, _, function = CONSTRUCTORS[module, name].partition(".")
            build = getattr(import_module(f"slipway.models.unpickling.{part}"), function)
            return functools.partial(build, value) if function == "make_offset" else build
        from slipway.models.unpickling.compiled import make_by_cython, make_numbered

        build = make_numbered if isinstance(value, type) else make_by_cython
        return functools.partial(build, value)

    def list_rejected(self, content: bytes, proto: int) -> list[tuple[str, str]]:
        """Return the names in a pickle that are not allowed, without running it."""
        names = []
        for name in dict.fromkeys(list_names(content)):
            try:
                self.resolve(*(translate_python_2(*name) if proto < 3 else name))
            except NotListed as error:
                names.append(error.name)
            except (ImportError, AttributeError):
                names.append(name)
        return names


def translate_python_2(module: str, name: str) -> tuple[str, str]:
    """Return the Python 3 name for a Python 2 name, as in protocols 0 to 2."""
    if (module, name) in NAME_MAPPING:
        return NAME_MAPPING[module, name]
    return IMPORT_MAPPING.get(module, module), name


def _find_own(module: str, name: str, *, whole: bool) -> Any:
    """Return an object that the operator has allowed; a whole module must define it itself."""
    value: Any = import_module(module)
    for part in name.split("."):
        value = getattr(value, part)
    if whole and getattr(value, "__module__", "") != module:
        raise NotListed((module, name))
    return value
