"""The copies of versions on this machine, and what is remembered beside them.

One folder a version, verified. Everything else is in ``.state``, where no version can be: for
each reference the last good version, the one that is pinned, and who asks the registry.
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
# So many copies stay at least: another service may use the same cache.
KEEP = 5
_DAY = 86_400


class AliasState(msgspec.Struct, frozen=True):
    """What a reference stands for.

    Attributes
    ----------
    version : str
        The last good one.
    problem : str
        Why it may not be the newest; empty where it is.
    asked : int
        The last ``ask_now`` that was heard.
    number : int
        The highest entry of the alias's journal that was ever seen.
    """

    version: str
    problem: str = ""
    asked: int = 0
    number: int = 0


def verified_copy(folder: Path, version: str) -> Path | None:
    """Give the pickle of a copy, if the copy is what was pushed, and signed with our key.

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
        The name or the key cannot be one.
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

    def copy(self, version: str) -> Path:
        """Give the pickle of a copy that is what was pushed.

        Raises
        ------
        ModelError
            There is none, or it was changed.
        """
        path = verified_copy(self.folder, version)
        if path is None:
            raise ModelError(f"there is no copy of {version} here that is what was pushed")
        # The time says when it was last used.
        with suppress(OSError):
            os.utime(path.parent)
        return path

    def read(self) -> AliasState | None:
        """Give the last good version; None if there never was one."""
        try:
            content = self._path.with_suffix(".json").read_bytes()
            return msgspec.json.decode(content, type=AliasState)
        except (OSError, msgspec.DecodeError):
            return None

    def write(self, standing: AliasState) -> None:
        """Remember the last good version, in one step.

        Raises
        ------
        ModelError
            It cannot be written.
        """
        self._write(".json", msgspec.json.encode(standing))

    def pinned(self) -> str:
        """Give the version that this machine was told to stay with; empty if there is none."""
        try:
            return self._path.with_suffix(".pin").read_text().strip()
        except OSError:
            return ""

    def pin(self, version: str) -> None:
        """Stay with a version, of which there must be a copy, whatever the registry says.

        Raises
        ------
        ModelError
            There is no copy of it, or it cannot be written down.
        """
        self.copy(version)
        self._write(".pin", version.encode())

    def unpin(self) -> bool:
        """Follow the registry again; give whether a version was pinned."""
        was = bool(self.pinned())
        self._path.with_suffix(".pin").unlink(missing_ok=True)
        return was

    def request_reload(self) -> None:
        """Let whoever follows the reference ask the registry at once."""
        path = self._path.with_suffix(".now")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    def reload_mark(self) -> int:
        """Give a number that changes with every ``ask_now``."""
        try:
            return self._path.with_suffix(".now").stat().st_mtime_ns
        except OSError:
            return 0

    def acquire_leadership(self) -> bool:
        """Whether it is this process that asks the registry, for all on this machine.

        The first to come does, as long as it lives: the kernel gives the lock to another however
        it ends.
        """
        if self._lock is not None:
            return True
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lock = self._path.with_suffix(".lock").open("a")
        except OSError:
            # Nothing can be written, so that each must look for itself.
            return True
        if not try_lock(lock):
            lock.close()
            return False
        self._lock = lock
        return True

    def evict_unused(self) -> None:
        """Remove copies that were not used lately, and what broken downloads have left."""
        try:
            found = [(each.stat().st_mtime, each) for each in self.folder.iterdir()]
        except OSError:
            return
        copies = sorted(each for each in found if not each[1].name.startswith("."))
        newest = max((time for time, _ in found), default=0.0)
        broken = [path for time, path in found if path.name[0] == "." and newest - time > _DAY]
        kept = {STATE, *self._in_use()}
        for path in [path for _, path in copies[:-KEEP]] + broken:
            if path.name not in kept:
                shutil.rmtree(path, ignore_errors=True)

    def _in_use(self) -> set[str]:
        """Name the versions that some reference stands for."""
        used = set()
        for path in (self.folder / STATE).glob("*"):
            with suppress(OSError, msgspec.DecodeError):
                if path.suffix == ".json":
                    used.add(msgspec.json.decode(path.read_bytes(), type=AliasState).version)
                elif path.suffix == ".pin":
                    used.add(path.read_text().strip())
        return used

    def _write(self, suffix: str, content: bytes) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self._path.with_suffix(suffix), content)
        except OSError as error:
            raise ModelError(f"the cache cannot be written to: {error.strerror}") from error
