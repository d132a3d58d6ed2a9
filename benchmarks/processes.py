"""CPU time and memory of a process tree, from ``/proc``."""

from __future__ import annotations

import os
import time
from pathlib import Path

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")
IDLE_SECONDS = 0.5
_BUSY = (0, 1, 2, 5, 6)  # user, nice, system, hardware and software interrupts


def tree(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    children = Path(PROC / str(pid) / "task")
    pids = [pid]
    for file in children.glob("*/children"):
        for child in file.read_text().split():
            pids += tree(int(child))
    return pids


def pss_bytes(pid: int) -> int:
    """Return the memory of a tree in bytes; a page that n processes share counts once."""
    return sum(_read_kib_line(member, "smaps_rollup", "Pss:") for member in tree(pid))


def peak_rss_bytes(pid: int) -> int:
    """Return the largest peak of resident memory of one process of a tree, in bytes."""
    return max(_read_kib_line(member, "status", "VmHWM:") for member in tree(pid))


def cpu_seconds(pid: int) -> float:
    """Return the user and system time of a tree so far, in seconds."""
    return sum(_ticks(member) for member in tree(pid)) / TICKS


def wait_until_idle(pid: int) -> None:
    """Wait until a tree uses no CPU time, so that all its workers have started.

    Otherwise the first worker would accept all connections and keep them.
    """
    used = -1.0
    while used < (used := cpu_seconds(pid)):
        time.sleep(IDLE_SECONDS)


def machine_cpu_seconds() -> float:
    """Return the busy time of all cores since the machine started, in seconds."""
    fields = (PROC / "stat").read_text().split("\n", 1)[0].split()[1:]
    return sum(int(fields[i]) for i in _BUSY) / TICKS


def machine() -> str:
    """Describe the machine's cores and memory."""
    models = [
        line.split(":", 1)[1].strip()
        for line in (PROC / "cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    model = models[0] if models else "unknown processor"
    return f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB of memory"


def _ticks(pid: int) -> int:
    """Return the user and system time of a process; skip its name, which may contain spaces."""
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _read_kib_line(pid: int, file: str, key: str) -> int:
    """Return the number of one line of a process's file, in bytes."""
    for line in (PROC / str(pid) / file).read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{file} has no line {key}")
