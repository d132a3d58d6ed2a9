"""A version copied from a registry: whole and checked, or not there."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from slipway.core.files import file_sha256
from slipway.registry.errors import NotTrusted, RegistryError, Unknown
from slipway.registry.object_store import Objects
from slipway.registry.records import (
    MAX_ENTRY,
    MODEL,
    STORED,
    StoredVersion,
    checked_name,
    decode,
    encode,
)
from slipway.registry.signing import Signer

_ATTEMPTS = 5


def version_path(version: str, name: str) -> str:
    """Give the place of a version's file."""
    return f"versions/{version}/{name}"


def local_copy(version: str, folder: Path, signer: Signer) -> Path | None:
    """Give the pickle of a copy that was fetched before, if it is still what was pushed.

    Parameters
    ----------
    version : str
    folder : Path
    signer : Signer

    Returns
    -------
    Path or None
    """
    copy = folder / checked_name(version)
    try:
        with (copy / STORED).open("rb") as file:
            stored = decode(file.read(MAX_ENTRY + 1), StoredVersion, STORED)
        signer.verify(stored, f"{version} in {folder}")
        same = all(file_sha256(copy / file.name) == file.sha256 for file in stored.files)
    except (OSError, NotTrusted):
        return None
    return copy / MODEL if same and stored.version == version else None


def fetch(objects: Objects, stored: StoredVersion, folder: Path, signer: Signer) -> Path:
    """Copy a version into a folder of its own name, in one step.

    Parameters
    ----------
    objects : Objects
    stored : StoredVersion
        Verified.
    folder : Path
    signer : Signer

    Returns
    -------
    Path
        The copy's pickle.

    Raises
    ------
    RegistryError
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix=f".{stored.version}-", dir=folder))
    except OSError as error:
        raise RegistryError(f"{folder} cannot be written to: {error.strerror}") from error
    try:
        _download(objects, stored, new)
        return _place(new, stored.version, folder, signer)
    except OSError as error:
        raise RegistryError(f"{folder} cannot be written to: {error.strerror}") from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _download(objects: Objects, stored: StoredVersion, folder: Path) -> None:
    objects.extend(stored.size)
    for file in stored.files:
        path = version_path(stored.version, file.name)
        try:
            objects.download(path, folder / file.name, file.size, file.sha256)
        except Unknown:
            raise RegistryError(f"{stored.version} was removed, or has lost {file.name}") from None
    (folder / STORED).write_bytes(encode(stored))
    # Made for its owner alone; the service may be another user.
    folder.chmod(0o755)


def _place(new: Path, version: str, folder: Path, signer: Signer) -> Path:
    """Give a copy its name; another process may be doing the same."""
    for attempt in range(_ATTEMPTS):
        try:
            return new.rename(folder / version) / MODEL
        except OSError:
            there = local_copy(version, folder, signer)
            if there:
                return there
            # What is there is broken; it goes aside, because a folder is only put where none is.
            aside = Path(tempfile.mkdtemp(prefix=f".{version}-", dir=folder))
            # Another process may have been faster.
            with suppress(FileNotFoundError):
                (folder / version).rename(aside / str(attempt))
            shutil.rmtree(aside, ignore_errors=True)
    raise RegistryError(f"{folder / version} cannot be replaced")
