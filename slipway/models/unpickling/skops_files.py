"""Read models that skops wrote, by the same list of names as pickles."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any

from slipway.core.errors import ModelError
from slipway.models.unpickling.containers import is_zip, zip_names
from slipway.models.unpickling.pickles import (
    SETTING,
    allowed_names,
    is_allowed,
    load_pickle,
    require_complete,
)
from slipway.models.unpickling.rejection import PickleRejected


def is_skops(content: bytes) -> bool:
    """Whether skops wrote a file."""
    return is_zip(content) and "schema.json" in zip_names(content)


def load_skops(content: bytes, environ: Mapping[str, str]) -> Any:
    """Open a model that skops wrote.

    Raises
    ------
    PickleRejected
        It has types that are not on the list.
    ModelError
        skops is not installed, or cannot read it.
    """
    try:
        import skops.io  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError as error:
        raise ModelError("is a file of skops; run: pip install skops") from error
    own = allowed_names(environ)
    try:
        types = [str(name) for name in skops.io.get_untrusted_types(data=content)]
        names = [(module, name) for module, _, name in (each.rpartition(".") for each in types)]
        refused = [name for name in names if not is_allowed(*name, own)]
        if refused:
            raise PickleRejected(_refusal(refused))
        model = skops.io.loads(content, trusted=types)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"cannot be read by skops: {type(error).__name__}: {error}") from error
    require_complete(model, environ)
    # What is served is a pickle, so that it is held to the rules of one at once.
    return load_pickle(pickle.dumps(model, protocol=5), environ)


def _refusal(refused: list[tuple[str, str]]) -> str:
    listed = ", ".join(f"{module}.{name}" for module, name in refused[:20])
    setting = ",".join(f"{module}:{name}" for module, name in refused[:20])
    return f"has types that are not on the list: {listed}; for your own, set {SETTING}={setting}"
