"""The compared services: their commands, and how to start and stop them."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
RIVALS = ROOT / "benchmarks" / "rivals"
BIN = Path(sys.executable).parent
WORKERS = 4
START_SECONDS = 60.0
STOP_SECONDS = 15.0
POLL_SECONDS = 0.005

_GUNICORN = (str(BIN / "gunicorn"), "--bind=127.0.0.1:{port}", "--workers={workers}")
# With the settings of the repository's own service.
_OURS = (*_GUNICORN, f"--config={ROOT / 'gunicorn.conf.py'}", f"--pythonpath={ROOT}")
_UVICORN = (
    *(str(BIN / "uvicorn"), "--host=127.0.0.1", "--port={port}", "--workers={workers}"),
    *("--loop=uvloop", "--http=httptools", "--no-access-log", "--log-level=warning"),
)


@dataclass(frozen=True)
class Service:
    """A compared service.

    Attributes
    ----------
    name : str
        Name on the command line.
    title : str
    command : tuple of str
        With ``{port}`` and ``{workers}``.
    folder : Path
        Working directory. Gunicorn and uvicorn import from it, and Gunicorn reads its default
        settings from it.
    scores : bool
        Whether the service predicts, so that the prediction can be checked.
    """

    name: str
    title: str
    command: tuple[str, ...]
    folder: Path = RIVALS
    scores: bool = True


SLIPWAY = Service("slipway", "Slipway", (*_OURS, "app:app"), ROOT)
THREADS = Service(
    "gthread", "Slipway, SLIPWAY_LANE=0", (*_OURS, "--worker-class=gthread", "app:app"), ROOT
)
TUTORIAL = Service("tutorial", "Flask, pickle, a DataFrame a request", (*_GUNICORN, "tutorial:app"))
FASTAPI = Service("fastapi", "FastAPI + uvicorn, scored by hand", (*_UVICORN, "fastapi_app:app"))
BARE = Service("bare", "bare WSGI, a constant", (*_OURS, "bare:wsgi"), scores=False)
CONSTANT = Service("constant", "Flask route, a constant", (*_OURS, "bare:flask"), scores=False)
SERVICES = (SLIPWAY, THREADS, TUTORIAL, FASTAPI, BARE, CONSTANT)


@dataclass(frozen=True)
class Running:
    """A service that has returned a first prediction.

    Attributes
    ----------
    pid : int
        The parent of all processes of the service.
    port : int
    first_prediction : float
        Seconds from the start of the process.
    body : bytes
        Body of the first response.
    """

    pid: int
    port: int
    first_prediction: float
    body: bytes


@contextmanager
def running(service: Service, record: bytes, workers: int = WORKERS) -> Iterator[Running]:
    """Start a service, wait for its first response, and stop it after the block.

    Parameters
    ----------
    service : Service
    record : bytes
        The JSON of the first request.
    workers : int

    Yields
    ------
    Running
    """
    port = _free_port()
    command = [part.format(port=port, workers=workers) for part in service.command]
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=service.folder,
        env=_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        body = _first_prediction(service, process, port, record)
        yield Running(process.pid, port, time.perf_counter() - began, body)
    finally:
        _end(process)


def post(port: int, path: str, body: bytes, content_type: str = "application/json") -> bytes:
    """Send one request over a new connection; return the body of the response.

    Raises
    ------
    RuntimeError
        The status is not 200.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request("POST", path, body, {"Content-Type": content_type})
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise RuntimeError(f"{path} returned {response.status}: {content[:200]!r}")
    return content


def _first_prediction(
    service: Service, process: subprocess.Popen[bytes], port: int, record: bytes
) -> bytes:
    """Poll the service until it returns a prediction."""
    until = time.perf_counter() + START_SECONDS
    while time.perf_counter() < until:
        if process.poll() is not None:
            raise RuntimeError(f"{service.name} did not start; exit status {process.returncode}")
        try:
            return post(port, "/predict", record)
        except (OSError, http.client.HTTPException):
            time.sleep(POLL_SECONDS)
    raise RuntimeError(f"{service.name} did not answer within {START_SECONDS:.0f} s")


def _environment() -> dict[str, str]:
    """Return the environment: bytecode is written, and scikit-learn uses one thread."""
    dropped = ("PYTHONDONTWRITEBYTECODE", "WEB_CONCURRENCY", "GUNICORN_CMD_ARGS")
    environ = {name: value for name, value in os.environ.items() if name not in dropped}
    return environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop the process and the rest of its process group."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
