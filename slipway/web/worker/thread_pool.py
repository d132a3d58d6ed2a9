"""A worker's threads, and the requests that wait for one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

# If the oldest waiting request has waited longer than this, new ones are rejected.
MAX_WAIT = 1.0
# A request without a thread after this time is rejected as well.
MAX_THREAD_WAIT = 10.0


class ThreadPool:
    """Threads with a bounded waiting time.

    Parameters
    ----------
    threads : concurrent.futures.Executor

    Attributes
    ----------
    size : int
        Number of clients that use a thread or wait for one.
    """

    def __init__(self, threads: Executor) -> None:
        self._threads = threads
        self.size = 0
        self._waiting: deque[tuple[float, Future[Any]]] = deque()

    def submit(
        self, function: Callable[..., Any], *args: Any, queued_at: float | None = None
    ) -> Future[Any]:
        """Call a function in a thread.

        Parameters
        ----------
        do : callable
        *words
            Arguments of the function.
        since : float, optional
            Time at which its wait began. A call without it is never cancelled.

        Returns
        -------
        Future
        """
        self.size += 1
        future = self._threads.submit(function, *args)
        if queued_at is not None:
            self._waiting.append((queued_at, future))
        return future

    def longest_wait(self, now: float) -> float:
        """Return the longest waiting time, in seconds."""
        while self._waiting and _has_begun(self._waiting[0][1]):
            self._waiting.popleft()
        return now - self._waiting[0][0] if self._waiting else 0.0

    def is_full(self, now: float) -> bool:
        """Return whether a new request would wait too long."""
        return self.longest_wait(now) > MAX_WAIT

    def cancel_overdue(self, now: float) -> None:
        """Cancel the calls that have waited too long; the loop then rejects their requests."""
        while self.longest_wait(now) > MAX_THREAD_WAIT:
            self._waiting.popleft()[1].cancel()

    def shut_down(self) -> None:
        """Accept no further calls."""
        self._threads.shutdown(wait=False)


def _has_begun(future: Future[Any]) -> bool:
    return future.running() or future.done()
