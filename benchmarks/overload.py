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
    """Measure what the command line asks for, and print a table."""
    options = _options()
    (service,) = [each for each in SERVICES if each.name == options.only]
    features = read_manifest(ROOT / "model.pkl").signature.features
    example = {feature.name: feature.example for feature in features}
    body = json.dumps(example).encode()
    lines = []
    for workers in options.workers:
        with running(service, body, workers) as started:
            table = _table(started.port, example, options)
        lines.append(f"Workers: {workers}.\n{HEAD}\n{table}\n")
        print(lines[-1], flush=True)
    if options.write:
        _write("\n".join(lines))


def _options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overload", description=__doc__)
    parser.add_argument("--only", choices=[SLIPWAY.name, THREADS.name], default=SLIPWAY.name)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--clients", type=int, default=1, help="that send the worst; default: 1")
    parser.add_argument("--seconds", type=int, default=2, help="of each measurement; default: 2")
    parser.add_argument("--rounds", type=int, default=7, help="of measurements; default: 7")
    parser.add_argument("--tries", type=int, default=40, help="requests of each kind; default: 40")
    parser.add_argument("--workers", type=int, nargs="+", default=[4, 1], help="default: 4 1")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    return parser.parse_args()


def _write(tables: str) -> None:
    """Put the tables between the marks in their page."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{tables}{END}{after}", encoding="utf-8")


def _table(port: int, example: Mapping[str, object], options: argparse.Namespace) -> str:
    """Measure all kinds in turn, again and again, so that each meets the same machine."""
    body = json.dumps(dict(example)).encode()
    worst = {kind: search(port, example, kind, options.tries) for kind in options.kinds}
    beside = {
        ALONE: nullcontext,
        CONTROL: lambda: _beside(_burn, 1),
        **{
            kind: lambda sent=each.sent: _beside(_flood, options.clients, port, sent)
            for kind, each in worst.items()
        },
    }
    rounds = []
    for _ in range(options.rounds):
        waits = {}
        for name, start in beside.items():
            with start():
                waits[name] = _waits(port, body, options.seconds)
        rounds.append(waits)
    alone = {kind: f"{each.seconds * 1e3:.1f}" for kind, each in worst.items()}
    return "\n".join(_line(name, alone.get(name, ""), rounds) for name in beside)


def _line(name: str, alone: str, rounds: list[dict[str, tuple[float, float]]]) -> str:
    """Write a line of the table, with the medians of all rounds."""
    p50, p99 = (median(each[name][which] for each in rounds) for which in (0, 1))
    by_alone, by_control = (
        median(each[name][1] / each[other][1] for each in rounds) for other in (ALONE, CONTROL)
    )
    return f"| {name} | {alone} | {p50:.2f} | {p99:.2f} | {by_alone:.1f} | {by_control:.1f} |"


@contextmanager
def _beside(do: Callable[..., None], count: int, *words: object) -> Iterator[None]:
    """Run processes that do something until the block ends."""
    stop = multiprocessing.Event()
    others = [multiprocessing.Process(target=do, args=(stop, *words)) for _ in range(count)]
    for other in others:
        other.start()
    try:
        yield
    finally:
        stop.set()
        for other in others:
            other.join()


def _burn(stop: Event) -> None:
    """Keep one core busy."""
    while not stop.is_set():
        sum(range(10_000))


def _flood(stop: Event, port: int, sent: bytes) -> None:
    """Send a request, one after the other."""
    while not stop.is_set():
        exchange(port, sent)


def _waits(port: int, body: bytes, seconds: int) -> tuple[float, float]:
    """Ask for predictions at a fixed rate, and return median and p99 in milliseconds."""
    head = (
        f"POST /predict HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
    )
    sent = f"{head}Content-Type: application/json\r\n\r\n".encode() + body
    waits, due = [], time.perf_counter()
    for _ in range(RATE * seconds):
        due += 1 / RATE
        time.sleep(max(0.0, due - time.perf_counter()))
        began = time.perf_counter()
        if not exchange(port, sent).startswith(b"HTTP/1.1 200"):
            raise RuntimeError("a prediction failed")
        waits.append(time.perf_counter() - began)
    cuts = quantiles(waits, n=100)
    return cuts[49] * 1e3, cuts[98] * 1e3


if __name__ == "__main__":
    main()
