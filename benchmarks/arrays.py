"""Many records in one JSON array, one request at a time."""

from __future__ import annotations

import time

from benchmarks.inputs import Inputs
from benchmarks.services import Service, post, running

# Enough for each thread of the worker to have had its first one.
REPEATS = 12


def measure(service: Service, inputs: Inputs) -> float:
    """Give the seconds that the array takes, the best of a few times.

    Parameters
    ----------
    service : Service
    inputs : Inputs

    Raises
    ------
    RuntimeError
        An answer is not the pipeline's.
    """
    with running(service, inputs.record_file.read_bytes(), workers=1) as answering:
        inputs.check_array(service, post(answering.port, "/predict", inputs.array))
        seconds = []
        for _ in range(REPEATS):
            began = time.perf_counter()
            post(answering.port, "/predict", inputs.array)
            seconds.append(time.perf_counter() - began)
    return min(seconds)
