"""From an application's answer to bytes, as Gunicorn writes them."""

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

# What is longer, or of no known length, is sent by a thread.
MAX_AT_ONCE = 256 * 1024
_WITHOUT_BODY = ("1", "204", "304")


class Response:
    """What an application says, gathered by ``start`` (WSGI's ``start_response``).

    Attributes
    ----------
    status : str
    headers : list of tuple
    written : list of bytes
        By the old way of WSGI, the function that ``start`` returns.
    length : int or None
        As the application declares it.
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

    def start(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        """Take status and headers; nothing is sent before the first piece of the body."""
        if self.status and not exc_info:
            raise AssertionError("Response headers already set!")
        self.status, self.headers, self.length = status, headers, None
        for name, value in headers:
            if name.lower() == "content-length":
                self.length = int(value)
        return self.written.append

    @property
    def has_body(self) -> bool:
        """Whether HTTP lets this status have a body."""
        return not self.status.startswith(_WITHOUT_BODY)

    @property
    def is_short(self) -> bool:
        """Whether it can be sent at once."""
        return not self.has_body or (self.length is not None and self.length <= MAX_AT_ONCE)

    def head(self, request: Request, keep: bool) -> bytes:
        """Write status line and headers.

        Raises
        ------
        InvalidResponseHeader, InvalidResponseHeaderName, ValueError
            The application would send something that is no header.
        """
        lines = [_opening(request.minor, self.status), _date(int(time.time()))]
        lines.append("Connection: keep-alive\r\n" if keep else "Connection: close\r\n")
        if self.length is None and self.has_body and request.minor:
            lines.append("Transfer-Encoding: chunked\r\n")
        for name, value in self.headers:
            lines.append(_line(name, value))
        lines.append("\r\n")
        return "".join(lines).encode("latin-1")

    def body(self, first: bytes, rest: Iterator[bytes]) -> bytes:
        """Put a short body together."""
        made = b"".join([*self.written, first, *rest])[: self.length]
        made = made if self.has_body else b""
        self.sent = len(made)
        return made

    def pieces(self, first: bytes, rest: Iterator[bytes], minor: int) -> Iterator[bytes]:
        """Frame a long body, piece by piece."""
        chunked = self.length is None and minor == 1
        for pieces in (iter([*self.written, first]), rest):
            for piece in pieces:
                whole = piece if self.length is None else piece[: self.length - self.sent]
                self.sent += len(whole)
                if whole:
                    yield b"%X\r\n%b\r\n" % (len(whole), whole) if chunked else whole
        if chunked:
            yield b"0\r\n\r\n"


# What an application returned, the iterator over it, and the first piece.
Called = tuple[Any, Iterator[bytes], bytes]


@dataclass(slots=True)
class Call:
    """A request that an application is to answer.

    Attributes
    ----------
    request : Request
    keep : bool
        Whether the connection goes on after it.
    begun : tuple or None
        When it began, for the access log.
    answer : Answer
    """

    request: Request
    keep: bool
    begun: Any = None
    answer: Response = field(default_factory=Response)

    def run(self, wsgi: Wsgi) -> Called:
        """Call the application, which may tell its status only with the first piece."""
        result = wsgi(self.request.environ, self.answer.start)
        pieces = iter(result)
        return result, pieces, next(pieces, b"")


@lru_cache(maxsize=64)
def _opening(minor: int, status: str) -> str:
    if not STATUS_RE.fullmatch(status):
        raise ValueError(f"Invalid status {status!r}")
    return f"HTTP/1.{minor} {status}\r\nServer: {SERVER}\r\n"


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return f"Date: {util.http_date(second)}\r\n"


@lru_cache(maxsize=512)
def _line(name: str, value: str) -> str:
    """Write a header; those that are not the application's to set are left out."""
    if not TOKEN_RE.fullmatch(name):
        raise InvalidResponseHeaderName(repr(name))
    if not HEADER_VALUE_RE.fullmatch(value):
        raise InvalidResponseHeader(repr(name))
    trimmed = value.strip(" \t")
    return "" if util.is_hoppish(name) else f"{name}: {trimmed}\r\n"
