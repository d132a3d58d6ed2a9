"""Check a version of a registry before use."""

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
    """Download a version and replay its golden rows.

    Parameters
    ----------
    registry : Registry
    version : str
    pickle : bool
        Whether to replay them with the pickle too if the engine is the scorecard.
    allow_version_skew : bool
        Whether to accept a pickle of another scikit-learn version.

    Returns
    -------
    Manifest

    Raises
    ------
    ModelError
        A file, a signature or a prediction is wrong.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = registry.fetch(version, Path(folder))
        predictor = load_predictor(path, "scorecard", allow_version_skew=allow_version_skew)
        if predictor.manifest.version != version:
            raise ModelError(f"{version} has the manifest of {predictor.manifest.version!a}")
        if pickle and predictor.engine == "scorecard":
            load_predictor(path, "pickle", allow_version_skew=allow_version_skew)
        return predictor.manifest
