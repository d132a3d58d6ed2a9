"""A connection of the loop, and its current request."""

from __future__ import annotations

import math
import socket
from dataclasses import dataclass
from typing import Any

IDLE, READING, QUEUED, SENDING, DRAINING, CLOSED = range(6)
NEVER = math.inf


@dataclass(slots=True)
class Request:
    """A request whose head has been read.

    Attributes
    ----------
    environ : dict
    begin, end : int
        Positions of the body in the bytes of the connection.
    minor : int
        Minor version of HTTP: 0 or 1.
    keep : bool
        Whether the client asks for a persistent connection.
    """

    environ: dict[str, Any]
    begin: int
    end: int
    minor: int
    keep: bool


class Client:
    """A client's connection, with its state on the loop.

    Attributes
    ----------
    environ : dict
        WSGI environ that is common to all its requests.
    data : bytes or bytearray
        Received bytes without a response. The loop reads no more while they contain a complete
        request.
    request : Request or None
        The request that the loop is reading or serving.
    searched : int
        While the head is incomplete: the number of bytes searched for its end.
    unsent : bytes or memoryview
        Bytes of the response that remain to be sent.
    keep : bool
        Whether the connection stays open after the response.
    state : int
        One of the constants above.
    is_paused : bool
        Whether the loop ignores new bytes of the client.
    queued_at : float
        Time at which its request was complete.
    queued_iteration : int
        Iteration of the loop at ``queued_at``.
    deadline : float
        Time at which the loop closes the connection or returns 408.
    drain_left : int
        Bytes that the client may still send after its response.
    """

    __slots__ = (
        *("sock", "fd", "address", "server", "environ", "data", "request", "searched", "unsent"),
        *("keep", "state", "is_paused", "queued_at", "queued_iteration", "deadline", "drain_left"),
    )

    def __init__(
        self, sock: socket.socket, address: Any, server: Any, environ: dict[str, Any]
    ) -> None:
        self.sock, self.fd, self.address, self.server = sock, sock.fileno(), address, server
        self.environ = environ
        self.data: bytes | bytearray = b""
        self.request: Request | None = None
        self.searched = 0
        self.unsent: bytes | memoryview = b""
        self.keep = False
        self.state = IDLE
        self.is_paused = False
        self.queued_at = self.deadline = 0.0
        self.queued_iteration = 0
        self.drain_left = 0


def after_bytes(data: bytes | bytearray, n_bytes: int) -> bytes | bytearray:
    """Return the rest after ``n_bytes``, without a copy for each pipelined request."""
    if n_bytes >= len(data):
        return b""
    if isinstance(data, bytes):
        return bytearray(memoryview(data)[n_bytes:])
    # A bytearray only moves its start.
    del data[:n_bytes]
    return data
