"""Copies of versions on this machine, and the recorded state of each reference.

Each version has a folder with a verified copy. The folder ``.state`` holds, for each reference, the
last good version, the pinned version and the leader's lock. No version can have this name.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import IO

import msgspec

from slipway.core.errors import ModelError
from slipway.core.files import write_atomic
from slipway.core.locking import try_lock
from slipway.core.settings import Reference

STATE = ".state"
# Number of newest copies to keep: another service may use the same cache.
KEEP = 5
_DAY = 86_400


class AliasState(msgspec.Struct, frozen=True):
    """Recorded state of a reference.

    Attributes
    ----------
    version : str
        The last good version.
    problem : str
        Why it may not be the current version; empty if it is.
    asked : int
        The last ``reload_mark`` that the poller has seen.
    number : int
        The highest entry of the alias journal that was ever seen.
    """

    version: str
    problem: str = ""
    asked: int = 0
    number: int = 0


def verified_copy(folder: Path, version: str) -> Path | None:
    """Return the pickle of a copy whose hashes and signature are valid.

    Parameters
    ----------
    folder : Path
    version : str

    Returns
    -------
    Path or None

    Raises
    ------
    ModelError
        The version name or the signing key is not valid.
    """
    from slipway.registry.download import local_copy
    from slipway.registry.signing import Signer

    return local_copy(version, folder, Signer.from_environ(os.environ))


class VersionCache:
    """The cache, as one reference uses it.

    Parameters
    ----------
    folder : Path
    reference : Reference
    """

    def __init__(self, folder: Path, reference: Reference) -> None:
        self.folder = folder
        digest = hashlib.sha256(str(reference).encode()).hexdigest()[:16]
        readable = re.sub(r"[^A-Za-z0-9_-]", "", reference.name)[:64]
        self._path = folder / STATE / f"{readable}-{digest}"
        self._lock: IO[str] | None = None

    def pickle_path(self, version: str) -> Path:
        """Return the pickle of a verified copy, and mark the copy as used.

        Raises
        ------
        ModelError
            The copy does not exist or was changed.
        """
        path = verified_copy(self.folder, version)
        if path is None:
            raise ModelError(f"no verified copy of {version} in the cache")
        # evict_unused removes the copies with the oldest times.
        with suppress(OSError):
            os.utime(path.parent)
        return path

    def read(self) -> AliasState | None:
        """Return the recorded state; None if nothing was recorded."""
        try:
            content = self._path.with_suffix(".json").read_bytes()
            return msgspec.json.decode(content, type=AliasState)
        except (OSError, msgspec.DecodeError):
            return None

    def write(self, state: AliasState) -> None:
        """Record a state atomically.

        Raises
        ------
        ModelError
            The cache is not writable.
        """
        self._write(".json", msgspec.json.encode(state))

    def pinned(self) -> str:
        """Return the version that this machine is pinned to; empty if it is not pinned."""
        try:
            return self._path.with_suffix(".pin").read_text().strip()
        except OSError:
            return ""

    def pin(self, version: str) -> None:
        """Pin this machine to a version in the cache, and ignore the registry.

        Raises
        ------
        ModelError
            The cache has no verified copy of the version, or is not writable.
        """
        self.pickle_path(version)
        self._write(".pin", version.encode())

    def unpin(self) -> bool:
        """Follow the registry again; return whether a version was pinned."""
        was_pinned = bool(self.pinned())
        self._path.with_suffix(".pin").unlink(missing_ok=True)
        return was_pinned

    def request_reload(self) -> None:
        """Request that the poller of this reference polls the registry at once."""
        path = self._path.with_suffix(".now")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    def reload_mark(self) -> int:
        """Return a number that changes with every ``request_reload``."""
        try:
            return self._path.with_suffix(".now").stat().st_mtime_ns
        except OSError:
            return 0

    def acquire_leadership(self) -> bool:
        """Return whether this process polls the registry for all processes of this machine.

        The first process to call this is the leader while it lives. The kernel releases its lock
        when the process ends, for any reason.
        """
        if self._lock is not None:
            return True
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lock = self._path.with_suffix(".lock").open("a")
        except OSError:
            # Without a writable cache, each process polls on its own.
            return True
        if not try_lock(lock):
            lock.close()
            return False
        self._lock = lock
        return True

    def evict_unused(self) -> None:
        """Remove copies that were not used lately, and the remains of broken downloads."""
        try:
            entries = [(path.stat().st_mtime, path) for path in self.folder.iterdir()]
        except OSError:
            return
        copies = sorted(entry for entry in entries if not entry[1].name.startswith("."))
        newest = max((time for time, _ in entries), default=0.0)
        broken = [path for time, path in entries if path.name[0] == "." and newest - time > _DAY]
        kept = {STATE, *self._used_versions()}
        for path in [path for _, path in copies[:-KEEP]] + broken:
            if path.name not in kept:
                shutil.rmtree(path, ignore_errors=True)

    def _used_versions(self) -> set[str]:
        """Return the recorded and pinned versions of all references."""
        versions = set()
        for path in (self.folder / STATE).glob("*"):
            with suppress(OSError, msgspec.DecodeError):
                if path.suffix == ".json":
                    versions.add(msgspec.json.decode(path.read_bytes(), type=AliasState).version)
                elif path.suffix == ".pin":
                    versions.add(path.read_text().strip())
        return versions

    def _write(self, suffix: str, content: bytes) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self._path.with_suffix(suffix), content)
        except OSError as error:
            raise ModelError(f"cannot write to the cache: {error.strerror}") from error
