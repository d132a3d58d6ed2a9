"""The response of a WSGI application, and its bytes in Gunicorn's format."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from gunicorn import SERVER, util
from gunicorn.http.errors import InvalidResponseHeader, InvalidResponseHeaderName
from gunicorn.http.message import TOKEN_RE
from gunicorn.http.wsgi import HEADER_VALUE_RE, STATUS_RE

from slipway.web.headers import Wsgi
from slipway.web.worker.connection import Request

# A thread sends longer bodies, and those of unknown length.
MAX_SHORT_BODY = 256 * 1024
_WITHOUT_BODY = ("1", "204", "304")


class Response:
    """Status, headers and written bytes of a response.

    Attributes
    ----------
    status : str
    headers : list of tuple
    written : list of bytes
        Bytes from WSGI's legacy ``write()``, which ``start_response`` returns.
    length : int or None
        The ``Content-Length`` of the application.
    sent : int
        Bytes of the body, for the access log.
    """

    __slots__ = ("headers", "length", "sent", "status", "written")

    def __init__(self) -> None:
        self.status = ""
        self.headers: list[tuple[str, str]] = []
        self.written: list[bytes] = []
        self.length: int | None = None
        self.sent = 0

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        """Set status and headers, which are sent with the first piece of the body."""
        if self.status and not exc_info:
            raise AssertionError("Response headers already set!")
        self.status, self.headers, self.length = status, headers, None
        for name, value in headers:
            if name.lower() == "content-length":
                self.length = int(value)
        return self.written.append

    @property
    def has_body(self) -> bool:
        """Return whether HTTP allows a body with this status."""
        return not self.status.startswith(_WITHOUT_BODY)

    @property
    def is_short(self) -> bool:
        """Return whether the loop can send the response in one piece."""
        return not self.has_body or (self.length is not None and self.length <= MAX_SHORT_BODY)

    def build_head(self, request: Request, keep: bool) -> bytes:
        """Return the bytes of the status line and the headers.

        Raises
        ------
        InvalidResponseHeader, InvalidResponseHeaderName, ValueError
            The status or a header of the application is malformed.
        """
        lines = [_format_status_line(request.minor, self.status), _format_date(int(time.time()))]
        lines.append("Connection: keep-alive\r\n" if keep else "Connection: close\r\n")
        if self.length is None and self.has_body and request.minor:
            lines.append("Transfer-Encoding: chunked\r\n")
        for name, value in self.headers:
            lines.append(_format_header(name, value))
        lines.append("\r\n")
        return "".join(lines).encode("latin-1")

    def build_body(self, first: bytes, rest: Iterator[bytes]) -> bytes:
        """Return the bytes of a short body."""
        body = b"".join([*self.written, first, *rest])[: self.length]
        body = body if self.has_body else b""
        self.sent = len(body)
        return body

    def iterate_body(self, first: bytes, rest: Iterator[bytes], minor: int) -> Iterator[bytes]:
        """Yield a long body in pieces, chunked if its length is unknown."""
        chunked = self.length is None and minor == 1
        for pieces in (iter([*self.written, first]), rest):
            for piece in pieces:
                data = piece if self.length is None else piece[: self.length - self.sent]
                self.sent += len(data)
                if data:
                    yield b"%X\r\n%b\r\n" % (len(data), data) if chunked else data
        if chunked:
            yield b"0\r\n\r\n"


# The iterable that an application returned, its iterator, and the first piece.
AppResult = tuple[Any, Iterator[bytes], bytes]


@dataclass(slots=True)
class Call:
    """A call of a WSGI application.

    Attributes
    ----------
    request : Request
    keep : bool
        Whether the connection stays open after the response.
    log_entry : tuple or None
        Start of the access log's entry.
    response : Response
    """

    request: Request
    keep: bool
    log_entry: Any = None
    response: Response = field(default_factory=Response)

    def run(self, wsgi: Wsgi) -> AppResult:
        """Call the application, and get the first piece, which may set the status."""
        result = wsgi(self.request.environ, self.response.start_response)
        pieces = iter(result)
        return result, pieces, next(pieces, b"")


@lru_cache(maxsize=64)
def _format_status_line(minor: int, status: str) -> str:
    if not STATUS_RE.fullmatch(status):
        raise ValueError(f"Invalid status {status!r}")
    return f"HTTP/1.{minor} {status}\r\nServer: {SERVER}\r\n"


@lru_cache(maxsize=2)
def _format_date(second: int) -> str:
    return f"Date: {util.http_date(second)}\r\n"


@lru_cache(maxsize=512)
def _format_header(name: str, value: str) -> str:
    """Return the line of a header; empty for hop-by-hop headers, which applications may not set."""
    if not TOKEN_RE.fullmatch(name):
        raise InvalidResponseHeaderName(repr(name))
    if not HEADER_VALUE_RE.fullmatch(value):
        raise InvalidResponseHeader(repr(name))
    trimmed = value.strip(" \t")
    return "" if util.is_hoppish(name) else f"{name}: {trimmed}\r\n"
