"""A version of a registry, tried before anything is to depend on it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from slipway.core.errors import ModelError
from slipway.models.manifest import Manifest
from slipway.models.predictor import load_predictor
from slipway.registry.registry import Registry


def check_version(
    registry: Registry, version: str, *, pickle: bool = False, allow_version_skew: bool = False
) -> Manifest:
    """Fetch a version anew, and let it answer its golden rows.

    Parameters
    ----------
    registry : Registry
    version : str
    pickle : bool
        Whether to open the pickle and ask it too, where the scorecard answers.
    allow_version_skew : bool
        As for the service.

    Returns
    -------
    Manifest

    Raises
    ------
    ModelError
        A file or a signature is wrong, or an answer.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = registry.fetch(version, Path(folder))
        model = load_predictor(path, "scorecard", allow_version_skew=allow_version_skew)
        if model.manifest.version != version:
            raise ModelError(f"the manifest of {version} is that of {model.manifest.version!a}")
        if pickle and model.engine == "scorecard":
            load_predictor(path, "pickle", allow_version_skew=allow_version_skew)
        return model.manifest
