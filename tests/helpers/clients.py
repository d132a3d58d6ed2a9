"""HTTP clients of a running service: with raw bytes, slow, and many at once."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

HEAD = (
    b"POST /predict HTTP/1.1\r\nHost: a\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
)
CHUNKED = HEAD.replace(b"Content-Length: %d", b"Transfer-Encoding: chunked")
JSON = "application/json"
# A stopping worker closes connections that were idle for two seconds. A client that paused longer
# than this, on a busy machine, repeats its request.
PAUSE = 1.0


def port_of(base: str) -> int:
    return int(base.rpartition(":")[2])


def connected(base: str, receive_buffer: int = 0) -> socket.socket:
    sock = socket.socket()
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.settimeout(20)
    sock.connect(("127.0.0.1", port_of(base)))
    return sock


def until_closed(sock: socket.socket) -> bytes:
    answer = b""
    while chunk := sock.recv(65536):
        answer += chunk
    return answer


def exchanged(base: str, sent: bytes, seconds: float = 20) -> bytes:
    """Send bytes over a new connection; return everything that it receives."""
    with connected(base) as sock:
        sock.settimeout(seconds)
        # A server that rejects a request may close before it has read all of it.
        with suppress(ConnectionError):
            sock.sendall(sent)
            sock.shutdown(socket.SHUT_WR)
        return until_closed(sock)


def asked(
    base: str,
    method: str,
    path: str,
    body: bytes | None = None,
    timeout: float = 20,
    **headers: str,
) -> tuple[int, dict[str, str], bytes]:
    """Send one request over a new connection; return status, headers and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port_of(base), timeout=timeout)
    try:
        http_headers = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, http_headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def post(
    base: str, body: bytes, path: str = "/predict", kind: str = JSON, timeout: float = 20
) -> tuple[int, bytes]:
    status, _, answer = asked(base, "POST", path, body, timeout, Content_Type=kind)
    return status, answer


def seconds_of(base: str, path: str) -> float:
    """Return the seconds until a path answers with 200."""
    began = time.perf_counter()
    assert asked(base, "GET", path, timeout=20)[0] == 200
    return time.perf_counter() - began


def workers(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Return the running workers of a Gunicorn master."""
    running = []
    for worker in psutil.Process(process.pid).children():
        # A worker can end during the check.
        with suppress(psutil.NoSuchProcess):
            if worker.status() != psutil.STATUS_ZOMBIE:
                running.append(worker)
    return running


def wait_for_workers(process: subprocess.Popen[bytes], count: int, seconds: float = 60.0) -> None:
    """Wait until so many workers run and handle signals."""
    deadline = time.monotonic() + seconds
    while sum(map(_handles_signals, workers(process))) != count:
        assert time.monotonic() < deadline, workers(process)
        time.sleep(0.05)


def _handles_signals(worker: psutil.Process) -> bool:
    """Return whether a worker has replaced the signal handlers of its master."""
    try:
        status = Path(f"/proc/{worker.pid}/status").read_text()
    except OSError:
        return False
    caught_signals = int(status.partition("SigCgt:")[2].split()[0], 16)
    return not caught_signals >> (signal.SIGHUP - 1) & 1


def clients_of(processes: Iterable[psutil.Process]) -> set[tuple[str, int]]:
    """Return the client addresses of the workers' accepted connections."""
    return {
        connection.raddr
        for worker in processes
        for connection in worker.net_connections("tcp")
        if connection.raddr
    }


def memory(process: subprocess.Popen[bytes]) -> int:
    """Return the resident memory of a master's first worker, in bytes."""
    return int(workers(process)[0].memory_info().rss)


@contextmanager
def loaded(
    base: str, body: bytes, n_clients: int = 4
) -> Iterator[list[tuple[int | str, str | None, float]]]:
    """Run clients with keep-alive connections until the block ends.

    Yields a growing list of each response's status, ``Retry-After`` and seconds.
    """
    stop = threading.Event()
    answers: list[tuple[int | str, str | None, float]] = []

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port_of(base), timeout=60)
        ended = time.perf_counter()
        while not stop.is_set():
            began = time.perf_counter()
            try:
                connection.request("POST", "/predict", body, {"Content-Type": JSON})
                answer = connection.getresponse()
                answer.read()
                outcome = answer.status, answer.headers["Retry-After"]
            except (OSError, http.client.HTTPException) as error:
                outcome = repr(error), None
                connection.close()
                if isinstance(error, ConnectionError) and began - ended > PAUSE:
                    ended = began
                    continue
            ended = time.perf_counter()
            answers.append((*outcome, ended - began))
            if outcome[0] != 200:
                # Thousands of rejected requests a second would slow down the service.
                time.sleep(0.1)
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(n_clients)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stop.set()
        for thread in threads:
            thread.join()
