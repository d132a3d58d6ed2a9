"""What a tree of processes has used, by the kernel's own count."""

from __future__ import annotations

import os
import time
from pathlib import Path

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")
IDLE_SECONDS = 0.5
_BUSY = (0, 1, 2, 5, 6)  # user, nice, system, hardware and software interrupts


def tree(pid: int) -> list[int]:
    """Give a process and all that descend from it."""
    children = Path(PROC / str(pid) / "task")
    found = [pid]
    for listed in children.glob("*/children"):
        for child in listed.read_text().split():
            found += tree(int(child))
    return found


def pss_bytes(pid: int) -> int:
    """Give the memory of a tree; what n processes share counts for a nth in each."""
    return sum(_line(member, "smaps_rollup", "Pss:") for member in tree(pid))


def peak_rss_bytes(pid: int) -> int:
    """Give the most memory that any one process of a tree has held."""
    return max(_line(member, "status", "VmHWM:") for member in tree(pid))


def cpu_seconds(pid: int) -> float:
    """Give the user and system time of a tree so far."""
    return sum(_ticks(member) for member in tree(pid)) / TICKS


def wait_until_idle(pid: int) -> None:
    """Wait until a tree has stopped working, so that all its workers have started.

    Load that came earlier would all be taken by the first of them, for as long as the
    connections last.
    """
    used = -1.0
    while used < (used := cpu_seconds(pid)):
        time.sleep(IDLE_SECONDS)


def machine_cpu_seconds() -> float:
    """Give the time that all cores together have worked since the machine started."""
    fields = (PROC / "stat").read_text().split("\n", 1)[0].split()[1:]
    return sum(int(fields[i]) for i in _BUSY) / TICKS


def machine() -> str:
    """Describe the machine's size."""
    models = [
        line.split(":", 1)[1].strip()
        for line in (PROC / "cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    model = models[0] if models else "unknown processor"
    return f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB of memory"


def _ticks(pid: int) -> int:
    """Give the user and system time of a process; its name may hold spaces, so skip it."""
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _line(pid: int, file: str, key: str) -> int:
    """Give the number, in bytes, of one line of a process's file."""
    for line in (PROC / str(pid) / file).read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{file} has no line {key}")
