"""Time of scoring validated records with both engines, in this process."""

from __future__ import annotations

import time
from itertools import cycle, islice
from statistics import median

from benchmarks.inputs import Inputs
from benchmarks.services import ROOT
from slipway.core.settings import ServingEngine
from slipway.models.features import Record
from slipway.models.predictor import load_predictor
from slipway.training.packaging.columns import to_records

SIZES = (1, 100, 10_000, 1_000_000)
ENGINES: tuple[ServingEngine, ...] = ("scorecard", "pickle")
AT_LEAST_S = 0.5
REPEATS = 5

# Median seconds of a call, by engine and number of records.
Steps = dict[ServingEngine, dict[int, float]]


def measure(inputs: Inputs) -> Steps:
    """Time both engines on the same real records, in alternation for each size.

    Parameters
    ----------
    inputs : Inputs

    Returns
    -------
    dict of str to dict of int to float
    """
    records = to_records(inputs.rows, inputs.manifest.signature)
    scorers = {engine: load_predictor(ROOT / "model.pkl", engine).score for engine in ENGINES}
    times: Steps = {engine: {} for engine in ENGINES}
    for size in SIZES:
        batch = list(islice(cycle(records), size))
        for engine, score in scorers.items():
            times[engine][size] = _seconds(score, batch)
    return times


def _seconds(score: object, records: list[Record]) -> float:
    """Return the median seconds of a call; short calls are repeated within a measurement."""
    assert callable(score)
    began = time.perf_counter()
    score(records)
    calls = max(1, int(AT_LEAST_S / REPEATS / (time.perf_counter() - began)))
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        for _ in range(calls):
            score(records)
        seconds.append((time.perf_counter() - began) / calls)
    return median(seconds)
