"""Single predictions at a fixed rate, even if the service falls behind (an open loop)."""

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
class Latency:
    """Latencies at a fixed rate, in milliseconds from the schedule of each request.

    Attributes
    ----------
    p50, p99 : float
    """

    p50: float
    p99: float


def measure(service: Running, body: bytes, seconds: int) -> Latency:
    """Send requests on schedule, over any free connection.

    Parameters
    ----------
    service : Running
    body : bytes
    seconds : int

    Raises
    ------
    RuntimeError
        The status of a response is not 200.
    """
    head = f"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n"
    request = f"{head}Content-Type: application/json\r\n\r\n".encode() + body
    latencies: list[float] = []
    received: dict[socket.socket, bytes] = defaultdict(bytes)
    free, scheduled = deque[socket.socket](), dict[socket.socket, float]()
    # The timeouts of epoll are whole milliseconds, which is too coarse.
    with selectors.SelectSelector() as selector:
        for _ in range(CONNECTIONS):
            free.append(socket.create_connection(("127.0.0.1", service.port)))
            selector.register(free[-1], selectors.EVENT_READ)
        began, sent = time.perf_counter(), 0
        total = RATE * seconds
        while len(latencies) < total:
            while free and sent < total and began + sent / RATE <= time.perf_counter():
                scheduled[free[0]] = began + sent / RATE
                free.popleft().sendall(request)
                sent += 1
            pause = began + sent / RATE - time.perf_counter() if free and sent < total else None
            for key, _ in selector.select(pause):
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                received[connection] += connection.recv(65536)
                if _is_complete(received[connection]):
                    received[connection] = b""
                    latencies.append(time.perf_counter() - scheduled[connection])
                    free.append(connection)
        for connection in free:
            connection.close()
    cuts = quantiles(latencies, n=100)
    return Latency(cuts[49] * 1e3, cuts[98] * 1e3)


def _is_complete(response: bytes) -> bool:
    """Return whether a response is complete; some servers send its head separately."""
    head, end, body = response.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"a request at a fixed rate failed: {response[:100]!r}")
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return bool(end) and len(body) == int(length)
