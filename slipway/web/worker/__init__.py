"""A Gunicorn worker that reads all clients on one loop, so that slow clients delay no others.

``gunicorn.conf.py`` selects it, and ``docs/worker.md`` describes it.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import Any, cast

from gunicorn import util
from gunicorn.http.errors import ConfigurationProblem, NoMoreData
from gunicorn.workers.gthread import ThreadWorker

from slipway.web.worker.error_responses import SocketRecorder, path_not_found, request_timeout_bytes
from slipway.web.worker.event_loop import EventLoop
from slipway.web.worker.request_parser import is_inside
from slipway.web.worker.timeouts import BrokenBody, CheckedBody, RequestTimeout

__all__ = ["LoopWorker"]


class LoopWorker(ThreadWorker):  # type: ignore[misc]
    """Gunicorn's threaded worker, with a loop before its threads.

    The loop serves small, complete requests. The threads serve all others with Gunicorn's own code.
    With TLS, HTTP/2, Unix sockets or the PROXY protocol, this is Gunicorn's worker unchanged.
    """

    def run(self) -> None:
        """Serve until the worker stops."""
        if _is_plain(self.cfg) and all(
            listener.sock.family in (socket.AF_INET, socket.AF_INET6) for listener in self.sockets
        ):
            EventLoop(self).run()
        else:
            self.log.warning("not plain HTTP/1.1 over TCP; Gunicorn's threads serve all requests")
            super().run()

    def handle_request(self, req: Any, conn: Any) -> bool:
        """Serve a request in a thread, unless its path is outside ``SCRIPT_NAME``."""
        if not is_inside(req.path, os.environ.get("SCRIPT_NAME", "")):
            raise ConfigurationProblem("the path is outside SCRIPT_NAME")
        req.body.reader = CheckedBody(req, conn.parser.unreader)
        return bool(super().handle_request(req, conn))

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Send the response to a request that Gunicorn's own code rejects.

        Gunicorn writes to a recorder, because its responses lack the security headers. It raises
        ``ConfigurationProblem`` only for a path outside ``SCRIPT_NAME``.
        """
        if isinstance(exc, RequestTimeout):
            client.sendall(request_timeout_bytes())
            return
        if isinstance(exc, BrokenBody):
            exc = cast(Exception, exc.__cause__)
            # The client of an incomplete request has closed its connection.
            if isinstance(exc, NoMoreData):
                return
        if isinstance(exc, ConfigurationProblem):
            response = path_not_found(self, req, client, addr or ("", -1))
        else:
            recorder = SocketRecorder()
            super().handle_error(req, recorder, addr, exc)
            response = recorder.add_headers()
        # The client may have closed its connection.
        with suppress(OSError):
            util.write_nonblock(client, response)

    def _keepalive_after(self, conn: Any, keepalive: bool) -> bool:
        """Return whether to keep a connection; False if the rest of its body is late or malformed.

        An error response would look like the response to the next request, because this request
        already has its own.
        """
        try:
            return bool(super()._keepalive_after(conn, keepalive))
        except (RequestTimeout, BrokenBody):
            return False


def _is_plain(cfg: Any) -> bool:
    """Return whether these settings mean plain HTTP/1.1."""
    return (
        not cfg.is_ssl
        and cfg.protocol == "http"
        and cfg.proxy_protocol == "off"
        and cfg.http2_cleartext not in ("prior-knowledge", "upgrade", "both")
    )
