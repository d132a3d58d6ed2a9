"""Choose the training engine by the number of rows and the available memory."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from slipway.core.errors import SlipwayError
from slipway.data.dataset import Dataset

TrainingEngine = Literal["memory", "chunks", "spark"]
Estimator = Literal["logistic", "xgboost"]
ENGINES: tuple[TrainingEngine, ...] = get_args(TrainingEngine)
ESTIMATORS: tuple[Estimator, ...] = get_args(Estimator)
# The memory of Python with all imports of a training, before it reads a row.
BASE_BYTES = 350 * 2**20
# Measured on the flights: the peak memory for each value of a feature. It covers the frame, the
# encoded columns and the records for checking the scorecard.
BYTES_PER_VALUE = 120
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


@dataclass(frozen=True)
class EngineChoice:
    """An engine, the reason for it, and the number of rows that fit in memory."""

    engine: TrainingEngine
    reason: str
    max_rows: int


def choose_engine(
    requested: TrainingEngine | None, dataset: Dataset, n_features: int, memory: int
) -> EngineChoice:
    """Choose an engine.

    Parameters
    ----------
    requested : {"memory", "chunks", "spark"}, optional
        The engine that the user wants; by default the best one is chosen.
    dataset : Dataset
    n_features : int
    memory : int
        Limit in bytes.

    Returns
    -------
    EngineChoice

    Raises
    ------
    SlipwayError
        The memory is not enough for any engine.
    """
    rows = dataset.manifest.rows
    max_rows = (memory - BASE_BYTES) // (n_features * BYTES_PER_VALUE)
    if max_rows < min(rows, 10_000):
        minimum = format_size(BASE_BYTES + 10_000 * n_features * BYTES_PER_VALUE)
        raise SlipwayError(
            f"{format_size(memory)} of memory is too little; set --memory to {minimum} or more"
        )
    need = BASE_BYTES + rows * n_features * BYTES_PER_VALUE
    facts = f"{rows:,} rows need about {format_size(need)}, {format_size(memory)} is available"
    if requested is not None:
        return EngineChoice(requested, f"requested; {facts}", max_rows)
    return EngineChoice("memory" if rows <= max_rows else "chunks", facts, max_rows)


def available_memory(root: Path = Path("/")) -> int:
    """Return the available memory of the machine or the container, in bytes.

    Parameters
    ----------
    root : Path
        The folder of ``proc`` and ``sys``.
    """
    lines = (root / "proc/meminfo").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    free = int(fields["MemAvailable"].split()[0]) * 1024
    for limit, used in (
        ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory.current"),
        (
            "sys/fs/cgroup/memory/memory.limit_in_bytes",
            "sys/fs/cgroup/memory/memory.usage_in_bytes",
        ),
    ):
        if (root / limit).is_file() and (text := (root / limit).read_text().strip()) != "max":
            free = min(free, int(text) - int((root / used).read_text()))
    return free


def parse_size(text: str) -> int:
    """Read a size such as ``1GiB``, ``512M`` or ``2000000``; the units are powers of 1,024.

    Raises
    ------
    ValueError
        The text is not a size.
    """
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise ValueError(f"invalid size {text!r}; write for example 1GiB or 512MiB")
    return int(float(match[1]) * 1024 ** _POWERS[match[2].lower()])


def format_size(size: float) -> str:
    """Format a size in bytes."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} TiB"
