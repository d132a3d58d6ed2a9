"""A normal client beside the worst requests of others: ``python -m benchmarks.overload``."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Mapping
from multiprocessing.synchronize import Event
from pathlib import Path
from statistics import quantiles

from benchmarks.services import ROOT, SERVICES, SLIPWAY, THREADS, Service, running
from benchmarks.worstrequests import KINDS, Worst, exchange, search
from slipway.models.manifest import read_manifest

PAGE = Path(__file__).with_name("overload.md")
BEGIN, END = "<!-- results -->", "<!-- end of results -->"
# Requests a second of the normal client.
RATE = 100


def main() -> None:
    """Measure what the command line asks for, and print a table."""
    options = _options()
    (service,) = [each for each in SERVICES if each.name == options.only]
    features = read_manifest(ROOT / "model.pkl").signature.features
    example = {feature.name: feature.example for feature in features}
    lines = [
        f"Workers: {options.workers}, clients that send the worst request: {options.clients}.\n",
        "| worst request of a kind | it alone, ms | p99 without it, ms | p99 beside it, ms | × |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    print("\n".join(lines))
    for kind in options.kinds:
        _, p99, alone, worst = _measure(service, example, kind, options)
        figures = f"{worst.seconds * 1e3:.0f} | {alone:.1f} | {p99:.1f} | {p99 / alone:.1f}"
        lines.append(f"| {kind} | {figures} |")
        print(lines[-1], flush=True)
    if options.write:
        _write("\n".join(lines))


def _options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overload", description=__doc__)
    parser.add_argument("--only", choices=[SLIPWAY.name, THREADS.name], default=SLIPWAY.name)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--clients", type=int, default=1, help="that send the worst; default: 1")
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement; default: 5")
    parser.add_argument("--tries", type=int, default=40, help="requests of each kind; default: 40")
    parser.add_argument("--workers", type=int, default=4, help="default: 4")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    return parser.parse_args()


def _write(table: str) -> None:
    """Put the table between the marks in its page."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


def _measure(
    service: Service, example: Mapping[str, object], kind: str, options: argparse.Namespace
) -> tuple[float, float, float, Worst]:
    """Measure the normal client without and with the worst requests of a kind."""
    body = json.dumps(dict(example)).encode()
    with running(service, body, options.workers) as started:
        worst = search(started.port, example, kind, options.tries)
        _, alone = _predictions(started.port, body, options.seconds)
        stop = multiprocessing.Event()
        others = [
            multiprocessing.Process(target=_flood, args=(started.port, worst.sent, stop))
            for _ in range(options.clients)
        ]
        for other in others:
            other.start()
        try:
            p50, p99 = _predictions(started.port, body, options.seconds)
        finally:
            stop.set()
            for other in others:
                other.join()
    return p50, p99, alone, worst


def _flood(port: int, sent: bytes, stop: Event) -> None:
    """Send a request, one after the other."""
    while not stop.is_set():
        exchange(port, sent)


def _predictions(port: int, body: bytes, seconds: int) -> tuple[float, float]:
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
