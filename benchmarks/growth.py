"""Time and memory of fitting against the number of rows: ``python -m benchmarks.growth``.

The rows are flights drawn with replacement. No engine benefits from equal rows. Each fit runs in
its own process, whose peak of resident memory is measured.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from slipway.core.errors import SlipwayError
from slipway.core.files import file_sha256
from slipway.data.dataset import FOLD, MANIFEST, N_FOLDS, Dataset, Part, open_dataset
from slipway.data.etl.run import run_etl
from slipway.data.problem import Problem
from slipway.data.problem_loading import load_problem
from slipway.training.splits import FIT_FOLDS

HERE = Path(__file__).parent
ROWS = (10_000, 100_000, 1_000_000, 10_000_000, 50_000_000)
PART_ROWS = 500_000
MEMORY = 2**30
# The largest number of rows for an engine.
MAX_ROWS = {"memory": 2_000_000, "spark": 1_000_000}
DEFAULT = ("memory", "chunks", "spark")
COLOURS = {"memory": "#b3541e", "chunks": "#1f5f8b", "average": "#5b8c5a", "spark": "#7a5195"}


@dataclass(frozen=True)
class FitRun:
    """Time and memory of one fit."""

    engine: str
    rows: int
    seconds: float
    peak_bytes: int


def fit_memory(problem: Problem, dataset: Dataset) -> None:
    """Fit with scikit-learn, with all rows in memory."""
    from slipway.training.frames import read_rows

    # Many hours have no rain, so that several quantiles are equal.
    warnings.filterwarnings("ignore", "Bins whose width are too small", UserWarning)
    rows = read_rows(problem, dataset)
    problem.pipeline().fit(rows.X[~rows.held_out], rows.y[~rows.held_out])


def fit_chunks(problem: Problem, dataset: Dataset) -> None:
    """Fit in chunks within 1 GiB, in passes over all rows."""
    from slipway.training.engines.chunked import fit as chunks

    chunks.fit_chunks(problem, dataset, memory=MEMORY, folds=FIT_FOLDS, progress=print_progress)


def fit_average(problem: Problem, dataset: Dataset) -> None:
    """Fit each chunk and average the coefficients."""
    from slipway.training.engines.chunked import fit as chunks

    chunks.fit_chunks(
        problem, dataset, memory=MEMORY, folds=FIT_FOLDS, progress=print_progress, combine="average"
    )


def fit_spark(problem: Problem, dataset: Dataset) -> None:
    """Fit with local Spark; the peak memory excludes Java."""
    from slipway.training.engines.spark import fit as spark

    spark.fit_spark(problem, dataset, master="local[*]", folds=FIT_FOLDS, progress=print_progress)


ENGINES = {"memory": fit_memory, "chunks": fit_chunks, "average": fit_average, "spark": fit_spark}


def print_progress(line: str) -> None:
    """Print a line of progress."""
    print(f"    {line}", file=sys.stderr, flush=True)


def draw_rows(dataset: Dataset, n_rows: int, folder: Path, seed: int = 0) -> Dataset:
    """Draw rows of a dataset with replacement and write them as another, a part at a time.

    Parameters
    ----------
    stored : Dataset
        Must fit in memory.
    n_rows : int
    folder : Path
    seed : int

    Returns
    -------
    Dataset
        With a new random fold for each row.
    """
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_batches(dataset.batches()).drop_columns([FOLD]).combine_chunks()
    rng = np.random.default_rng(seed)
    parts = tuple(_parts(table, n_rows, folder, rng))
    manifest = msgspec.structs.replace(
        dataset.manifest, rows=n_rows, rows_read=n_rows, parts=parts, left_out={}, quarantined={}
    )
    (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    return Dataset(folder, manifest)


def _parts(table: pa.Table, n_rows: int, folder: Path, rng: np.random.Generator) -> Iterator[Part]:
    """Write drawn rows in parts; yield each part."""
    for number, start in enumerate(range(0, n_rows, PART_ROWS)):
        n = min(PART_ROWS, n_rows - start)
        part = table.take(pa.array(rng.integers(0, table.num_rows, n)))
        part = part.append_column(FOLD, pa.array(rng.integers(0, N_FOLDS, n), pa.int8()))
        file = folder / f"part-{number:04}.parquet"
        pq.write_table(part, file, row_group_size=65_536, compression="zstd")
        yield Part(file=file.name, rows=n, sha256=file_sha256(file))


def measure(engine: str, folder: Path, rows: int) -> FitRun:
    """Fit in a new process."""
    command = [sys.executable, "-m", "benchmarks.growth", "--fit", engine, str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=HERE.parent)
    output = json.loads(done.stdout.splitlines()[-1])
    return FitRun(engine, rows, output["seconds"], output["peak_bytes"])


def fit_in_process(engine: str, folder: Path) -> None:
    """Fit in this process; print the time without imports and the peak memory with them."""
    problem, dataset = load_problem("flights"), open_dataset(folder)
    started = time.perf_counter()
    ENGINES[engine](problem, dataset)
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "peak_bytes": peak_bytes()}))


def peak_bytes() -> int:
    """Return the peak of this process's resident memory, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(line for line in lines if line.startswith("VmHWM"))
    return int(peak.split()[1]) * 1024


