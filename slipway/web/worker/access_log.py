"""Access log and hooks: nothing where they are not set, as Gunicorn calls them where they are."""

from __future__ import annotations

from datetime import datetime
from types import SimpleNamespace
from typing import Any

from gunicorn.glogging import Logger

from slipway.web.worker.response import Response


class AccessLog:
    """Tells the log and the hooks of a worker's settings what happens on the loop.

    Parameters
    ----------
    worker : LoopWorker
    """

    def __init__(self, worker: Any) -> None:
        self._worker, self._cfg, self._log = worker, worker.cfg, worker.log
        hooks = [worker.cfg.settings[name] for name in ("pre_request", "post_request")]
        self.on = (
            worker.log.access_log_enabled
            or type(worker.log) is not Logger
            or any(hook.get() is not hook.default for hook in hooks)
        )

    def begin(self, environ: dict[str, Any]) -> tuple[datetime, SimpleNamespace] | None:
        """Say that a request is about to be answered."""
        if not self.on:
            return None
        request = self.request(environ)
        self._cfg.pre_request(self._worker, request)
        return datetime.now(), request

    def end(
        self,
        begun: tuple[datetime, SimpleNamespace] | None,
        environ: dict[str, Any],
        answer: Response,
    ) -> None:
        """Say that it was answered."""
        if begun is None:
            return
        began, request = begun
        try:
            self._log.access(answer, request, environ, datetime.now() - began)
            self._cfg.post_request(self._worker, request, environ, answer)
        except Exception:
            self._log.exception("Exception in post_request hook")

    @staticmethod
    def request(environ: dict[str, Any]) -> SimpleNamespace:
        """Show a request as Gunicorn does, to hooks and logs."""
        named = [
            (name.removeprefix("HTTP_").replace("_", "-"), value)
            for name, value in environ.items()
            if name.startswith(("HTTP_", "CONTENT_"))
        ]
        return SimpleNamespace(
            method=environ["REQUEST_METHOD"],
            uri=environ["RAW_URI"],
            path=environ["RAW_URI"].partition("?")[0],
            query=environ["QUERY_STRING"],
            version=(1, 0) if environ["SERVER_PROTOCOL"] == "HTTP/1.0" else (1, 1),
            headers=named,
            body=environ.get("wsgi.input"),
            should_close=lambda: True,
        )
