"""Tables of the results in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from math import isnan
from statistics import median
from typing import Any

from benchmarks.csvfiles import FileRun
from benchmarks.load import Load
from benchmarks.processes import machine
from benchmarks.services import FASTAPI, SERVICES, SLIPWAY, TUTORIAL, WORKERS
from benchmarks.steps import ENGINES, SIZES, Steps

MB = 1e6
_PACKAGES = (
    *("flask", "gunicorn", "msgspec", "polars"),
    *("scikit-learn", "pandas", "fastapi", "uvicorn"),
)
_TITLES = {service.name: service.title for service in SERVICES}

Loads = dict[str, list[Load]]
Arrays = dict[str, list[float]]
Files = dict[int, dict[str, list[FileRun]]]


def heading(rounds: int, seconds: int) -> str:
    """Return the machine, the packages and the number of rounds."""
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return (
        f"Measured on {machine()}, which the load generator shares. {rounds} rounds, "
        f"{seconds} s of load in each; medians.\n\n{packages}."
    )


def loads_table(loads: Loads) -> str:
    """Compare the services under load; each ratio is the median of the rounds' ratios."""
    rows = []
    for name, runs in loads.items():
        rows.append(
            [
                _TITLES[name],
                f"{_median(runs, 'rate'):,.0f}",
                _ratio(loads, name, lambda run: run.rate),
                f"{_median(runs, 'p50'):.2f}",
                f"{_median(runs, 'p99'):.1f}",
                f"{_median(runs, 'cpu'):,.0f}",
                f"{_median(runs, 'pss') / MB:.0f}",
                f"{_median(runs, 'first_prediction'):.2f}",
                _steady(runs),
                f"{_median(runs, 'hundred'):,.0f}" if runs[0].hundred else "",
                f"{max(run.others for run in runs):.1f}",
            ]
        )
    names = ["", "requests/s", "Slipway is ×", "p50 ms", "p99 ms", "CPU µs a request"]
    names += [f"PSS MB, {WORKERS} workers", "first prediction s"]
    names += ["at 1,000 requests/s: p50 / p99 ms", "records/s, 100 in an array"]
    names += ["cores used by others, at most"]
    return _table(names, rows)


def arrays_table(arrays: Arrays) -> str:
    """Compare the times of one large array."""
    rows = [
        [_TITLES[name], f"{median(runs) * 1e3:.0f}", _ratio(arrays, name, lambda run: 1 / run)]
        for name, runs in arrays.items()
    ]
    return _table(["10,000 records in one JSON array", "ms", "Slipway is ×"], rows)


def steps_table(steps: Steps) -> str:
    """Compare the engines without HTTP."""
    rows = [
        [
            f"{size:,}",
            *(f"{steps[engine][size] * 1e6 / size:,.2f}" for engine in ENGINES),
            f"{steps['pickle'][size] / steps['scorecard'][size]:,.1f}",
        ]
        for size in SIZES
    ]
    names = [f"{engine}, µs a record" for engine in ENGINES]
    return _table(["records in one call of the model step", *names, "the scorecard is ×"], rows)


def files_table(files: Files) -> str:
    """Compare time and memory of CSV files."""
    rows = []
    for n_rows, by_name in files.items():
        for name, runs in by_name.items():
            seconds = _median(runs, "seconds")
            rows.append(
                [
                    f"{n_rows:,}",
                    _TITLES[name],
                    f"{seconds:.2f}",
                    f"{n_rows / seconds:,.0f}",
                    _ratio(by_name, name, lambda run: 1 / run.seconds),
                    f"{_median(runs, 'first_byte_after_upload'):.3f}",
                    f"{_median(runs, 'first_byte'):.3f}",
                    f"{max(run.peak_rss for run in runs) / MB:.0f}",
                ]
            )
    names = ["rows of CSV", "", "s", "rows/s", "Slipway is ×", "first byte s after the upload"]
    return _table([*names, "after the start", "peak RSS MB, one worker"], rows)


def goals_table(loads: Loads, arrays: Arrays, files: Files) -> str:
    """Compare the results with the goals."""
    rows = []
    for goal, value_of, reached in _GOALS:
        try:
            value = value_of(loads, arrays, files)
        except KeyError:
            # This run did not measure the service or size of the goal.
            continue
        rows.append([goal, f"{value:.3g}", "yes" if reached(value) else "**no**"])
    return _table(["goal", "measured", "reached"], rows)


