"""Check the model of ``SLIPWAY_MODEL`` before a release.

Heroku has no health check: a process that listens counts as healthy. So the release command checks
the hash of every file, the signature, the pickle, and the golden rows with both engines. The
results are readable lines for the release log.
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
    """Result of one check."""

    subject: str
    result: str


def verify_served(settings: Settings, *, need_pickle: bool = False) -> list[Check]:
    """Check the model of the settings: a file, a version, or the version of an alias.

    Parameters
    ----------
    settings : Settings
    need_pickle : bool
        Whether to raise if scikit-learn is not installed, so that the pickle cannot be opened.

    Returns
    -------
    list of Check

    Raises
    ------
    SlipwayError
        A check failed.
    """
    if settings.reference is None:
        # Anyone who can replace the file can replace this code too, so that a key adds nothing.
        signature = Check("signature", "none; a file is as trusted as the code beside it")
        return [signature, *_verify_files(settings, need_pickle)]
    with tempfile.TemporaryDirectory() as folder:
        path, signature = _fetch(settings.reference, Path(folder))
        return [signature, *_verify_files(replace(settings, model=path), need_pickle)]


def _fetch(reference: Reference, folder: Path) -> tuple[Path, Check]:
    """Fetch a version from its registry, which checks the signature."""
    # A service that serves a file does not need the client library of the registry.
    from slipway.registry import open_registry
    from slipway.registry.signing import SETTING

    registry = open_registry(reference.url)
    version = reference.name if reference.is_fixed else registry.resolve(reference.name)
    path = registry.fetch(version, folder)
    result = (
        f"valid for {SETTING}" if os.environ.get(SETTING) else f"NOT CHECKED: {SETTING} is not set"
    )
    return path, Check("signature", result)


def _verify_files(settings: Settings, need_pickle: bool) -> list[Check]:
    """Load a version from its files with each of its engines."""
    path, skew = settings.model, settings.allow_version_skew
    model = load_model(path, "scorecard", allow_version_skew=skew)
    manifest = model.manifest
    if settings.reference and manifest.version != path.parent.name:
        raise ModelError(
            f"the manifest of {path.parent.name} names the version {manifest.version!a}"
        )
    if not manifest.golden:
        raise ModelError(f"{manifest.version} has no golden rows to check it with; save it again")
    golden_checks = [_describe_golden_rows(model)]
    pickle_result = "opened, since the model has no scorecard"
    if model.engine == "scorecard":
        pickle_result, pickle_check = _open_pickle(settings, need_pickle)
        golden_checks += [pickle_check] if pickle_check else []
    return [
        Check("version", f"{manifest.version}, {manifest.estimator}"),
        Check("files", _check_hashes(path, manifest)),
        Check("pickle", f"{pickle_result}; {_describe_sklearn(manifest)}"),
        *golden_checks,
    ]


def _open_pickle(settings: Settings, need_pickle: bool) -> tuple[str, Check | None]:
    """Load the pickle of a model with a scorecard, if scikit-learn is installed."""
    if not _has_sklearn():
        reason = "scikit-learn is not installed here"
        if need_pickle or settings.engine == "pickle":
            raise ModelError(f"cannot open the pickle: {reason}")
        return f"NOT OPENED, hashed alone: {reason}", None
    skew = settings.allow_version_skew
    model = load_model(settings.model, "pickle", allow_version_skew=skew)
    return "opened", _describe_golden_rows(model)


def _has_sklearn() -> bool:
    try:
        import sklearn  # noqa: F401 - an installed package may still fail to import
    except ImportError:
        return False
    return True


def _describe_golden_rows(model: Predictor) -> Check:
    """Return the check of the golden rows, which passed when the model was loaded."""
    return Check(f"by {model.engine}", f"{len(model.manifest.golden)} golden rows reproduced")


def _check_hashes(path: Path, manifest: Manifest) -> str:
    """Check the hash of the covariance, which loads on demand; return all checked files."""
    names = [path.name]
    if manifest.covariance is not None:
        covariance = covariance_path(path)
        Uncertainty.read(covariance, manifest.covariance.sha256)
        names.append(covariance.name)
    if not manifest_path(path).exists():
        return f"{path.name} alone, without a manifest"
    return f"{' and '.join(names)}, sha256 as in {manifest_path(path).name}"


def _describe_sklearn(manifest: Manifest) -> str:
    maker = manifest.libraries.get("scikit-learn")
    return f"made by scikit-learn {maker}" if maker else "scikit-learn version unknown"
