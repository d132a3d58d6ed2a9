"""Locks between processes."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from slipway.core.errors import SlipwayError


def try_lock(file: IO[str]) -> bool:
    """Lock an open file, unless another process has; the kernel unlocks it with the process."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold a folder against other runs, as long as this process lives.

    The kernel lets go of the lock when the process ends, however it ends, so that none is ever
    left behind.

    Raises
    ------
    SlipwayError
        Another run holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+") as file:
        if not try_lock(file):
            file.seek(0)
            owner = file.read().strip() or "unknown"
            message = f"another run is writing to {folder} (process {owner})"
            raise SlipwayError(f"{message}; wait for it, or stop it")
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
