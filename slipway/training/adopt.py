"""Take in a pickle that nobody wrote a manifest for."""

from __future__ import annotations

import logging
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sklearn
from sklearn.exceptions import InconsistentVersionWarning

from slipway.errors import ModelError, SlipwayError
from slipway.manifest import Manifest
from slipway.pickles import load_pickle
from slipway.training.version import describe_model, made_by, stamped

_log = logging.getLogger(__name__)
_FIX = "fit it again in this environment"


def adopt(path: Path, content: bytes, *, allow_version_skew: bool = False) -> tuple[Any, Manifest]:
    """Open a bare pickle, and infer what can be known of it.

    Parameters
    ----------
    path : Path
    content : bytes
    allow_version_skew : bool
        Whether it may be of another scikit-learn.

    Returns
    -------
    model : estimator
    manifest : Manifest
        Its version is the file's own time and hash.

    Raises
    ------
    ModelError
        It is no pickle of a model that can be served.
    """
    model = open_pickle(path, content, allow_version_skew=allow_version_skew)
    try:
        made = describe_model(model, name=path.stem)
    except SlipwayError as error:
        raise ModelError(f"{path.name} has no manifest, and {error.message}") from error
    changed = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    _log.warning("%s has no manifest beside it; `flask model add` writes one", path.name)
    for note in made.notes:
        _log.warning("not known from the pickle: %s", note)
    return model, stamped(made.manifest, content, changed)


def open_pickle(path: Path, content: bytes, *, allow_version_skew: bool = False) -> Any:
    """Open a pickle that has no manifest yet.

    Raises
    ------
    ModelError
        It cannot be opened, asks for what no model needs, was made by another scikit-learn, or
        holds no fitted estimator.
    """
    _require_version(path, content, allow_version_skew)
    try:
        with warnings.catch_warnings():
            # Each step would say once more what was said already.
            warnings.simplefilter("ignore", InconsistentVersionWarning)
            model = load_pickle(content)
    except ModelError as error:
        raise ModelError(f"{path.name}: {error.message}") from error
    if not hasattr(model, "predict") or not hasattr(model, "get_params"):
        raise ModelError(f"{path.name} holds a {type(model).__name__}, not a fitted estimator")
    try:
        model.get_params()
    except AttributeError as error:
        told = f"{path.name} is not whole in this scikit-learn: {error}"
        raise ModelError(f"{told}; {_FIX}") from error
    return model


def _require_version(path: Path, content: bytes, allow_version_skew: bool) -> None:
    """Refuse a pickle of another scikit-learn, or warn of it where it is allowed."""
    maker = made_by(content)
    if maker in (None, sklearn.__version__):
        return
    told = f"{path.name} was made by scikit-learn {maker}, here is {sklearn.__version__}"
    if not allow_version_skew:
        raise ModelError(f"{told}: {_FIX}")
    _log.warning("%s; nothing here shows that it still answers as it did", told)
