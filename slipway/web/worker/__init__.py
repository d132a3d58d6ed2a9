"""A Gunicorn worker that reads on one loop, so that slow clients wait and nobody else does.

``gunicorn.conf.py`` chooses it; ``docs/worker.md`` shows what goes where, and why.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import Any, cast

from gunicorn import util
from gunicorn.http.errors import ConfigurationProblem, NoMoreData
from gunicorn.workers.gthread import ThreadWorker

from slipway.web.worker.error_responses import Recorder, path_not_found, request_timeout_bytes
from slipway.web.worker.event_loop import EventLoop
from slipway.web.worker.request_parser import is_inside
from slipway.web.worker.timeouts import BrokenBody, CheckedBody, TooSlow

__all__ = ["LoopWorker"]


class LoopWorker(ThreadWorker):  # type: ignore[misc]
    """Gunicorn's threaded worker, with a loop before its threads.

    Small whole requests are answered on the loop. Whatever is unusual goes to the threads, on
    Gunicorn's own code. Where the loop cannot read at all (TLS, HTTP/2, Unix sockets, the PROXY
    protocol) this is Gunicorn's worker unchanged.
    """

    def run(self) -> None:
        """Serve until told to stop."""
        if _is_plain(self.cfg) and all(
            listener.sock.family in (socket.AF_INET, socket.AF_INET6) for listener in self.sockets
        ):
            EventLoop(self).run()
        else:
            self.log.warning("not plain HTTP/1.1 over TCP: served by Gunicorn's threads alone")
            super().run()

    def handle_request(self, req: Any, conn: Any) -> bool:
        """Answer a request in a thread, unless its path is not one of this service."""
        if not is_inside(req.path, os.environ.get("SCRIPT_NAME", "")):
            raise ConfigurationProblem("the path is outside SCRIPT_NAME")
        req.body.reader = CheckedBody(req, conn.parser.unreader)
        return bool(super().handle_request(req, conn))

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Send the response to a request that Gunicorn's own code rejects.

        Gunicorn writes to a recorder, because its responses lack the security headers. It raises
        ``ConfigurationProblem`` only for a path outside ``SCRIPT_NAME``.
        """
        if isinstance(exc, TooSlow):
            client.sendall(request_timeout_bytes())
            return
        if isinstance(exc, BrokenBody):
            exc = cast(Exception, exc.__cause__)
            # Nobody reads a response to a request that was cut off.
            if isinstance(exc, NoMoreData):
                return
        if isinstance(exc, ConfigurationProblem):
            response = path_not_found(self, req, client, addr or ("", -1))
        else:
            recorder = Recorder()
            super().handle_error(req, recorder, addr, exc)
            response = recorder.with_headers()
        # The client may have gone, which is no concern of the loop.
        with suppress(OSError):
            util.write_nonblock(client, response)

    def _keepalive_after(self, conn: Any, keepalive: bool) -> bool:
        """Whether a connection goes on; not if the rest of its body is late or broken.

        The request has its response by then, and a second one would be taken for the next.
        """
        try:
            return bool(super()._keepalive_after(conn, keepalive))
        except (TooSlow, BrokenBody):
            return False


def _is_plain(cfg: Any) -> bool:
    """Whether clients speak plain HTTP/1.1 by these settings."""
    return (
        not cfg.is_ssl
        and cfg.protocol == "http"
        and cfg.proxy_protocol == "off"
        and cfg.http2_cleartext not in ("prior-knowledge", "upgrade", "both")
    )
