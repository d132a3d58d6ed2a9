"""Push a version to a registry: first its files, then ``version.json``."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

from slipway.core.errors import ModelError
from slipway.models.artifacts import covariance_path, manifest_path, read_report
from slipway.models.manifest import Manifest, read_manifest
from slipway.registry.download import version_path
from slipway.registry.errors import NotTrusted, RegistryError
from slipway.registry.object_store import ObjectStore
from slipway.registry.records import (
    FILES,
    VERSION_JSON,
    StoredVersion,
    VersionFile,
    encode,
    require_size,
    summarize_training,
    validate_name,
)
from slipway.registry.signing import Signer


def read_version(model: Path, who: str) -> tuple[StoredVersion, dict[str, bytes]]:
    """Read a version's files.

    Parameters
    ----------
    model : Path
        The pickle, beside the other files.
    who : str

    Returns
    -------
    stored : StoredVersion
        The unsigned entry.
    contents : dict of str to bytes

    Raises
    ------
    ModelError
        A file is missing, or its hash differs from the manifest.
    """
    manifest = read_manifest(model)
    version = validate_name(manifest.version)
    contents = _contents(model, manifest)
    files = tuple(
        VersionFile(name, len(contents[name]), hashlib.sha256(contents[name]).hexdigest())
        for name in FILES
        if name in contents
    )
    when = datetime.now(UTC).isoformat(timespec="seconds")
    return StoredVersion(version, files, summarize_training(manifest), who, when), contents


def _contents(model: Path, manifest: Manifest) -> dict[str, bytes]:
    """Return the contents of a version's files, without a report of another version."""
    expected = {"model.pkl": (model, manifest.sha256)}
    if manifest.covariance is not None:
        covariance = covariance_path(model)
        expected["model.covariance"] = (covariance, manifest.covariance.sha256)
    contents = {"model.json": _read(manifest_path(model), "model.json")}
    for name, (path, sha256) in expected.items():
        contents[name] = _read(path, name)
        if hashlib.sha256(contents[name]).hexdigest() != sha256:
            raise ModelError(f"{path.name} does not match its manifest: sha256 differs")
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


def upload_version(
    store: ObjectStore, signer: Signer, stored: StoredVersion, contents: dict[str, bytes]
) -> StoredVersion | None:
    """Write a version that does not exist yet.

    Parameters
    ----------
    store : ObjectStore
    signer : Signer
    stored : StoredVersion
    contents : dict of str to bytes

    Returns
    -------
    StoredVersion or None
        The signed entry; None if another process wrote it first.

    Raises
    ------
    RegistryError
        A file of the version exists with other content.
    """
    for file in stored.files:
        store.begin()
        path = version_path(stored.version, file.name)
        if not store.put_if_absent(path, contents[file.name]):
            fix = "train another version, or prune a day later"
            raise RegistryError(f"an unfinished push left another {file.name}; {fix}")
    signed = signer.sign(stored)
    store.begin()
    new = store.put_if_absent(version_path(stored.version, VERSION_JSON), encode(signed))
    return signed if new else None


def require_same_files(existing: StoredVersion, stored: StoredVersion) -> None:
    """Raise an error if an existing version has other files.

    Raises
    ------
    NotTrusted
        The existing version has other files.
    """
    if existing.files == stored.files:
        return
    existing_files = {file.name: file for file in existing.files}
    changed = [file.name for file in stored.files if existing_files.get(file.name) != file]
    changed += existing_files.keys() - {file.name for file in stored.files}
    raise NotTrusted(
        f"{stored.version} already exists with another {', '.join(changed)}; train another "
        "version, since versions are never overwritten"
    )
