"""A normal client beside the worst requests of others: ``python -m benchmarks.overload``."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from multiprocessing.synchronize import Event
from pathlib import Path
from statistics import median, quantiles

from benchmarks.services import ROOT, SERVICES, SLIPWAY, THREADS, running
from benchmarks.worstrequests import KINDS, exchange, search
from slipway.models.manifest import read_manifest

PAGE = Path(__file__).with_name("overload.md")
BEGIN, END = "<!-- results -->", "<!-- end of results -->"
# Requests a second of the normal client.
RATE = 100
ALONE, CONTROL = "nothing", "a busy core, without requests"
HEAD = """
| beside the normal client | alone, ms | median, ms | p99, ms | p99 × nothing | p99 × busy core |
| --- | ---: | ---: | ---: | ---: | ---: |"""


def main() -> None:
    """Run the selected measurements and print a table for each number of workers."""
    options = _options()
    (service,) = [service for service in SERVICES if service.name == options.only]
    features = read_manifest(ROOT / "model.pkl").signature.features
    example = {feature.name: feature.example for feature in features}
    body = json.dumps(example).encode()
    lines = []
    for workers in options.workers:
        with running(service, body, workers) as started:
            table = _measure_table(started.port, example, options)
        lines.append(f"Workers: {workers}.\n{HEAD}\n{table}\n")
        print(lines[-1], flush=True)
    if options.write:
        _write("\n".join(lines))


def _options() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overload", description=__doc__)
    parser.add_argument(
        "--only",
        choices=[SLIPWAY.name, THREADS.name],
        default=SLIPWAY.name,
        help="service to measure; default: slipway",
    )
    parser.add_argument(
        "--kinds",
        nargs="+",
        choices=list(KINDS),
        default=list(KINDS),
        help="kinds of requests; default: all",
    )
    parser.add_argument(
        "--clients", type=int, default=1, help="clients that send the worst requests; default: 1"
    )
    parser.add_argument(
        "--seconds", type=int, default=2, help="seconds of each measurement; default: 2"
    )
    parser.add_argument("--rounds", type=int, default=7, help="rounds of measurements; default: 7")
    parser.add_argument(
        "--tries", type=int, default=40, help="requests tried of each kind; default: 40"
    )
    parser.add_argument(
        "--workers",
        type=int,
        nargs="+",
        default=[4, 1],
        help="numbers of worker processes; default: 4 1",
    )
    parser.add_argument("--write", action="store_true", help=f"write the tables into {PAGE.name}")
    return parser.parse_args()


def _write(tables: str) -> None:
    """Write the tables between the markers of their page."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{tables}{END}{after}", encoding="utf-8")


def _measure_table(port: int, example: Mapping[str, object], options: argparse.Namespace) -> str:
    """Measure all kinds in alternation, so that the machine's load affects all alike."""
    body = json.dumps(dict(example)).encode()
    worst = {kind: search(port, example, kind, options.tries) for kind in options.kinds}
    beside = {
        ALONE: nullcontext,
        CONTROL: lambda: _run_beside(_burn, 1),
        **{
            kind: lambda sent=slowest.sent: _run_beside(_flood, options.clients, port, sent)
            for kind, slowest in worst.items()
        },
    }
    rounds = []
    for _ in range(options.rounds):
        latencies = {}
        for name, start in beside.items():
            with start():
                latencies[name] = _measure_latencies(port, body, options.seconds)
        rounds.append(latencies)
    alone = {kind: f"{slowest.seconds * 1e3:.1f}" for kind, slowest in worst.items()}
    return "\n".join(_format_line(name, alone.get(name, ""), rounds) for name in beside)


def _format_line(name: str, alone: str, rounds: list[dict[str, tuple[float, float]]]) -> str:
    """Format a line of the table, with the medians of all rounds."""
    p50, p99 = (median(latencies[name][index] for latencies in rounds) for index in (0, 1))
    by_alone, by_control = (
        median(latencies[name][1] / latencies[other][1] for latencies in rounds)
        for other in (ALONE, CONTROL)
    )
    return f"| {name} | {alone} | {p50:.2f} | {p99:.2f} | {by_alone:.1f} | {by_control:.1f} |"


@contextmanager
def _run_beside(function: Callable[..., None], count: int, *arguments: object) -> Iterator[None]:
    """Run a function in several processes until the block ends."""
    stop = multiprocessing.Event()
    arguments = (stop, *arguments)
    processes = [multiprocessing.Process(target=function, args=arguments) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        stop.set()
        for process in processes:
            process.join()


def _burn(stop: Event) -> None:
    """Keep one core busy."""
    while not stop.is_set():
        sum(range(10_000))


def _flood(stop: Event, port: int, request: bytes) -> None:
    """Send a request repeatedly."""
    while not stop.is_set():
        exchange(port, request)


def _measure_latencies(port: int, body: bytes, seconds: int) -> tuple[float, float]:
    """Request predictions at a fixed rate; return median and p99 in milliseconds."""
    head = (
        f"POST /predict HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
    )
    request = f"{head}Content-Type: application/json\r\n\r\n".encode() + body
    latencies, scheduled = [], time.perf_counter()
    for _ in range(RATE * seconds):
        scheduled += 1 / RATE
        time.sleep(max(0.0, scheduled - time.perf_counter()))
        began = time.perf_counter()
        if not exchange(port, request).startswith(b"HTTP/1.1 200"):
            raise RuntimeError("a prediction failed")
        latencies.append(time.perf_counter() - began)
    cuts = quantiles(latencies, n=100)
    return cuts[49] * 1e3, cuts[98] * 1e3


if __name__ == "__main__":
    main()
