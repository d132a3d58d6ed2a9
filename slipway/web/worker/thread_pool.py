"""The threads of a worker, and who waits for one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

# Where the oldest waiting request has waited this long, further ones are refused.
MAX_WAIT = 1.0
# Who came before that, and still has no thread after this long, is refused too.
GIVEN_UP = 10.0


class Pool:
    """Gunicorn's threads of a worker, under the loop's rules.

    Parameters
    ----------
    worker : LoopWorker

    Attributes
    ----------
    size : int
        Clients that are with the threads, or wait for one.
    """

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self.size = 0
        self._waiting: deque[tuple[float, Future[bool]]] = deque()

    def submit(
        self, do: Callable[..., bool], *words: Any, since: float | None = None
    ) -> Future[bool]:
        """Let a thread do something.

        Parameters
        ----------
        do : callable
        *words
            What it is called with.
        since : float, optional
            When its wait began; left out for what must not be given up.

        Returns
        -------
        Future
        """
        self.size += 1
        future: Future[bool] = self._worker.tpool.submit(do, *words)
        if since is not None:
            self._waiting.append((since, future))
        return future

    def waited(self, now: float) -> float:
        """Give how long the one that has waited for longest has."""
        while self._waiting and _has_begun(self._waiting[0][1]):
            self._waiting.popleft()
        return now - self._waiting[0][0] if self._waiting else 0.0

    def is_full(self, now: float) -> bool:
        """Whether a request would have to wait too long."""
        return self.waited(now) > MAX_WAIT

    def give_up(self, now: float) -> None:
        """Cancel what has waited too long; its client is told when the loop takes it back."""
        while self.waited(now) > GIVEN_UP:
            self._waiting.popleft()[1].cancel()


def _has_begun(future: Future[bool]) -> bool:
    return future.running() or future.done()
