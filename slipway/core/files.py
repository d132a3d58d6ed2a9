"""File hashes and atomic writes."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path


def file_sha256(file: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_atomic(path: Path, content: bytes) -> Path:
    """Write a file atomically: readers see either the old or the new content."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    draft = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            # The service may run as a different user than the command.
            os.fchmod(handle, 0o644)
            file.write(content)
        return move_into_place(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def move_into_place(draft: Path, path: Path) -> Path:
    """Rename a file after flushing its content to disk.

    Parameters
    ----------
    draft, path : Path
        Paths in the same file system.

    Returns
    -------
    Path
        The new path.
    """
    _sync(draft, os.O_RDONLY)
    draft.replace(path)
    _sync(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    return path


def _sync(path: Path, flags: int) -> None:
    """Flush a file or folder to disk."""
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
