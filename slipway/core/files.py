"""Files: their hash, and writing them in one step."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path


def file_sha256(file: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def write_atomic(path: Path, content: bytes) -> Path:
    """Write a file in one step: a reader gets the old content or the new."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    draft = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            # A command can run as another user than the service.
            os.fchmod(handle, 0o644)
            file.write(content)
        return move_into_place(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def move_into_place(draft: Path, path: Path) -> Path:
    """Rename a file, after its content is on the disk.

    Parameters
    ----------
    draft, path : Path
        In the same file system.

    Returns
    -------
    Path
        The second one.
    """
    _sync(draft, os.O_RDONLY)
    draft.replace(path)
    _sync(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    return path


def _sync(path: Path, flags: int) -> None:
    """Write to the disk what the system still keeps in memory."""
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
