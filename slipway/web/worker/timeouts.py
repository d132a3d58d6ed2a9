"""Time limits for clients, on the sockets that Gunicorn's code reads and writes."""

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

# Seconds that a client may take for its headers, and then for its body.
REQUEST_TIMEOUT = float(os.environ.get("SLIPWAY_CLIENT_SECONDS", "10"))
# A large body may take longer if it arrives at this rate.
MIN_BYTES_PER_SECOND = 16 * 1024
# Seconds that a client may receive nothing; otherwise it must receive at the rate above.
SEND_TIMEOUT = 3 * REQUEST_TIMEOUT

# Bytes of framing that a chunked body may have in addition to the size of its data. Parsing a chunk
# of one byte takes microseconds. The limit includes Gunicorn's read-ahead of up to 1 MiB.
MAX_FRAMING = 3 * 512 * 1024


class RequestTimeout(SlipwayError):
    """The request takes too long to arrive."""

    status = 408
    code = "request_timeout"

    def __init__(self) -> None:
        super().__init__("the request took too long to arrive")


class BrokenBody(SlipwayError):
    """The chunks of a body are malformed, incomplete or too small."""

    status = 400
    code = "bad_request"

    def __init__(self) -> None:
        super().__init__("invalid body: its chunks are malformed, incomplete or too small")


class DeadlineReader(SocketUnreader):  # type: ignore[misc]
    """Gunicorn's reader of a socket, with a time limit.

    Only the time in ``recv`` counts, so that a busy service does not use up its clients' time.

    Parameters
    ----------
    sock : socket.socket
    data : bytes or bytearray
        Bytes that the loop has read: this request, and perhaps pipelined ones.

    Attributes
    ----------
    n_read : int
        Number of bytes read.
    limit : float
        Maximum number of bytes.
    """

    def __init__(self, sock: socket.socket, data: bytes | bytearray) -> None:
        super().__init__(sock)
        self._data, self._position = data, 0
        self._seconds_left = REQUEST_TIMEOUT
        self.n_read, self.limit = 0, math.inf

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Read a piece.

        Raises
        ------
        InvalidChunkSize
            The chunks of the body are too small.
        """
        if self.n_read > self.limit:
            raise InvalidChunkSize(b"too small for so many of them")
        data = self._read_piece(size_hint)
        self.n_read += len(data)
        return data

    def _read_piece(self, size_hint: int | None) -> bytes:
        """Read a piece; the bytes from the loop come first, in pieces of Gunicorn's size."""
        if self._position < len(self._data):
            size = max(size_hint or 0, self.mxchunk)
            piece = bytes(self._data[self._position : self._position + size])
            self._position += len(piece)
            return piece
        if self._seconds_left <= 0:
            raise RequestTimeout
        started = time.monotonic()
        self.sock.settimeout(min(self._seconds_left, REQUEST_TIMEOUT))
        try:
            data: bytes = super().chunk(size_hint)
        except TimeoutError:
            raise RequestTimeout from None
        finally:
            self.sock.settimeout(SEND_TIMEOUT)
        self._seconds_left += len(data) / MIN_BYTES_PER_SECOND - (time.monotonic() - started)
        return data

    def read_remaining(self) -> bytes | bytearray:
        """Return the bytes after the request."""
        buffered: bytes = self.take_buffered()
        if self._position == len(self._data):
            return buffered
        # Nothing was read from the socket yet, so the buffer ends where the next piece begins.
        return after_bytes(self._data, self._position - len(buffered))


class CheckedBody:
    """The reader of a request's body, which reports malformed bodies as errors of the client.

    The application gets a ``SlipwayError``, whose cause is Gunicorn's own error.
    """

    def __init__(self, req: Any, unreader: Any) -> None:
        self._req, self._reader = req, req.body.reader
        is_bounded = isinstance(self._reader, ChunkedReader) and isinstance(
            unreader, DeadlineReader
        )
        self._unreader: DeadlineReader | None = unreader if is_bounded else None
        self._limit = self._unreader.n_read + MAX_FRAMING if self._unreader else 0

    def read(self, size: int) -> bytes:
        """Read a piece.

        Raises
        ------
        BrokenBody
        """
        if self._unreader:
            self._unreader.limit = self._limit + 2 * size
        try:
            data: bytes = self._reader.read(size)
        except (ParseException, NoMoreData) as error:
            # The start of the next request is unknown.
            self._req.must_close = True
            raise BrokenBody from error
        self._limit += 2 * len(data)
        return data


class DeadlineSocket:
    """A socket for sending, with a minimum rate.

    Python's own timeout starts again with every piece. A client that receives little of each piece
    could occupy a thread for hours.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._seconds_left = SEND_TIMEOUT

    def __getattr__(self, name: str) -> Any:
        """Return any other attribute of the socket, for Gunicorn's code."""
        return getattr(self._sock, name)

    def sendall(self, data: bytes) -> None:
        """Send a piece.

        Raises
        ------
        BrokenPipeError
            The client was too slow. Gunicorn treats it as disconnected.
        """
        remaining = memoryview(data)
        while remaining:
            self._sock.settimeout(max(self._seconds_left, 0.001))
            started = time.monotonic()
            try:
                sent = self._sock.send(remaining)
            except TimeoutError:
                raise BrokenPipeError(errno.EPIPE, "the client is too slow") from None
            remaining = remaining[sent:]
            seconds_earned = sent / MIN_BYTES_PER_SECOND - (time.monotonic() - started)
            self._seconds_left = min(self._seconds_left + seconds_earned, SEND_TIMEOUT)


class HandedOffConnection(TConn):  # type: ignore[misc]
    """A connection for Gunicorn's own code, with the bytes that the loop has read."""

    def __init__(self, cfg: Any, client: Client) -> None:
        super().__init__(cfg, DeadlineSocket(client.sock), client.address, client.server)
        self.parser = get_parser(cfg, client.sock, client.address)
        self.parser.unreader = DeadlineReader(client.sock, client.data)
        self.initialized = True

    def init(self) -> None:
        """Limit the time that the client may take to receive a piece of the response."""
        self.sock.settimeout(SEND_TIMEOUT)
