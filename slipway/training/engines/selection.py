"""Choose what fits a model, by the rows there are and the memory there is."""

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
# Python with scikit-learn, pandas and what else training imports, before it has read a row.
BASE_BYTES = 350 * 2**20
# Measured on the flights: the frame, the encoded columns and the records that the
# scorecard is held against come to this much for each value of a feature at the peak.
BYTES_A_VALUE = 120
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


@dataclass(frozen=True)
class EngineChoice:
    """An engine, why it was chosen, and how many rows may be in memory at once."""

    engine: TrainingEngine
    reason: str
    most_rows: int


def choose_engine(
    asked: TrainingEngine | None, stored: Dataset, n_features: int, memory: int
) -> EngineChoice:
    """Choose an engine.

    Parameters
    ----------
    asked : {"memory", "chunks", "spark"}, optional
        What the user wants; by default it is chosen here.
    stored : Dataset
    n_features : int
    memory : int
        Bytes that may be used.

    Returns
    -------
    Choice

    Raises
    ------
    SlipwayError
        The memory is not enough for anything.
    """
    rows = stored.manifest.rows
    most_rows = (memory - BASE_BYTES) // (n_features * BYTES_A_VALUE)
    if most_rows < min(rows, 10_000):
        least = size_text(BASE_BYTES + 10_000 * n_features * BYTES_A_VALUE)
        raise SlipwayError(f"{size_text(memory)} of memory is too little; give {least} or more")
    need = BASE_BYTES + rows * n_features * BYTES_A_VALUE
    known = f"{rows:,} rows need about {size_text(need)}, and there is {size_text(memory)}"
    if asked is not None:
        return EngineChoice(asked, f"asked for; {known}", most_rows)
    return EngineChoice("memory" if rows <= most_rows else "chunks", known, most_rows)


def available_memory(root: Path = Path("/")) -> int:
    """Give the bytes of memory that are free, by the machine and by the container's limit.

    Parameters
    ----------
    root : Path
        Where ``proc`` and ``sys`` are.
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
        It is no size.
    """
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{text!r} is no size; write for instance 1GiB or 512MiB")
    return int(float(found[1]) * 1024 ** _POWERS[found[2].lower()])


def size_text(size: float) -> str:
    """Write a size for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} TiB"
