"""Load the pickle of a fitted model without running its code; see docs/model-life.md.

A pickle is a program: it names classes and functions, calls them, and restores objects. Here it
may contain only names on an allowlist (``allowlist.py``) and those that the operator has added.
Its calls run constructors of this package, which check the types of their arguments. The objects
are checked (``graph.py``) before their first use.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from slipway.core.errors import ModelError
from slipway.models.unpickling.graph import Graph
from slipway.models.unpickling.names import AllowedNames, NotListed
from slipway.models.unpickling.rejection import PickleRejected
from slipway.models.unpickling.unpickler import AllowlistUnpickler

__all__ = [
    "SETTING",
    "PickleRejected",
    "allowed_names",
    "is_allowed",
    "load_pickle",
    "require_complete",
]

SETTING = "SLIPWAY_PICKLE_ALLOW"
_MAX_NAMES = 20
_DANGEROUS = ("cloudpickle", "dill", "_dill", "joblib", "functools", "operator", "copyreg")


def load_pickle(
    content: bytes, environ: Mapping[str, str] = os.environ, *, replace_unknown: bool = False
) -> Any:
    """Load a pickle through the allowlist.

    Parameters
    ----------
    content : bytes
    environ : mapping of str to str
        ``SLIPWAY_PICKLE_ALLOW`` allows further names: ``package.module:Name``, separated by
        commas, or ``package.module:*`` for everything that a module defines.
    replace_unknown : bool
        Whether placeholders replace unknown names. The caller must check the parts that it uses
        with ``require_complete``.

    Returns
    -------
    object

    Raises
    ------
    PickleRejected
        The pickle contains a name that is not allowed, or an unsafe operation.
    ModelError
        The pickle is invalid for another reason.
    """
    own = allowed_names(environ)
    unpickler = AllowlistUnpickler(content, own, replace_unknown=replace_unknown)
    try:
        model = unpickler.load_complete()
        if not replace_unknown:
            Graph(own).check(model)
    except NotListed as error:
        names = [error.name, *unpickler.names.list_rejected(content, unpickler.proto)]
        raise PickleRejected(_rejection_message(names, own)) from None
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(_describe_error(content, error)) from error
    return model


def allowed_names(environ: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    """Return the names that the operator has allowed."""
    text = environ.get(SETTING, "")
    entries = [entry.strip() for entry in text.split(",")]
    names = [entry.partition(":") for entry in entries if entry]
    if not all(module and name for module, _, name in names):
        raise ModelError(
            f"{SETTING} must be comma-separated names such as mymodule:MyTransformer, not {text!r}"
        )
    return frozenset((module, name) for module, _, name in names)


def is_allowed(module: str, name: str, own: frozenset[tuple[str, str]] = frozenset()) -> bool:
    """Whether a name is on the allowlist, or allowed by the operator."""
    try:
        AllowedNames(own).resolve(module, name)
    except (NotListed, ImportError, AttributeError):
        return False
    return True


def require_complete(part: Any, environ: Mapping[str, str] = os.environ) -> None:
    """Check a part of a pickle that was loaded with ``replace_unknown``.

    Raises
    ------
    PickleRejected
        The part contains a placeholder or an unexpected object.
    """
    Graph(allowed_names(environ)).check(part)


def _describe_error(content: bytes, error: Exception) -> str:
    """Return the message for a file that cannot be read as a pickle."""
    if isinstance(error, RecursionError):
        return "cannot read the pickle: nested too deeply"
    if not content:
        return "cannot read the pickle: the file is empty"
    if not content.startswith(pickle.PROTO) and not content.rstrip().endswith(pickle.STOP):
        text = content[:1000].isascii() and b"\0" not in content[:1000]
        return f"cannot read the pickle: {'a text file, ' if text else ''}not a pickle file"
    if not content.endswith(pickle.STOP):
        return "cannot read the pickle: the file is truncated; copy or save it again"
    fix = "its classes and functions must be in importable modules, not in a notebook"
    return f"cannot read the pickle: {type(error).__name__}: {error}; {fix}"


def _rejection_message(rejected: Sequence[tuple[str, str]], own: frozenset[tuple[str, str]]) -> str:
    """Return the message about rejected names, with a fix."""
    names = list(dict.fromkeys(rejected))
    # Names can contain control characters that would move the cursor.
    listed = ", ".join(ascii(f"{module}.{name}")[1:-1] for module, name in names[:_MAX_NAMES])
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    message = f"rejected the pickle, which uses {listed}{more}"
    packages = {module.partition(".")[0] for module, _ in names}
    if "__main__" in packages or packages & {"cloudpickle", "dill", "_dill"}:
        return f"{message}; move functions and classes of a notebook to a module, {_FIX}"
    if more or any(map(_is_dangerous, packages)):
        return f"{message}; fitted models do not need this"
    setting = ",".join(sorted(f"{module}:{name}" for module, name in {*names, *own}))
    return f"{message}; if that is your own code, set {SETTING}={setting}"


_FIX = "such as mymodule.py next to the model, import them from there and fit the model again"


def _is_dangerous(package: str) -> bool:
    """Whether a package has functions that run arbitrary code and must not be allowed."""
    return package in sys.stdlib_module_names or package in _DANGEROUS
