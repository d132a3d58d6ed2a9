"""A version on its way into a registry: its files first, and what says that it is there last."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

from slipway.core.errors import ModelError
from slipway.models.artifacts import covariance_path, manifest_path, read_report
from slipway.models.manifest import Manifest, read_manifest
from slipway.registry.download import version_path
from slipway.registry.errors import NotTrusted, RegistryError
from slipway.registry.object_store import Objects
from slipway.registry.records import (
    FILES,
    STORED,
    File,
    StoredVersion,
    checked_name,
    encode,
    require_size,
    trained,
)
from slipway.registry.signing import Signer


def describe(model: Path, who: str) -> tuple[StoredVersion, dict[str, bytes]]:
    """Read a version's files, and say what they are.

    Parameters
    ----------
    model : Path
        The pickle; the others stand beside it.
    who : str

    Returns
    -------
    stored : StoredVersion
        Not signed yet.
    contents : dict of str to bytes

    Raises
    ------
    ModelError
        A file is missing, or is not the one that the manifest describes.
    """
    manifest = read_manifest(model)
    version = checked_name(manifest.version)
    contents = _contents(model, manifest)
    files = tuple(
        File(name, len(contents[name]), hashlib.sha256(contents[name]).hexdigest())
        for name in FILES
        if name in contents
    )
    when = datetime.now(UTC).isoformat(timespec="seconds")
    return StoredVersion(version, files, trained(manifest), who, when), contents


def _contents(model: Path, manifest: Manifest) -> dict[str, bytes]:
    """Read what a version consists of; a report is left out if it is another version's."""
    expected = {"model.pkl": (model, manifest.sha256)}
    if manifest.covariance is not None:
        covariance = covariance_path(model)
        expected["model.covariance"] = (covariance, manifest.covariance.sha256)
    contents = {"model.json": _read(manifest_path(model), "model.json")}
    for name, (path, sha256) in expected.items():
        contents[name] = _read(path, name)
        if hashlib.sha256(contents[name]).hexdigest() != sha256:
            raise ModelError(f"{path.name} is not the file its manifest describes: sha256 differs")
    report = read_report(model, manifest.version)
    if report is not None:
        require_size("report.html", len(report), "this version")
    return contents if report is None else {**contents, "report.html": report}


def _read(path: Path, name: str) -> bytes:
    try:
        require_size(name, path.stat().st_size, "this version")
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {path.name}: {error.strerror}") from error


def upload(
    objects: Objects, signer: Signer, stored: StoredVersion, contents: dict[str, bytes]
) -> StoredVersion | None:
    """Put a version where none of that name is.

    Parameters
    ----------
    objects : Objects
    signer : Signer
    stored : StoredVersion
    contents : dict of str to bytes

    Returns
    -------
    StoredVersion or None
        What was written; None if somebody else was faster.

    Raises
    ------
    RegistryError
        Other bytes are there under the name of one of the files.
    """
    for file in stored.files:
        objects.begin()
        path = version_path(stored.version, file.name)
        if not objects.put_new(path, contents[file.name]):
            fix = "train again, which gives another version, or prune a day later"
            raise RegistryError(f"a push that never ended left another {file.name}: {fix}")
    signed = signer.sign(stored)
    objects.begin()
    new = objects.put_new(version_path(stored.version, STORED), encode(signed))
    return signed if new else None


def require_same(there: StoredVersion, stored: StoredVersion) -> None:
    """Refuse to push other bytes under a name that is taken.

    Raises
    ------
    NotTrusted
    """
    if there.files == stored.files:
        return
    others = {file.name: file for file in there.files}
    wrong = [file.name for file in stored.files if others.get(file.name) != file]
    wrong += others.keys() - {file.name for file in stored.files}
    raise NotTrusted(
        f"{stored.version} is there already with another {', '.join(wrong)}; a version is never "
        "overwritten"
    )
