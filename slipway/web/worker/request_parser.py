"""From bytes to a WSGI environ, for requests that hold nothing unusual.

Gunicorn's parser in C reads them, under Gunicorn's own limits. Whatever Gunicorn would look at
twice (a repeated header, a transfer coding, an underscore in a name) is not judged here: ``read``
gives None, and the bytes go to Gunicorn as they came. So this can only ever accept less.
"""

from __future__ import annotations

import os
from functools import lru_cache, partial
from typing import Any

from gunicorn import util
from gunicorn.http.message import (
    MAX_HEADERS,
    MAX_REQUEST_LINE,
    RFC9112_TARGET_INVALID,
    _ip_in_allow_list,
)
from gunicorn.http.wsgi import base_environ
from gunicorn_h1c import IncompleteError, ParseError, parse_request

from slipway.web.worker.connection import Client, Request

# Larger requests would hold up the loop, or fill the memory while they come in slowly.
MAX_HEAD, MAX_BODY = 16 * 1024, 64 * 1024
METHODS = {b"GET": "GET", b"POST": "POST"}
# These change how the rest is read.
_UNUSUAL = {"TRANSFER-ENCODING", "EXPECT", "UPGRADE", "HTTP2-SETTINGS", "TRAILER", "TE"}


class Reader:
    """Reads requests under a worker's settings."""

    def __init__(self, cfg: Any) -> None:
        self._cfg = cfg
        line = cfg.limit_request_line
        self._parse = partial(
            parse_request,
            limit_request_line=line if 0 < line < MAX_REQUEST_LINE else MAX_REQUEST_LINE,
            limit_request_fields=min(cfg.limit_request_fields, MAX_HEADERS) or MAX_HEADERS,
            limit_request_field_size=cfg.limit_request_field_size or 8190,
        )
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
        self._target = lru_cache(maxsize=512)(partial(_target, self._common["SCRIPT_NAME"]))
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
            None: it is for Gunicorn to judge.

        Raises
        ------
        IncompleteError
            There is more to come.
        """
        try:
            head = self._parse(client.data)
        except IncompleteError:
            raise
        except ParseError:
            return None
        method, target = METHODS.get(head["method"]), self._target(head["path"])
        if method is None or target is None or client.data[0] not in b"GP":
            return None
        environ = client.environ.copy()
        environ["REQUEST_METHOD"] = method
        environ["RAW_URI"], environ["PATH_INFO"], environ["QUERY_STRING"] = target
        environ["SERVER_PROTOCOL"] = "HTTP/1.1" if head["minor_version"] else "HTTP/1.0"
        for name, value in head["headers"]:
            key = _key(name)
            if key is None or key in environ:
                return None
            environ[key] = value.decode("latin-1")
        length = _length(environ)
        keep = _keeps(environ, head["minor_version"])
        if length is None or keep is None or not self._set_scheme(environ):
            return None
        begin = head["consumed"]
        return Request(environ, begin, begin + length, head["minor_version"], keep)

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


def _target(script_name: str, target: bytes) -> tuple[str, str, str] | None:
    """Part a target into itself, its path and its query, by Gunicorn's functions."""
    uri = target.decode("latin-1")
    if not uri.startswith("/") or RFC9112_TARGET_INVALID.search(uri):
        return None
    try:
        parts = util.split_request_uri(uri)
    except ValueError:
        return None
    path = parts.path or ""
    if not path.startswith(script_name) or not is_inside(path, script_name):
        return None
    return uri, util.unquote_to_wsgi_str(path[len(script_name) :]), parts.query or ""


def is_inside(path: str, script_name: str) -> bool:
    """Whether a path lies below ``SCRIPT_NAME``, as ``/late/x`` below ``/late``."""
    prefix = script_name.rstrip("/")
    return not prefix or path == prefix or path.startswith(f"{prefix}/")


@lru_cache(maxsize=512)
def _key(name: bytes) -> str | None:
    """Name a header as WSGI does; None for those that Gunicorn has to judge."""
    text = name.decode("latin-1").upper()
    if "_" in text or text in _UNUSUAL:
        return None
    key = text.replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


def _length(environ: dict[str, Any]) -> int | None:
    """Give the body's length; None where it is too long for the loop, or is none."""
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
