"""Take in a pickle that nobody wrote a manifest for."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from slipway.core.errors import ModelError, SlipwayError
from slipway.models.manifest import Manifest
from slipway.training.packaging.model_file import open_model
from slipway.training.packaging.stamps import with_version
from slipway.training.packaging.version import describe_model

_log = logging.getLogger(__name__)


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
    opened = open_model(path, content, allow_version_skew=allow_version_skew)
    model = opened.model
    for note in opened.notes:
        _log.warning("%s: %s", path.name, note)
    try:
        made = describe_model(model, name=path.stem)
    except SlipwayError as error:
        raise ModelError(f"{path.name} has no manifest, and {error.message}") from error
    changed = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    _log.warning("%s has no manifest beside it; `flask model add` writes one", path.name)
    for note in made.notes:
        _log.warning("not known from the pickle: %s", note)
    return model, with_version(made.manifest, content, changed)


def open_pickle(path: Path, content: bytes, *, allow_version_skew: bool = False) -> Any:
    """Open the file of a model that has no manifest yet; see ``open_model``."""
    return open_model(path, content, allow_version_skew=allow_version_skew).model
