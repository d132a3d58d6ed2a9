"""A CSV file up, the answered file down, through one worker process."""

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
    """What one file's answer took.

    Attributes
    ----------
    seconds : float
        From the start of the request to the last byte.
    first_byte : float
        Seconds from the start of the request.
    first_byte_after_upload : float
        Seconds from when all of the file was sent.
    peak_rss : float
        The most bytes that any process of the service has held.
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
        The answer has another number of rows, or is not the pipeline's.
    """
    file = inputs.csv(n_rows)
    head = inputs.csv(N_CHECKED)
    with running(service, inputs.record_file.read_bytes(), workers=1) as answering:
        inputs.check_record(service, answering)
        # The first file pays for imports that a running service has long made.
        _send(answering, head, lambda _: None)
        return _measured(service, inputs, answering, file, n_rows)


def _measured(
    service: Service, inputs: Inputs, answering: Running, file: Path, n_rows: int
) -> FileRun:
    """Time one file, then check its answer."""
    chunks: list[bytes] = []
    run = _send(answering, file, chunks.append)
    lines = sum(chunk.count(b"\n") for chunk in chunks) - 1
    if lines != n_rows:
        raise RuntimeError(f"{service.name} answered {lines} of {n_rows} rows")
    given = pd.read_csv(io.BytesIO(b"".join(chunks)), nrows=N_CHECKED)["probability"].tolist()
    check(service, given, inputs.pipeline, inputs.rows[:N_CHECKED])
    return run


def _send(answering: Running, file: Path, keep: Callable[[bytes], None]) -> FileRun:
    """Send a file, and take the answer as it comes."""
    connection = http.client.HTTPConnection("127.0.0.1", answering.port, timeout=600)
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
        raise RuntimeError(f"a file was answered with {answer.status}: {answer.read(300)!r}")
    keep(answer.read1(CHUNK))
    first = time.perf_counter()
    while chunk := answer.read1(CHUNK):
        keep(chunk)
    ended = time.perf_counter()
    connection.close()
    return FileRun(
        ended - began, first - began, first - sent, processes.peak_rss_bytes(answering.pid)
    )
