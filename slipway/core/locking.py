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
    """Lock an open file and return whether that worked; the lock ends with the process."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Lock a folder against concurrent runs.

    The kernel releases the lock when the process exits, even after a crash.

    Raises
    ------
    SlipwayError
        Another run has locked the folder.
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
