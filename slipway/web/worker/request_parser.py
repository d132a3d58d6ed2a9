"""From bytes to a WSGI environ, for requests that hold nothing unusual.

The reader accepts heads of printable ASCII lines within Gunicorn's limits. ``Reader.read`` returns
None for all other requests (a repeated header, a transfer coding, an underscore in a name, a
malformed head), and Gunicorn's own code gets their bytes. So the loop only accepts a subset.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache, partial
from typing import Any

from gunicorn import util
from gunicorn.http.message import (
    DEFAULT_MAX_HEADERFIELD_SIZE,
    MAX_HEADERS,
    MAX_REQUEST_LINE,
    _ip_in_allow_list,
)
from gunicorn.http.wsgi import base_environ

from slipway.web.worker.connection import READING, Client, Request

# Larger requests would hold up the loop, or fill the memory while they come in slowly.
MAX_HEAD, MAX_BODY = 16 * 1024, 64 * 1024
_EOL, _END = "\r\n", b"\r\n\r\n"
_PRINTABLE = bytes(range(ord(" "), ord("~") + 1))
_LINE = re.compile(r"(GET|POST) (/[!-~]*) (HTTP/1\.[01])")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# These change how the rest is read.
_UNUSUAL = {"TRANSFER-ENCODING", "EXPECT", "UPGRADE", "HTTP2-SETTINGS", "TRAILER", "TE"}


class IncompleteError(Exception):
    """The head has not arrived completely."""


class Reader:
    """Reads requests under a worker's settings."""

    def __init__(self, cfg: Any) -> None:
        self._cfg = cfg
        line, fields = cfg.limit_request_line, cfg.limit_request_fields
        self._max_line = line if 0 < line < MAX_REQUEST_LINE else MAX_REQUEST_LINE
        self._max_fields = min(fields, MAX_HEADERS) or MAX_HEADERS
        field = cfg.limit_request_field_size or DEFAULT_MAX_HEADERFIELD_SIZE
        self._max_field = field - len(_EOL)
        self._common: dict[str, Any] = base_environ(cfg) | {
            "wsgi.multithread": True,
            "wsgi.url_scheme": "http",
            "SCRIPT_NAME": os.environ.get("SCRIPT_NAME", ""),
            # What a log shows of a request that never came.
            **dict.fromkeys(("REQUEST_METHOD", "RAW_URI", "PATH_INFO", "SERVER_PROTOCOL"), "-"),
            "QUERY_STRING": "",
        }
        self._schemes = [
            ("HTTP_" + name.replace("-", "_"), value)
            for name, value in cfg.secure_scheme_headers.items()
        ]
        self._first = lru_cache(maxsize=512)(partial(_read_first, self._common["SCRIPT_NAME"]))
        self._trusts = lru_cache(maxsize=512)(self._trusts_address)

    def environ(self, sock: Any, address: Any, server: Any) -> dict[str, Any]:
        """Give what all requests of a connection have in common."""
        own = {
            "gunicorn.socket": sock,
            "REMOTE_ADDR": address[0],
            "REMOTE_PORT": str(address[1]),
            "SERVER_NAME": server[0],
            "SERVER_PORT": str(server[1]),
        }
        return self._common | own

    def read(self, client: Client) -> Request | None:
        """Read the head of a request.

        Returns
        -------
        Request or None
            None if Gunicorn has to read it.

        Raises
        ------
        IncompleteError
            The rest of the head has not arrived.
        """
        begin = _find_body(client)
        lines = self._split(client.data, begin)
        first = self._first(lines[0]) if lines else None
        if first is None:
            return None
        environ = client.environ | first
        if not _add_fields(environ, lines):
            return None
        minor = int(environ["SERVER_PROTOCOL"] == "HTTP/1.1")
        length, keep = _length(environ), _keeps(environ, minor)
        if length is None or keep is None or not self._set_scheme(environ):
            return None
        return Request(environ, begin, begin + length, minor, keep)

    def _split(self, data: bytes | bytearray, begin: int) -> list[str]:
        """Split a head into lines; empty if it is malformed or beyond a limit."""
        end = begin - len(_END)
        if not 0 < end <= MAX_HEAD:
            return []
        head = data[:end]
        lines = head.decode("latin-1").split(_EOL)
        n_fields = len(lines) - 1
        # Without its printable ASCII, a head consists of the ends of its lines.
        if head.translate(None, _PRINTABLE) != n_fields * _EOL.encode():
            return []
        if n_fields > self._max_fields or len(lines[0]) > self._max_line:
            return []
        # Few heads are longer than a single field may be.
        if end > self._max_field and max(map(len, lines[1:]), default=0) > self._max_field:
            return []
        return lines

    def _set_scheme(self, environ: dict[str, Any]) -> bool:
        """Take the scheme from a trusted proxy; False where its headers disagree."""
        told = {environ[key] == secure for key, secure in self._schemes if key in environ}
        if told and self._trusts(environ["REMOTE_ADDR"]):
            environ["wsgi.url_scheme"] = "https" if True in told else "http"
            return len(told) == 1
        return True

    def _trusts_address(self, address: str) -> bool:
        """Whether the headers of a proxy at an address are believed."""
        cfg = self._cfg
        networks = cfg.forwarded_allow_networks()
        return bool(_ip_in_allow_list(address, cfg.forwarded_allow_ips, networks))


