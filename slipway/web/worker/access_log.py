"""Gunicorn's access log and request hooks, for requests that the loop serves."""

from __future__ import annotations

from datetime import datetime
from types import SimpleNamespace
from typing import Any

from gunicorn.glogging import Logger

from slipway.web.worker.response import Response


class AccessLog:
    """The access log and the hooks of a worker's settings; does nothing if none is set.

    Parameters
    ----------
    worker : LoopWorker
    """

    def __init__(self, worker: Any) -> None:
        self._worker, self._cfg, self._log = worker, worker.cfg, worker.log
        hooks = [worker.cfg.settings[name] for name in ("pre_request", "post_request")]
        self.is_enabled = (
            worker.log.access_log_enabled
            or type(worker.log) is not Logger
            or any(hook.get() is not hook.default for hook in hooks)
        )

    def begin(self, environ: dict[str, Any]) -> tuple[datetime, SimpleNamespace] | None:
        """Call the hook ``pre_request``, and return the start of the log entry."""
        if not self.is_enabled:
            return None
        request = self.describe_request(environ)
        self._cfg.pre_request(self._worker, request)
        return datetime.now(), request

    def end(
        self,
        entry: tuple[datetime, SimpleNamespace] | None,
        environ: dict[str, Any],
        response: Response,
    ) -> None:
        """Log the response, and call the hook ``post_request``."""
        if entry is None:
            return
        started, request = entry
        try:
            self._log.access(response, request, environ, datetime.now() - started)
            self._cfg.post_request(self._worker, request, environ, response)
        except Exception:
            self._log.exception("Exception in post_request hook")

    @staticmethod
    def describe_request(environ: dict[str, Any]) -> SimpleNamespace:
        """Return a request with the attributes that hooks and logs read."""
        headers = [
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
            headers=headers,
            body=environ.get("wsgi.input"),
            should_close=lambda: True,
        )
