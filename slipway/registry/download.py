"""Copy a version from a registry, verified and atomically."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from slipway.core.files import file_sha256
from slipway.registry.errors import NotTrusted, RegistryError, Unknown
from slipway.registry.object_store import ObjectStore
from slipway.registry.records import (
    MAX_ENTRY,
    MODEL,
    VERSION_JSON,
    StoredVersion,
    decode,
    encode,
    validate_name,
)
from slipway.registry.signing import Signer

_ATTEMPTS = 5


def version_path(version: str, name: str) -> str:
    """Return the path of a version's file in the registry."""
    return f"versions/{version}/{name}"


def local_copy(version: str, folder: Path, signer: Signer) -> Path | None:
    """Return the pickle of an earlier copy if all its files are unchanged.

    Parameters
    ----------
    version : str
    folder : Path
    signer : Signer

    Returns
    -------
    Path or None
    """
    copy = folder / validate_name(version)
    try:
        with (copy / VERSION_JSON).open("rb") as file:
            stored = decode(file.read(MAX_ENTRY + 1), StoredVersion, VERSION_JSON)
        signer.verify(stored, f"{version} in {folder}")
        is_unchanged = all(file_sha256(copy / file.name) == file.sha256 for file in stored.files)
    except (OSError, NotTrusted):
        return None
    return copy / MODEL if is_unchanged and stored.version == version else None


def download_version(
    store: ObjectStore, stored: StoredVersion, folder: Path, signer: Signer
) -> Path:
    """Copy a version to a folder with its name, atomically.

    Parameters
    ----------
    store : ObjectStore
    stored : StoredVersion
        A verified entry.
    folder : Path
    signer : Signer

    Returns
    -------
    Path
        The pickle of the copy.

    Raises
    ------
    RegistryError
        A file is missing or changed, or the folder is not writable.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{stored.version}-", dir=folder))
    except OSError as error:
        raise RegistryError(f"cannot write to {folder}: {error.strerror}") from error
    try:
        _download_files(store, stored, draft)
        return _move_into_place(draft, stored.version, folder, signer)
    except OSError as error:
        raise RegistryError(f"cannot write to {folder}: {error.strerror}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _download_files(store: ObjectStore, stored: StoredVersion, folder: Path) -> None:
    store.extend(stored.size)
    for file in stored.files:
        path = version_path(stored.version, file.name)
        try:
            store.download(path, folder / file.name, file.size, file.sha256)
        except Unknown:
            raise RegistryError(f"{stored.version} was pruned, or lacks its {file.name}") from None
    (folder / VERSION_JSON).write_bytes(encode(stored))
    # mkdtemp allows only its user, but the service can run as another one.
    folder.chmod(0o755)


def _move_into_place(draft: Path, version: str, folder: Path, signer: Signer) -> Path:
    """Rename a copy to its version; another process can do the same concurrently."""
    for attempt in range(_ATTEMPTS):
        try:
            return draft.rename(folder / version) / MODEL
        except OSError:
            existing = local_copy(version, folder, signer)
            if existing:
                return existing
            # Move the broken copy aside: rename() does not replace a folder with files.
            aside = Path(tempfile.mkdtemp(prefix=f".{version}-", dir=folder))
            # Another process can have moved it first.
            with suppress(FileNotFoundError):
                (folder / version).rename(aside / str(attempt))
            shutil.rmtree(aside, ignore_errors=True)
    raise RegistryError(f"cannot replace {folder / version}")
