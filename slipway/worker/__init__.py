"""A Gunicorn worker that reads on one loop, so that slow clients wait and nobody else does.

``gunicorn.conf.py`` chooses it; ``docs/worker.md`` shows what goes where, and why.
"""

from __future__ import annotations

import socket
from typing import Any

from gunicorn.http.message import _check_fast_parser
from gunicorn.workers.gthread import ThreadWorker

from slipway.worker.clients import TooSlow
from slipway.worker.loop import Loop
from slipway.worker.refusals import too_slow

__all__ = ["LoopWorker"]


class LoopWorker(ThreadWorker):  # type: ignore[misc]
    """Gunicorn's threaded worker, with a loop before its threads.

    Small whole requests are answered on the loop. Whatever is unusual goes to the threads, on
    Gunicorn's own code. Where the loop cannot read at all (TLS, HTTP/2, Unix sockets, the PROXY
    protocol, no parser in C) this is Gunicorn's worker unchanged.
    """

    def run(self) -> None:
        """Serve until told to stop."""
        if _is_plain(self.cfg) and all(
            listener.sock.family in (socket.AF_INET, socket.AF_INET6) for listener in self.sockets
        ):
            Loop(self).run()
        else:
            self.log.warning("not plain HTTP/1.1 over TCP: served by Gunicorn's threads alone")
            super().run()

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Answer what went wrong in Gunicorn's own code; a slow client is no fault of ours."""
        if isinstance(exc, TooSlow):
            client.sendall(too_slow())
        else:
            super().handle_error(req, client, addr, exc)

    def _keepalive_after(self, conn: Any, keepalive: bool) -> bool:
        """Whether a connection goes on; not if its client takes too long over what nobody read."""
        try:
            return bool(super()._keepalive_after(conn, keepalive))
        except TooSlow:
            return False


def _is_plain(cfg: Any) -> bool:
    """Whether clients speak plain HTTP/1.1 by these settings."""
    return (
        not cfg.is_ssl
        and cfg.protocol == "http"
        and cfg.proxy_protocol == "off"
        and cfg.http2_cleartext not in ("prior-knowledge", "upgrade", "both")
        and _check_fast_parser(cfg)
    )
