"""Single predictions at a fixed rate, whether or not the service keeps up (an open loop)."""

from __future__ import annotations

import selectors
import socket
import time
from collections import defaultdict, deque
from dataclasses import dataclass
from statistics import quantiles

from benchmarks.services import Running

RATE = 1_000
CONNECTIONS = 32


@dataclass(frozen=True)
class Steady:
    """What a fixed rate gave, in milliseconds from when each request was due.

    Attributes
    ----------
    p50, p99 : float
    """

    p50: float
    p99: float


def measure(service: Running, body: bytes, seconds: int) -> Steady:
    """Send requests when they are due, over whichever connection is free.

    Parameters
    ----------
    service : Running
    body : bytes
    seconds : int

    Raises
    ------
    RuntimeError
        A request was not answered with 200.
    """
    head = f"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n"
    request = f"{head}Content-Type: application/json\r\n\r\n".encode() + body
    waits: list[float] = []
    came: dict[socket.socket, bytes] = defaultdict(bytes)
    free, due = deque[socket.socket](), dict[socket.socket, float]()
    # Epoll's timeouts are whole milliseconds, which is what is to be measured.
    with selectors.SelectSelector() as selector:
        for _ in range(CONNECTIONS):
            free.append(socket.create_connection(("127.0.0.1", service.port)))
            selector.register(free[-1], selectors.EVENT_READ)
        began, sent = time.perf_counter(), 0
        total = RATE * seconds
        while len(waits) < total:
            while free and sent < total and began + sent / RATE <= time.perf_counter():
                due[free[0]] = began + sent / RATE
                free.popleft().sendall(request)
                sent += 1
            pause = began + sent / RATE - time.perf_counter() if free and sent < total else None
            for key, _ in selector.select(pause):
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                came[connection] += connection.recv(65536)
                if _is_whole(came[connection]):
                    came[connection] = b""
                    waits.append(time.perf_counter() - due[connection])
                    free.append(connection)
        for connection in free:
            connection.close()
    cuts = quantiles(waits, n=100)
    return Steady(cuts[49] * 1e3, cuts[98] * 1e3)


def _is_whole(answer: bytes) -> bool:
    """Whether all of an answer has come; some servers send its head by itself."""
    head, end, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"a request at a fixed rate failed: {answer[:100]!r}")
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return bool(end) and len(body) == int(length)
