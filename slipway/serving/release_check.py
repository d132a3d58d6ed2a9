"""What ``SLIPWAY_MODEL`` names, tried as nothing else would try it before it serves.

Heroku takes a process that listens for one that works, and knows no health check. So a release is
held here or not at all: every file's hash, the signature, the pickle opened, the golden rows
answered by both engines. What is found out is told in words, because it goes into a log.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from slipway.core.errors import ModelError
from slipway.core.settings import Reference, Settings
from slipway.models.artifacts import covariance_path, manifest_path
from slipway.models.intervals import Uncertainty
from slipway.models.manifest import Manifest
from slipway.models.predictor import Predictor
from slipway.serving.loading import load_model


class Check(NamedTuple):
    """One thing that was looked at, and what was found."""

    what: str
    found: str


def verify_served(settings: Settings, *, need_pickle: bool = False) -> list[Check]:
    """Check what these settings would serve: a file, a version, or what an alias stands for.

    Parameters
    ----------
    settings : Settings
    need_pickle : bool
        Whether it is a fault that the pickle cannot be opened because scikit-learn is not here.

    Returns
    -------
    list of Check

    Raises
    ------
    SlipwayError
        Something is wrong; the message says what.
    """
    if settings.reference is None:
        # Whoever could exchange the file could exchange this code, so that a key adds nothing.
        signature = Check("signature", "none: a file is trusted like the code beside it")
        return [signature, *_verify_files(settings, need_pickle)]
    with tempfile.TemporaryDirectory() as folder:
        path, signature = _fetch(settings.reference, Path(folder))
        return [signature, *_verify_files(replace(settings, model=path), need_pickle)]


def _fetch(reference: Reference, folder: Path) -> tuple[Path, Check]:
    """Copy a version from its registry, which checks its signature first."""
    # What speaks to buckets is not needed where a file is served.
    from slipway.registry import open_registry
    from slipway.registry.signing import SETTING

    registry = open_registry(reference.url)
    version = reference.name if reference.is_fixed else registry.resolve(reference.name)
    path = registry.fetch(version, folder)
    found = (
        f"right, by {SETTING}" if os.environ.get(SETTING) else f"NOT CHECKED: {SETTING} is not set"
    )
    return path, Check("signature", found)


def _verify_files(settings: Settings, need_pickle: bool) -> list[Check]:
    """Load a version from its files, by both engines where there are two."""
    path, skew = settings.model, settings.allow_version_skew
    model = load_model(path, "scorecard", allow_version_skew=skew)
    manifest = model.manifest
    if settings.reference and manifest.version != path.parent.name:
        raise ModelError(f"the manifest of {path.parent.name} is that of {manifest.version!a}")
    if not manifest.golden:
        raise ModelError(f"{manifest.version} has no golden rows: nothing shows that it is right")
    answers = [_replayed(model)]
    opened = "opened, because there is no scorecard"
    if model.engine == "scorecard":
        opened, by_pickle = _open_pickle(settings, need_pickle)
        answers += [by_pickle] if by_pickle else []
    return [
        Check("version", f"{manifest.version}, {manifest.estimator}"),
        Check("files", _hashes(path, manifest)),
        Check("pickle", f"{opened}; {_made_by(manifest)}"),
        *answers,
    ]


def _open_pickle(settings: Settings, need_pickle: bool) -> tuple[str, Check | None]:
    """Open the pickle of a model that has a scorecard too, where that can be done."""
    if not _has_sklearn():
        why = "scikit-learn is not installed here"
        if need_pickle or settings.engine == "pickle":
            raise ModelError(f"the pickle cannot be opened: {why}")
        return f"NOT OPENED, hashed alone: {why}", None
    skew = settings.allow_version_skew
    return "opened", _replayed(load_model(settings.model, "pickle", allow_version_skew=skew))


def _has_sklearn() -> bool:
    try:
        import sklearn  # noqa: F401 - whether it can be, which is more than whether it is there
    except ImportError:
        return False
    return True


def _replayed(model: Predictor) -> Check:
    """Tell of the golden rows that a model has reproduced when it was loaded."""
    return Check(f"by {model.engine}", f"{len(model.manifest.golden)} golden rows, all right")


def _hashes(path: Path, manifest: Manifest) -> str:
    """Check the file that is read only when an interval is asked for; name all that are right."""
    names = [path.name]
    if manifest.covariance is not None:
        beside = covariance_path(path)
        Uncertainty.read(beside, manifest.covariance.sha256)
        names.append(beside.name)
    if not manifest_path(path).exists():
        return f"{path.name} alone, without a manifest"
    return f"{' and '.join(names)}, as {manifest_path(path).name} says (sha256)"


def _made_by(manifest: Manifest) -> str:
    made_by = manifest.libraries.get("scikit-learn")
    return f"made by scikit-learn {made_by}" if made_by else "its scikit-learn is not known"
