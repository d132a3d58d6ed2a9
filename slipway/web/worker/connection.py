"""A connection of the loop, and the request that it carries."""

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
        Where its body begins and ends in the connection's bytes.
    minor : int
        Of the version: HTTP/1.0 or 1.1.
    keep : bool
        Whether the client wants to go on.
    """

    environ: dict[str, Any]
    begin: int
    end: int
    minor: int
    keep: bool


class Client:
    """A connection as the loop sees it.

    Attributes
    ----------
    environ : dict
        What all its requests have in common.
    data : bytes or bytearray
        What has come and is not yet answered. While it holds a whole request, no more is read.
    request : Request or None
        The one being collected or answered.
    searched : int
        While the head is incomplete: the number of bytes searched for its end.
    out : bytes or memoryview
        What is still to be sent; the connection goes on after it if ``keep`` says so.
    state : int
        What is done with what comes next.
    masked : bool
        Whether the loop does not want to hear when more comes.
    since : float
        When its request was complete.
    turn : int
        The loop's turn in which it was.
    deadline : float
        When the loop's patience ends.
    left : int
        Bytes that it may still send after its answer.
    """

    __slots__ = (
        *("sock", "fd", "address", "server", "environ", "data", "request", "searched"),
        *("out", "keep", "state", "masked", "since", "turn", "deadline", "left"),
    )

    def __init__(
        self, sock: socket.socket, address: Any, server: Any, environ: dict[str, Any]
    ) -> None:
        self.sock, self.fd, self.address, self.server = sock, sock.fileno(), address, server
        self.environ = environ
        self.data: bytes | bytearray = b""
        self.request: Request | None = None
        self.searched = 0
        self.out: bytes | memoryview = b""
        self.keep = False
        self.state = IDLE
        self.masked = False
        self.since = self.deadline = 0.0
        self.turn = 0
        self.left = 0


def after_bytes(data: bytes | bytearray, n_bytes: int) -> bytes | bytearray:
    """Return what is left behind the first bytes, without a copy for each pipelined request."""
    if n_bytes >= len(data):
        return b""
    if isinstance(data, bytes):
        return bytearray(memoryview(data)[n_bytes:])
    # A bytearray only moves its beginning.
    del data[:n_bytes]
    return data