def _speed(by_name: dict[str, list[Any]], rival: str, value_of: Callable[[Any], float]) -> float:
    """Return the median of the rounds' ratios of Slipway to another service."""
    pairs = zip(by_name[SLIPWAY.name], by_name[rival], strict=True)
    return median(value_of(ours) / value_of(theirs) for ours, theirs in pairs)


def _ratio(by_name: dict[str, list[Any]], name: str, value_of: Callable[[Any], float]) -> str:
    is_compared = name != SLIPWAY.name and SLIPWAY.name in by_name
    return f"{_speed(by_name, name, value_of):.2f}" if is_compared else ""


def _median(runs: Sequence[Any], field: str) -> float:
    return float(median(getattr(run, field) for run in runs))


def _steady(runs: Sequence[Load]) -> str:
    p50, p99 = _median(runs, "steady_p50"), _median(runs, "steady_p99")
    return "" if isnan(p99) else f"{p50:.2f} / {p99:.1f}"


def _table(names: list[str], rows: list[list[str]]) -> str:
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


_M = 1_000_000
_OURS = SLIPWAY.name
_Measurement = Callable[[Loads, Arrays, Files], float]
_GOALS: tuple[tuple[str, _Measurement, Callable[[float], bool]], ...] = (
    (
        "requests/s, × the classic tutorial: 150 or more",
        lambda loads, _, __: _speed(loads, TUTORIAL.name, lambda run: run.rate),
        lambda value: value >= 150,
    ),
    (
        "requests/s, × FastAPI: 5 or more",
        lambda loads, _, __: _speed(loads, FASTAPI.name, lambda run: run.rate),
        lambda value: value >= 5,
    ),
    (
        "CPU a request, FastAPI's × ours: 5 or more",
        lambda loads, _, __: _speed(loads, FASTAPI.name, lambda run: 1 / run.cpu),
        lambda value: value >= 5,
    ),
    (
        "a Flask route under the same worker, requests/s × FastAPI: 1.3 or more",
        lambda loads, _, __: (
            _median(loads["constant"], "rate") / _median(loads[FASTAPI.name], "rate")
        ),
        lambda value: value >= 1.3,
    ),
    (
        "p99 at 1,000 requests/s, ms: 2 or less",
        lambda loads, _, __: _median(loads[_OURS], "steady_p99"),
        lambda value: value <= 2,
    ),
    (
        "that p99, × FastAPI's: a quarter or less",
        lambda loads, _, __: (
            _median(loads[_OURS], "steady_p99") / _median(loads[FASTAPI.name], "steady_p99")
        ),
        lambda value: value <= 0.25,
    ),
    (
        "records/s, 100 in an array: 100,000 or more",
        lambda loads, _, __: _median(loads[_OURS], "hundred"),
        lambda value: value >= 100_000,
    ),
    (
        "memory of four workers and their master: under 70 MB",
        lambda loads, _, __: _median(loads[_OURS], "pss") / MB,
        lambda value: value < 70,
    ),
    (
        "first prediction: within 1 s",
        lambda loads, _, __: _median(loads[_OURS], "first_prediction"),
        lambda value: value <= 1,
    ),
    (
        "array of 10,000 records, × the classic tutorial: 5 or more",
        lambda _, arrays, __: _speed(arrays, TUTORIAL.name, lambda run: 1 / run),
        lambda value: value >= 5,
    ),
    (
        "CSV of 1 million rows, × pandas and scikit-learn: 8 or more",
        lambda _, __, files: _speed(files[_M], TUTORIAL.name, lambda run: 1 / run.seconds),
        lambda value: value >= 8,
    ),
    (
        "its first byte, after the upload: within 0.3 s",
        lambda _, __, files: _median(files[_M][_OURS], "first_byte_after_upload"),
        lambda value: value <= 0.3,
    ),
    (
        "peak memory of a worker, at the largest file: under 300 MB",
        lambda _, __, files: max(run.peak_rss for run in files[max(files, default=0)][_OURS]) / MB,
        lambda value: value < 300,
    ),
)
