"""A client's connection, and how long it may take."""

from __future__ import annotations

import errno
import math
import os
import socket
import time
from typing import Any

from gunicorn.http import get_parser
from gunicorn.http.body import ChunkedReader
from gunicorn.http.errors import InvalidChunkSize, NoMoreData, ParseException
from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.gthread import TConn

from slipway.core.errors import SlipwayError
from slipway.web.worker.connection import Client, after_bytes

# How long a client may take over its headers, and then over its body.
REQUEST_TIMEOUT = float(os.environ.get("SLIPWAY_CLIENT_SECONDS", "10"))
# A large body may take longer, as long as it comes at this rate.
BYTES_A_SECOND = 16 * 1024
# How long a client may take none of its answer; whoever takes some must keep to the rate above.
SEND_SECONDS = 3 * REQUEST_TIMEOUT

# What a chunked body may have besides its data, beyond as much again. A chunk of one byte costs a
# thread microseconds. Gunicorn reads up to 1 MiB ahead, which counts here.
MAX_FRAMING = 3 * 512 * 1024


class TooSlow(SlipwayError):
    """The client takes too long over its request."""

    status = 408
    code = "request_timeout"

    def __init__(self) -> None:
        super().__init__("the request took too long to arrive")


class BrokenBody(SlipwayError):
    """The client's chunks are malformed, or end before the body does."""

    status = 400
    code = "bad_request"

    def __init__(self) -> None:
        super().__init__("the body is not valid: its chunks are malformed, incomplete or too small")


class DeadlineReader(SocketUnreader):  # type: ignore[misc]
    """Gunicorn's way to read a socket, for clients that keep up.

    Only the time spent waiting counts, so that a busy service is not held against its client.

    Parameters
    ----------
    sock : socket.socket
    data : bytes or bytearray
        What the loop has read: this request, and perhaps others behind it.

    Attributes
    ----------
    given : int
        Bytes that were read.
    most : float
        Bytes that may be read.
    """

    def __init__(self, sock: socket.socket, data: bytes | bytearray) -> None:
        super().__init__(sock)
        self._data, self._at = data, 0
        self._left = REQUEST_TIMEOUT
        self.given, self.most = 0, math.inf

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Read a piece.

        Raises
        ------
        InvalidChunkSize
            The body is hardly anything but framing.
        """
        if self.given > self.most:
            raise InvalidChunkSize(b"too small for so many of them")
        data = self._next(size_hint)
        self.given += len(data)
        return data

    def _next(self, size_hint: int | None) -> bytes:
        """Read a piece; what the loop has read comes first, in Gunicorn's portions."""
        if self._at < len(self._data):
            size = max(size_hint or 0, self.mxchunk)
            piece = bytes(self._data[self._at : self._at + size])
            self._at += len(piece)
            return piece
        if self._left <= 0:
            raise TooSlow
        began = time.monotonic()
        self.sock.settimeout(min(self._left, REQUEST_TIMEOUT))
        try:
            data: bytes = super().chunk(size_hint)
        except TimeoutError:
            raise TooSlow from None
        finally:
            self.sock.settimeout(SEND_SECONDS)
        self._left += len(data) / BYTES_A_SECOND - (time.monotonic() - began)
        return data

    def rest(self) -> bytes | bytearray:
        """Return the bytes behind the request."""
        ahead: bytes = self.take_buffered()
        if self._at == len(self._data):
            return ahead
        # Nothing came from the socket yet, so what was read ahead ends where the next piece begins.
        return after_bytes(self._data, self._at - len(ahead))


class CheckedBody:
    """The reader of a request's body, whose faults are the client's and not the application's.

    An application sees a ``SlipwayError``; Gunicorn sees the error that it raised itself.
    """

    def __init__(self, req: Any, unreader: Any) -> None:
        self._req, self._reader = req, req.body.reader
        is_bounded = isinstance(self._reader, ChunkedReader) and isinstance(
            unreader, DeadlineReader
        )
        self._unreader: DeadlineReader | None = unreader if is_bounded else None
        self._most = self._unreader.given + MAX_FRAMING if self._unreader else 0

    def read(self, size: int) -> bytes:
        """Read a piece.

        Raises
        ------
        BrokenBody
        """
        if self._unreader:
            self._unreader.most = self._most + 2 * size
        try:
            data: bytes = self._reader.read(size)
        except (ParseException, NoMoreData) as error:
            # Where the next request begins is unknown.
            self._req.must_close = True
            raise BrokenBody from error
        self._most += 2 * len(data)
        return data


class DeadlineSocket:
    """A socket for sending, whose client must keep up.

    Python's own timeout begins anew with every piece, so that a client that takes a little of
    each would keep a thread for hours.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._left = SEND_SECONDS

    def __getattr__(self, name: str) -> Any:
        """Be the socket in all else, for Gunicorn's code."""
        return getattr(self._sock, name)

    def sendall(self, data: bytes) -> None:
        """Send a piece.

        Raises
        ------
        BrokenPipeError
            The client took too long; for Gunicorn, one that has gone.
        """
        rest = memoryview(data)
        while rest:
            self._sock.settimeout(max(self._left, 0.001))
            began = time.monotonic()
            try:
                sent = self._sock.send(rest)
            except TimeoutError:
                raise BrokenPipeError(errno.EPIPE, "the answer is not taken") from None
            rest = rest[sent:]
            earned = sent / BYTES_A_SECOND - (time.monotonic() - began)
            self._left = min(self._left + earned, SEND_SECONDS)


class HandedOffConnection(TConn):  # type: ignore[misc]
    """A connection as Gunicorn's own code sees it, with what has been read of it so far."""

    def __init__(self, cfg: Any, client: Client) -> None:
        super().__init__(cfg, DeadlineSocket(client.sock), client.address, client.server)
        self.parser = get_parser(cfg, client.sock, client.address)
        self.parser.unreader = DeadlineReader(client.sock, client.data)
        self.initialized = True

    def init(self) -> None:
        """Bound how long the client may take to receive a piece of the answer."""
        self.sock.settimeout(SEND_SECONDS)
