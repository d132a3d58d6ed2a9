"""Single predictions under load, driven by wrk."""

from __future__ import annotations

import json
import resource
import subprocess
from dataclasses import dataclass
from math import nan
from pathlib import Path

from benchmarks import processes, steady
from benchmarks.services import Running

CONNECTIONS = 32
WARM_UP_SECONDS = 2
SCRIPT = Path(__file__).with_name("predict.lua")


@dataclass(frozen=True)
class Load:
    """What one run gave.

    Attributes
    ----------
    rate : float
        Requests a second.
    p50, p99 : float
        Milliseconds.
    cpu : float
        Microseconds a request, user and system, of all the service's processes.
    pss : float
        Bytes of all the service's processes, after the load.
    first_answer : float
        Seconds.
    others : float
        Cores that other programs of the machine used meanwhile.
    steady_p50, steady_p99 : float
        Milliseconds, at a fixed rate.
    hundred : float
        Records a second, sent a hundred in an array; 0 where the service takes none.
    """

    rate: float
    p50: float
    p99: float
    cpu: float
    pss: float
    first_answer: float
    others: float
    steady_p50: float
    steady_p99: float
    hundred: float


def measure(
    service: Running, record: Path, seconds: int, steadily: bool = True, hundred: Path | None = None
) -> Load:
    """Warm a service up, then load it for some seconds.

    Parameters
    ----------
    service : Running
    record : Path
        The file that holds the request's body.
    seconds : int
    steadily : bool
        Whether it can keep up with a fixed rate.
    hundred : Path, optional
        The file of an array of a hundred records.

    Raises
    ------
    RuntimeError
        A request failed.
    """
    processes.wait_until_idle(service.pid)
    _wrk(service.port, record, WARM_UP_SECONDS)
    cpu, client, machine = _counts(service)
    made = _wrk(service.port, record, seconds)
    cpu, client, machine = (
        now - before for now, before in zip(_counts(service), (cpu, client, machine), strict=True)
    )
    pss = processes.pss_bytes(service.pid)
    body = record.read_bytes()
    even = steady.measure(service, body, seconds) if steadily else steady.Steady(nan, nan)
    many = _wrk(service.port, hundred, seconds) if hundred else None
    return Load(
        rate=made["requests"] / made["seconds"],
        p50=made["p50"],
        p99=made["p99"],
        cpu=cpu / made["requests"] * 1e6,
        pss=pss,
        first_answer=service.first_answer,
        others=max(0.0, machine - cpu - client) / made["seconds"],
        steady_p50=even.p50,
        steady_p99=even.p99,
        hundred=100 * many["requests"] / many["seconds"] if many else 0.0,
    )


def _counts(service: Running) -> tuple[float, float, float]:
    """Give the seconds of processor time of the service, of wrk, and of the whole machine."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    client = used.ru_utime + used.ru_stime
    return processes.cpu_seconds(service.pid), client, processes.machine_cpu_seconds()


def _wrk(port: int, record: Path, seconds: int) -> dict[str, float]:
    """Run wrk, and give what its script tells in its last line."""
    url = f"http://127.0.0.1:{port}/predict"
    options = ["-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", str(SCRIPT)]
    ran = subprocess.run(
        ["wrk", *options, url, "--", str(record)], capture_output=True, text=True, check=True
    )
    made: dict[str, float] = json.loads(ran.stdout.strip().rsplit("\n", 1)[1])
    if made["failed"]:
        raise RuntimeError(f"{made['failed']:.0f} requests of {made['requests']:.0f} failed")
    return made
