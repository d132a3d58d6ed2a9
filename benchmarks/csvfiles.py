"""Time and memory of a CSV file through one worker process."""

from __future__ import annotations

import http.client
import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmarks import processes
from benchmarks.inputs import Inputs, check
from benchmarks.services import Running, Service, running

N_CHECKED = 10_000
CHUNK = 2**20


@dataclass(frozen=True)
class FileRun:
    """The measurements of one file.

    Attributes
    ----------
    seconds : float
        From the start of the request to the last byte.
    first_byte : float
        Seconds from the start of the request.
    first_byte_after_upload : float
        Seconds from the end of the upload.
    peak_rss : float
        Largest resident memory of any process of the service, in bytes.
    """

    seconds: float
    first_byte: float
    first_byte_after_upload: float
    peak_rss: float


def measure(service: Service, inputs: Inputs, n_rows: int) -> FileRun:
    """Send a file to a newly started service of one worker.

    Parameters
    ----------
    service : Service
    inputs : Inputs
    n_rows : int

    Raises
    ------
    RuntimeError
        The response has another number of rows, or a prediction differs from the pipeline's.
    """
    file = inputs.csv(n_rows)
    head = inputs.csv(N_CHECKED)
    with running(service, inputs.record_file.read_bytes(), workers=1) as started:
        inputs.check_record(service, started)
        # The first file pays for imports, which a running service has already done.
        _send(started, head, lambda _: None)
        return _measure_file(service, inputs, started, file, n_rows)


def _measure_file(
    service: Service, inputs: Inputs, started: Running, file: Path, n_rows: int
) -> FileRun:
    """Time one file, then check its predictions."""
    chunks: list[bytes] = []
    run = _send(started, file, chunks.append)
    lines = sum(chunk.count(b"\n") for chunk in chunks) - 1
    if lines != n_rows:
        raise RuntimeError(f"{service.name} returned {lines} of {n_rows} rows")
    predictions = pd.read_csv(io.BytesIO(b"".join(chunks)), nrows=N_CHECKED)["probability"].tolist()
    check(service, predictions, inputs.pipeline, inputs.rows[:N_CHECKED])
    return run


def _send(started: Running, file: Path, consume: Callable[[bytes], None]) -> FileRun:
    """Send a file and read the response as it arrives."""
    connection = http.client.HTTPConnection("127.0.0.1", started.port, timeout=600)
    length = file.stat().st_size
    began = time.perf_counter()
    with file.open("rb") as body:
        connection.putrequest("POST", "/predict_file")
        connection.putheader("Content-Type", "text/csv")
        connection.putheader("Content-Length", str(length))
        connection.endheaders()
        while chunk := body.read(CHUNK):
            connection.send(chunk)
    sent = time.perf_counter()
    answer = connection.getresponse()
    if answer.status != 200:
        raise RuntimeError(f"/predict_file returned {answer.status}: {answer.read(300)!r}")
    consume(answer.read1(CHUNK))
    first = time.perf_counter()
    while chunk := answer.read1(CHUNK):
        consume(chunk)
    ended = time.perf_counter()
    connection.close()
    return FileRun(
        ended - began, first - began, first - sent, processes.peak_rss_bytes(started.pid)
    )
