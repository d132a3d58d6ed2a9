"""Load models that skops wrote, with the allowlist of pickles."""

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
    """Load a model that skops wrote.

    Raises
    ------
    PickleRejected
        The file has types that are not on the allowlist.
    ModelError
        skops is not installed, or cannot read it.
    """
    try:
        import skops.io  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError as error:
        raise ModelError("is a skops file; run: pip install skops") from error
    own = allowed_names(environ)
    try:
        types = [str(name) for name in skops.io.get_untrusted_types(data=content)]
        names = [(module, name) for module, _, name in (path.rpartition(".") for path in types)]
        rejected = [name for name in names if not is_allowed(*name, own)]
        if rejected:
            raise PickleRejected(_rejection_message(rejected))
        model = skops.io.loads(content, trusted=types)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"cannot be read by skops: {type(error).__name__}: {error}") from error
    require_complete(model, environ)
    # The model will be served from a pickle, so that it must pass those checks as well.
    return load_pickle(pickle.dumps(model, protocol=5), environ)


def _rejection_message(rejected: list[tuple[str, str]]) -> str:
    listed = ", ".join(f"{module}.{name}" for module, name in rejected[:20])
    setting = ",".join(f"{module}:{name}" for module, name in rejected[:20])
    fix = f"if they are your own, set {SETTING}={setting}"
    return f"has types that are not on the list: {listed}; {fix}"
