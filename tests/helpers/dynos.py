"""A simulated dyno: the Procfile's commands with Heroku's environment and memory limit.

The buildpack's scripts (heroku/heroku-buildpack-python, ``vendor/``) set ``FORWARDED_ALLOW_IPS``,
``GUNICORN_CMD_ARGS``, ``WEB_CONCURRENCY`` and ``DYNO_RAM`` at the start of a dyno.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clients import workers
from conftest import ROOT, free_port, wait_for
from registries import KEY

COMMANDS = dict(
    line.split(": ", 1) for line in (ROOT / "Procfile").read_text(encoding="utf-8").splitlines()
)
RAM = 512
ENVIRON = {
    "DYNO": "web.1",
    "DYNO_RAM": str(RAM),
    "WEB_CONCURRENCY": "2",
    "FORWARDED_ALLOW_IPS": "*",
    "GUNICORN_CMD_ARGS": "--access-logfile -",
    "PYTHONUNBUFFERED": "true",
    **KEY,
}
GROUPS = Path("/sys/fs/cgroup")


class Dyno:
    """A running dyno: its process, its URL and its log."""

    def __init__(self, process: subprocess.Popen[bytes], base: str, log: Path) -> None:
        self.process, self.base, self._log = process, base, log

    @property
    def log_text(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def wait_for_line(self, part: str) -> str:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for line in self.log_text.splitlines():
                if part in line:
                    return line
            time.sleep(0.05)
        raise AssertionError(f"no line with {part!r} in:\n{self.log_text}")

    def process_ids(self) -> list[int]:
        """Return the IDs of all processes; Heroku sends its signals to each."""
        return [self.process.pid, *(worker.pid for worker in workers(self.process))]


@contextmanager
def running_dyno(folder: Path, group: Path | None = None, **environ: str) -> Iterator[Dyno]:
    """Start a web dyno from a shell, as Heroku does, and stop it after the block.

    ``group`` is the control group of its processes.
    """
    port, log = free_port(), folder / "dyno.log"
    path = f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **ENVIRON, "PORT": str(port), "PATH": path, **environ}
    join = f"echo $$ > {group / 'cgroup.procs'}; " if group else ""
    command = ["bash", "-c", f"{join}exec {COMMANDS['web']}"]
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=file, stderr=file)
    dyno = Dyno(process, f"http://127.0.0.1:{port}", log)
    try:
        wait_for(f"{dyno.base}/livez", process, seconds=60)
        yield dyno
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(60)


@contextmanager
def memory_limited_group(megabytes: int) -> Iterator[Path | None]:
    """Create a control group with a memory limit; yield None if the machine does not allow it."""
    memory_group = next(filter(None, map(_create_group, (GROUPS / "memory", GROUPS))), None)
    if memory_group is None:
        yield None
        return
    try:
        for name in ("memory.limit_in_bytes", "memory.max"):
            if (memory_group / name).exists():
                (memory_group / name).write_text(str(megabytes * 2**20))
        yield memory_group
    finally:
        # The kernel releases a group shortly after its last process.
        deadline = time.monotonic() + 10
        while memory_group.exists() and time.monotonic() < deadline:
            with suppress(OSError):
                memory_group.rmdir()
            time.sleep(0.05)


def _create_group(parent: Path) -> Path | None:
    """Create a group below another; return None if it cannot limit memory."""
    group = parent / f"slipway-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        return None
    if (group / "memory.limit_in_bytes").exists() or (group / "memory.max").exists():
        return group
    group.rmdir()
    return None


def count_oom_kills(group: Path) -> int:
    """Return the number of processes of a group that the kernel killed for lack of memory."""
    names = ("memory.oom_control", "memory.events")
    text = "".join((group / name).read_text() for name in names if (group / name).exists())
    return int(re.findall(r"^oom_kill (\d+)", text, re.MULTILINE)[0])


def shared_memory_mb(pids: Iterable[int]) -> float:
    """Return the memory of processes in MB, with shared pages counted once (PSS)."""
    texts = (Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii") for pid in pids)
    matches = (re.search(r"^Pss: +(\d+) kB", text, re.MULTILINE) for text in texts)
    return sum(int(match[1]) for match in matches if match) * 1024 / 1e6
