"""Share the status of the workers of one master, so that each worker can report all of them."""

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
    """Status of one worker.

    Attributes
    ----------
    pid : int
    version, since : str
        The served version, and the time of its load.
    problem : str
    swaps, refused, polls_failed : int
        Versions loaded, versions rejected and failed polls since the worker started.
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
    """A folder with one small file per worker, created before the fork and shared by all."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="slipway-workers-"))
        atexit.register(_remove, self._folder, os.getpid())
        self._written: WorkerStatus | None = None

    def write(self, status: WorkerStatus) -> None:
        """Write the status of this worker; after a failure, the next call retries."""
        if status == self._written:
            return
        with suppress(OSError):
            write_atomic(self._folder / f"{status.pid}.json", msgspec.json.encode(status))
            self._written = status

    def read(self) -> list[WorkerStatus]:
        """Return the status of each living worker."""
        workers = []
        for path in sorted(self._folder.glob("*.json")):
            if not _is_alive(int(path.stem)):
                path.unlink(missing_ok=True)
                continue
            with suppress(OSError, msgspec.DecodeError):
                workers.append(msgspec.json.decode(path.read_bytes(), type=WorkerStatus))
        return workers


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _remove(folder: Path, owner: int) -> None:
    """Remove the folder when the process that created it ends, not when a worker ends."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