def run(numbers: Sequence[int], engines: Sequence[str], scratch: Path) -> list[FitRun]:
    """Measure every engine on every number of rows."""
    problem, whole = load_problem("flights"), scratch / "flights"
    run_etl(problem, None, whole)
    runs = []
    for n_rows in numbers:
        drawn = draw_rows(open_dataset(whole), n_rows, scratch / "drawn")
        for engine in engines:
            if n_rows <= MAX_ROWS.get(engine, n_rows):
                runs.append(measure(engine, drawn.folder, n_rows))
                print(runs[-1], flush=True)
        for part in drawn.files:
            part.unlink()
    return runs


def table_text(runs: Sequence[FitRun]) -> str:
    """Format the results as a Markdown table."""
    engines = list(dict.fromkeys(run.engine for run in runs))
    by_cell = {(run.rows, run.engine): run for run in runs}
    lines = [
        "| rows | " + " | ".join(engines) + " |",
        "|---:|" + "---:|" * len(engines),
    ]
    for rows in sorted({run.rows for run in runs}):
        cells = [_cell(by_cell.get((rows, engine))) for engine in engines]
        lines.append(f"| {rows:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(run: FitRun | None) -> str:
    if run is None:
        return "–"
    return f"{run.seconds:,.1f} s, {run.peak_bytes / 2**20:,.0f} MiB"


def plot(runs: Sequence[FitRun]) -> str:
    """Draw time and memory against rows on logarithmic scales, as an SVG."""
    left = _panel(runs, "seconds", [(run.rows, run.seconds) for run in runs], 0)
    peaks = [(run.rows, run.peak_bytes / 2**20) for run in runs]
    right = _panel(runs, "MiB at the peak", peaks, 420)
    style = "text{font:12px sans-serif;fill:#333}line{stroke:#ddd}"
    size = 'width="840" height="330" viewBox="0 0 840 330"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size}>'
    back = '<rect width="840" height="330" fill="#fff"/>'
    return f"{head}<style>{style}</style>{back}{left}{right}</svg>\n"


def _panel(
    runs: Sequence[FitRun], title: str, points: Sequence[tuple[float, float]], x0: int
) -> str:
    """Draw one of the two charts."""
    low_x, high_x = (f(math.log10(x) for x, _ in points) for f in (min, max))
    low_y = math.floor(min(math.log10(y) for _, y in points))
    high_y = math.ceil(max(math.log10(y) for _, y in points))

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - low_x) / max(high_x - low_x, 1e-9)
        up = (math.log10(y) - low_y) / max(high_y - low_y, 1)
        return round(x0 + 60 + 330 * across, 1), round(280 - 230 * up, 1)

    parts = [f'<text x="{x0 + 60}" y="30">{title} by rows</text>']
    for power in range(low_y, high_y + 1):
        _, y = place(points[0][0], 10.0**power)
        parts.append(f'<line x1="{x0 + 60}" x2="{x0 + 390}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{x0 + 54}" y="{y + 4}" text-anchor="end">{10.0**power:g}</text>')
    for rows in sorted({x for x, _ in points}):
        x, _ = place(rows, 10.0**low_y)
        parts.append(f'<text x="{x}" y="300" text-anchor="middle">{_short(rows)}</text>')
    for i, engine in enumerate(dict.fromkeys(run.engine for run in runs)):
        places = [place(*xy) for run, xy in zip(runs, points, strict=True) if run.engine == engine]
        path, colour = " ".join(f"{x},{y}" for x, y in places), COLOURS.get(engine, "#333")
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x}" cy="{y}" r="3.5" fill="{colour}"/>' for x, y in places]
        name = f'<text x="{x0 + 70}" y="{60 + 16 * i}" style="fill:{colour}">{engine}</text>'
        parts.append(name)
    return "".join(parts)


def _short(rows: float) -> str:
    return f"{rows / 1e6:g} M" if rows >= 1e6 else f"{rows / 1e3:g} k"


def main() -> None:
    """Measure the engines; print or write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS, help="numbers of rows")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=DEFAULT, help="engines")
    parser.add_argument("--scratch", type=Path, help="folder for the drawn rows")
    parser.add_argument("--write", action="store_true", help="write growth.md and growth.svg")
    parser.add_argument(
        "--fit", nargs=2, metavar=("ENGINE", "FOLDER"), help="fit once in this process"
    )
    options = parser.parse_args()
    if options.fit:
        try:
            fit_in_process(options.fit[0], Path(options.fit[1]))
        except SlipwayError as error:
            sys.exit(str(error))
        return
    with TemporaryDirectory(dir=options.scratch) as scratch:
        runs = run(options.rows, options.engines, Path(scratch))
    print(table_text(runs))
    if options.write:
        (HERE / "growth.md").write_text(f"{HEAD}\n{table_text(runs)}\n{TAIL}", encoding="utf-8")
        (HERE / "growth.svg").write_text(plot(runs), encoding="utf-8")


HEAD = """# Training time and memory by number of rows

Choose a training engine with these figures. To measure them again, run:

```
python -m benchmarks.growth --write
```

Each cell is one fit of the flights pipeline in a new process, from Parquet files to the fitted
pipeline. The time excludes imports; the memory is the peak of resident memory. The rows are
flights drawn with replacement, of which four fifths are fitted on.
"""
TAIL = """
- `memory` is the pipeline's own `fit`. More than two million rows were not tried.
- `chunks` was limited to 1 GiB. It finds the same coefficients to 1e-6 in passes over all rows.
- `spark` runs on the same two cores. Its time includes the start, about ten seconds. Its memory is
  that of Python only; Java uses one to two GiB more. More than one million rows were not tried.

Other work shared the two cores, so use the times as proportions.

![Time and memory against rows](growth.svg)
"""

if __name__ == "__main__":
    main()
