"""Adopt a pickle that has no manifest."""

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
    """Load a bare pickle and infer its manifest.

    Parameters
    ----------
    path : Path
    content : bytes
    allow_version_skew : bool
        Accept a pickle from another scikit-learn version.

    Returns
    -------
    model : estimator
    manifest : Manifest
        The version is made of the file's modification time and hash.

    Raises
    ------
    ModelError
        The file does not hold a model that Slipway can serve.
    """
    loaded = open_model(path, content, allow_version_skew=allow_version_skew)
    for note in loaded.notes:
        _log.warning("%s: %s", path.name, note)
    try:
        described = describe_model(loaded.model, name=path.stem)
    except SlipwayError as error:
        raise ModelError(f"{path.name} has no manifest, and {error.message}") from error
    changed = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    _log.warning("%s has no manifest beside it; `slipway model add` writes one", path.name)
    for note in described.notes:
        _log.warning("not inferred from the pickle: %s", note)
    return loaded.model, with_version(described.manifest, content, changed)
