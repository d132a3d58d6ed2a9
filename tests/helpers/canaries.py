"""A monitor of Python's audit events, for pickles that do more than create objects."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Events of files, processes, networks, code and native calls.
EVENTS = (
    *("open", "os.", "subprocess.", "socket.", "shutil.", "tempfile.", "pty.", "webbrowser."),
    *("exec", "compile", "code.", "ctypes.", "urllib.", "ftplib.", "http.", "smtplib.", "sqlite3."),
    *("marshal.", "pickle.find_class", "builtins.input", "builtins.breakpoint", "gc.", "mmap."),
    *("function.__new__", "code.__new__", "glob.", "signal.", "syslog.", "winreg.", "msvcrt."),
)
_watched = threading.local()


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    events: list[str] | None = getattr(_watched, "events", None)
    if events is None:
        return
    if event == "os.listdir" and sys._getframe(1).f_code.co_name == "_fill_cache":
        # The import system lists a package's folder; loading a module would open its file.
        return
    if event == "import" or event.startswith(EVENTS):
        events.append(f"{event} {arguments!r:.200}")


sys.addaudithook(_hook)


@contextmanager
def watch() -> Iterator[list[str]]:
    """Collect the audit events of this thread during the block."""
    events: list[str] = []
    _watched.events = events
    try:
        yield events
    finally:
        _watched.events = None