def _find_body(client: Client) -> int:
    """Return the index behind a head, or 0 if a bare LF ends one of its lines.

    A later call searches only the bytes that have arrived since, so that a head that arrives
    byte by byte takes linear time.

    Raises
    ------
    IncompleteError
    """
    data, begin = client.data, client.searched if client.state == READING else 0
    end = data.find(_END, max(begin - len(_END) + 1, 0))
    if end >= 0:
        return end + len(_END)
    # Gunicorn rejects it at once, for instance the first bytes of TLS.
    if data.count(b"\n", begin) != data.count(b"\r\n", max(begin - 1, 0)):
        return 0
    client.searched = len(data)
    raise IncompleteError


def _add_fields(environ: dict[str, Any], lines: list[str]) -> bool:
    """Add the fields of a head's lines; return False if Gunicorn has to read them."""
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        key = _key(name)
        if key is None or key in environ or not colon:
            return False
        environ[key] = value.strip()
    return True


def _read_first(script_name: str, line: str) -> dict[str, str] | None:
    """Read a request line, by Gunicorn's functions."""
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    method, uri, version = found.groups()
    try:
        parts = util.split_request_uri(uri)
    except ValueError:
        return None
    path = parts.path or ""
    if not path.startswith(script_name) or not is_inside(path, script_name):
        return None
    return {
        "REQUEST_METHOD": method,
        "RAW_URI": uri,
        "PATH_INFO": util.unquote_to_wsgi_str(path[len(script_name) :]),
        "QUERY_STRING": parts.query or "",
        "SERVER_PROTOCOL": version,
    }


def is_inside(path: str, script_name: str) -> bool:
    """Whether a path lies below ``SCRIPT_NAME``, as ``/late/x`` below ``/late``."""
    prefix = script_name.rstrip("/")
    return not prefix or path == prefix or path.startswith(f"{prefix}/")


@lru_cache(maxsize=512)
def _key(name: str) -> str | None:
    """Return the WSGI name of a header, or None if Gunicorn has to read it."""
    text = name.upper()
    if not _TOKEN.fullmatch(name) or "_" in name or text in _UNUSUAL:
        return None
    key = text.replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


def _length(environ: dict[str, Any]) -> int | None:
    """Return the length of the body; None if it is invalid, or too long for the loop."""
    text = environ.get("CONTENT_LENGTH", "0")
    if not (text.isascii() and text.isdigit() and len(text) < 7):
        return None
    length = int(text)
    return length if length <= MAX_BODY else None


def _keeps(environ: dict[str, Any], minor: int) -> bool | None:
    """Whether the client wants to go on; None where it says something else."""
    said = environ.get("HTTP_CONNECTION")
    if said is None:
        return minor == 1
    return {"close": False, "keep-alive": True}.get(said.lower())
