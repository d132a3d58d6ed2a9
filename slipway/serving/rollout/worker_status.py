"""What the workers of one master tell of themselves, so that each of them can tell of all."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import msgspec

from slipway.core.files import write_atomic
from slipway.serving.rollout.shadow import ShadowStats


class WorkerStatus(msgspec.Struct, frozen=True):
    """What a worker tells.

    Attributes
    ----------
    pid : int
    version, since : str
        What it serves.
    problem : str
    swaps, refused, polls_failed : int
        Since it began.
    shadow : ShadowStats, optional
    """

    pid: int
    version: str
    since: str
    problem: str = ""
    swaps: int = 0
    refused: int = 0
    polls_failed: int = 0
    shadow: ShadowStats | None = None


class WorkerStatusBoard:
    """A folder with a small file a worker; made before the fork, so that all have the same."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="slipway-workers-"))
        atexit.register(_remove, self._folder, os.getpid())
        self._written: WorkerStatus | None = None

    def write(self, row: WorkerStatus) -> None:
        """Tell how things stand; what cannot be written is told later."""
        if row == self._written:
            return
        with suppress(OSError):
            write_atomic(self._folder / f"{row.pid}.json", msgspec.json.encode(row))
            self._written = row

    def read(self) -> list[WorkerStatus]:
        """Give what the workers tell that are still there."""
        rows = []
        for path in sorted(self._folder.glob("*.json")):
            if not _is_alive(int(path.stem)):
                path.unlink(missing_ok=True)
                continue
            with suppress(OSError, msgspec.DecodeError):
                rows.append(msgspec.json.decode(path.read_bytes(), type=WorkerStatus))
        return rows


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _remove(folder: Path, owner: int) -> None:
    """Remove the folder with the process that made it, and not with a worker."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
