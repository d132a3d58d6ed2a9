"""Measure the services and print the tables: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from benchmarks import arrays, csvfiles, load, steps, table
from benchmarks.inputs import Inputs
from benchmarks.services import ROOT, SERVICES, SLIPWAY, THREADS, TUTORIAL, Service, running
from slipway.core.settings import Settings
from slipway.models.manifest import read_manifest

README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- results -->", "<!-- end of results -->"
FILES = (65_000, 1_000_000)
LARGE_FILE = 5_000_000

Item = TypeVar("Item")


def main() -> None:
    """Run the selected measurements and print their tables."""
    options = _options()
    chosen = [service for service in SERVICES if service.name in options.only]
    batches = [service for service in chosen if service in (SLIPWAY, TUTORIAL)]
    settings = Settings.from_environ(ROOT, {"SLIPWAY_PROBLEM": "flights"})
    inputs = Inputs(settings.problem, read_manifest(settings.model))
    loads = _loads(chosen, inputs, options.rounds, options.seconds)
    array_times = _arrays(batches, inputs, options.rounds)
    sizes = () if options.no_files else FILES
    files = {n_rows: _files(batches, inputs, options.rounds, n_rows) for n_rows in sizes}
    if options.large and SLIPWAY in chosen:
        files[LARGE_FILE] = _files([SLIPWAY], inputs, 1, LARGE_FILE)
    parts = [
        table.heading(options.rounds, options.seconds),
        table.goals_table(loads, array_times, files),
        table.loads_table(loads),
        *([table.arrays_table(array_times)] if batches else []),
        table.steps_table(steps.measure(inputs)),
        *([table.files_table(files)] if batches and files else []),
    ]
    results = "\n\n".join(parts)
    print(results)
    if options.write:
        _write(results)


def _options() -> argparse.Namespace:
    """Parse the command line."""
    names = [service.name for service in SERVICES]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="measurement rounds; default: 3")
    parser.add_argument(
        "--seconds", type=int, default=6, help="seconds of load in each round; default: 6"
    )
    parser.add_argument(
        "--only", nargs="+", choices=names, default=names, help="services to measure; default: all"
    )
    parser.add_argument("--no-files", action="store_true", help="skip the CSV files")
    parser.add_argument(
        "--large", action="store_true", help="also measure a CSV file of 5 million rows"
    )
    parser.add_argument("--write", action="store_true", help="write the results into README.md")
    return parser.parse_args()


def _loads(chosen: Sequence[Service], inputs: Inputs, rounds: int, seconds: int) -> table.Loads:
    """Load every service once in each round."""
    record = inputs.record_file.read_bytes()
    for service in chosen:
        # The first start compiles bytecode, which must not count.
        with running(service, record) as started:
            inputs.check_record(service, started)
    runs: table.Loads = {service.name: [] for service in chosen}
    for number in range(rounds):
        for service in _rotate(chosen, number):
            _log(f"round {number + 1}: {service.name}")
            with running(service, record) as started:
                hundred = inputs.hundred_file if service in (SLIPWAY, THREADS) else None
                record_file, keeps_up = inputs.record_file, service != TUTORIAL
                result = load.measure(started, record_file, seconds, keeps_up, hundred)
                runs[service.name].append(result)
    return runs


def _arrays(chosen: Sequence[Service], inputs: Inputs, rounds: int) -> table.Arrays:
    """Send the array to every service once in each round."""
    times: table.Arrays = {service.name: [] for service in chosen}
    for number in range(rounds):
        for service in _rotate(chosen, number):
            _log(f"round {number + 1}: {service.name}, an array")
            times[service.name].append(arrays.measure(service, inputs))
    return times


def _files(
    chosen: Sequence[Service], inputs: Inputs, rounds: int, n_rows: int
) -> dict[str, list[csvfiles.FileRun]]:
    """Send a file to every service once in each round."""
    runs: dict[str, list[csvfiles.FileRun]] = {service.name: [] for service in chosen}
    for number in range(rounds):
        for service in _rotate(chosen, number):
            _log(f"round {number + 1}: {service.name}, {n_rows:,} rows")
            runs[service.name].append(csvfiles.measure(service, inputs, n_rows))
    return runs


def _rotate(items: Sequence[Item], shift: int) -> list[Item]:
    """Rotate the order, so that no service is always the first."""
    start = shift % len(items) if items else 0
    return [*items[start:], *items[:start]]


def _log(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _write(results: str) -> None:
    """Write the results between the markers of the README."""
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text(f"{before}{BEGIN}\n{results}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    # scikit-learn only checks predictions here and must not use the cores of the services.
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    main()
