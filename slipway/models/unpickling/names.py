"""Find what a pickle names, through the list, with our constructors in place of functions."""

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
    """A pickle asks for a name that is not on the list."""

    def __init__(self, name: tuple[str, str]) -> None:
        super().__init__(name)
        self.name = name


class AllowedNames:
    """The names that one pickle has asked for, and how each may be used.

    Parameters
    ----------
    own : set of (str, str)
        What the operator has added.
    builders : mapping
        Constructors that need the unpickler itself.
    spare_unknown : bool
        Whether empty objects stand for unknown names.
    """

    def __init__(
        self,
        own: frozenset[tuple[str, str]],
        builders: Mapping[tuple[str, str], Builder] | None = None,
        *,
        spare_unknown: bool = False,
    ) -> None:
        self.own = own
        self._special = builders or {}
        self._spare_unknown = spare_unknown
        # By identity; the objects themselves are kept, so that no other gets their identity.
        self._found: dict[int, tuple[Any, Permission]] = {}
        self._builders: dict[int, Builder] = {}
        self._names: dict[tuple[str, str], Any] = {}

    def find(self, module: str, name: str) -> Any:
        """Return what a name stands for.

        Raises
        ------
        NotListed
            It is not on the list.
        """
        if (module, name) not in self._names:
            self._names[module, name] = self._find(module, name)
        return self._names[module, name]

    def _find(self, module: str, name: str) -> Any:
        found: Any
        try:
            found, way = self.resolve(module, name)
        except NotListed:
            if not self._spare_unknown:
                raise
            found, way = Placeholder((module, name)), "spare"
        if way == "built":
            return self._remember_builder(module, name, found)
        self._found[id(found)] = (found, way)
        return found

    def resolve(self, module: str, name: str) -> tuple[Any, Permission]:
        """Return what a name stands for, and how it may be used."""
        if (module, name) in self.own or (module, "*") in self.own:
            return _find_own(module, name, whole=(module, name) not in self.own), "own"
        if is_unneeded(module):
            return Placeholder((module, name)), "spare"
        if (module, name) in _JOBLIB:
            from slipway.models.unpickling.joblib_arrays import ArrayHeader

            return ArrayHeader, "made"
        way = EXACT.get((module, name))
        if "." in name or not (way or may_contain(module)):
            raise NotListed((module, name))
        found = getattr(import_module(module), name, None)
        way = way or permission_of(module, name, found)
        if found is None or way is None:
            raise NotListed((module, name))
        return found, way

    def _remember_builder(self, module: str, name: str, found: Any) -> Any:
        """Put a constructor of ours in the place of a function, and beside a class."""
        build = self._builder(module, name, found)
        if not isinstance(found, type):
            return Constructor(name, build)
        self._found[id(found)] = (found, "built")
        self._builders[id(found)] = build
        return found

    def way(self, thing: Any) -> Permission | None:
        """Return how a thing may be used; None for what the pickle has not named but made."""
        return self._found.get(id(thing), (None, None))[1]

    def builder(self, thing: Any) -> Builder:
        """Return the constructor of ours for a class that is built."""
        return self._builders[id(thing)]

    def _builder(self, module: str, name: str, found: Any) -> Callable[..., Any]:
        """Find the constructor of ours that answers the calls of a name."""
        if (module, name) in self._special:
            return self._special[module, name]
        if (module, name) in CONSTRUCTORS:
            part, _, function = CONSTRUCTORS[module, name].partition(".")
            build = getattr(import_module(f"slipway.models.unpickling.{part}"), function)
            return functools.partial(build, found) if function == "make_offset" else build
        from slipway.models.unpickling.compiled import make_by_cython, make_numbered

        return functools.partial(
            make_numbered if isinstance(found, type) else make_by_cython, found
        )

    def not_listed(self, content: bytes, proto: int) -> list[tuple[str, str]]:
        """List what of a pickle is not on the list, without running it."""
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
    """Translate a name of Python 2, as protocols 0 to 2 have them."""
    if (module, name) in NAME_MAPPING:
        return NAME_MAPPING[module, name]
    return IMPORT_MAPPING.get(module, module), name


def _find_own(module: str, name: str, *, whole: bool) -> Any:
    """Find what the operator has allowed; of a whole module only what it defines itself."""
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    if whole and getattr(found, "__module__", "") != module:
        raise NotListed((module, name))
    return found
