"""Time of one JSON array of many records, one request at a time."""

from __future__ import annotations

import time

from benchmarks.inputs import Inputs
from benchmarks.services import Service, post, running

# Enough to warm up each thread of the worker.
REPEATS = 12


def measure(service: Service, inputs: Inputs) -> float:
    """Return the seconds of the fastest of several requests with the array.

    Parameters
    ----------
    service : Service
    inputs : Inputs

    Raises
    ------
    RuntimeError
        A prediction differs from the pipeline's.
    """
    with running(service, inputs.record_file.read_bytes(), workers=1) as started:
        inputs.check_array(service, post(started.port, "/predict", inputs.array))
        seconds = []
        for _ in range(REPEATS):
            began = time.perf_counter()
            post(started.port, "/predict", inputs.array)
            seconds.append(time.perf_counter() - began)
    return min(seconds)
