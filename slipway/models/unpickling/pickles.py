"""Open the pickle of a fitted model without running what it says; see docs/model-life.md.

A pickle is a program: it names classes and functions, calls them, and gives objects their state.
Here it may name only what is on a list (``picklenames.py``) and what the operator has added. It
calls nothing but constructors of ours (``unpickling/``), which take exact types. What it has
built is checked (``unpickling/graph.py``) before anything uses it.
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
_SHOWN = 20
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
        result with ``require_complete``.

    Returns
    -------
    object

    Raises
    ------
    PickleRejected
        The pickle asks for a name that is not on the list, or does what no model's pickle does.
    ModelError
        The pickle cannot be read for another reason.
    """
    own = allowed_names(environ)
    unpickler = AllowlistUnpickler(content, own, spare_unknown=spare_unknown)
    try:
        model = unpickler.load_complete()
        if not spare_unknown:
            Graph(own).check(model)
    except NotListed as error:
        names = [error.name, *unpickler.names.not_listed(content, unpickler.proto)]
        raise PickleRejected(_rejection_message(names, own)) from None
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(_unreadable(content, error)) from error
    return model


def allowed_names(environ: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    """Read the names that the operator has added."""
    entries = [entry.strip() for entry in environ.get(SETTING, "").split(",")]
    names = [entry.partition(":") for entry in entries if entry]
    if not all(module and name for module, _, name in names):
        raise ModelError(f"{SETTING} must be names such as mymodule:MyTransformer, with commas")
    return frozenset((module, name) for module, _, name in names)


def is_allowed(module: str, name: str, own: frozenset[tuple[str, str]] = frozenset()) -> bool:
    """Whether a name is on the list, or the operator's own."""
    try:
        AllowedNames(own).resolve(module, name)
    except (NotListed, ImportError, AttributeError):
        return False
    return True


def require_complete(part: Any, environ: Mapping[str, str] = os.environ) -> None:
    """Check what is used of a pickle that was opened with ``spare_unknown``.

    Raises
    ------
    PickleRejected
        A part of it was not made, or stands where a model has another thing.
    """
    Graph(allowed_names(environ)).check(part)


def _unreadable(content: bytes, error: Exception) -> str:
    """Say why a file is not a pickle that can be read."""
    if isinstance(error, RecursionError):
        return "cannot read the pickle: nested too deeply"
    if not content:
        return "cannot read the pickle: the file is empty"
    if not content.startswith(pickle.PROTO) and not content.rstrip().endswith(pickle.STOP):
        text = content[:1000].isascii() and b"\0" not in content[:1000]
        return f"cannot read the pickle: {'a text file, ' if text else ''}not a pickle file"
    if not content.endswith(pickle.STOP):
        return "cannot read the pickle: the file is cut off; copy or write it again"
    fix = "what it uses must be in a module that can be imported here, not in a notebook"
    return f"cannot read the pickle: {type(error).__name__}: {error}; {fix}"


def _rejection_message(refused: Sequence[tuple[str, str]], own: frozenset[tuple[str, str]]) -> str:
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
