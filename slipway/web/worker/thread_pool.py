"""The threads of a worker, and who waits for one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

# Where the oldest waiting request has waited this long, further ones are refused.
MAX_WAIT = 1.0
# Who came before that, and still has no thread after this long, is refused too.
GIVEN_UP = 10.0


class ThreadPool:
    """Threads of a worker, under the loop's rules.

    Parameters
    ----------
    threads : concurrent.futures.Executor

    Attributes
    ----------
    size : int
        Clients that are with the threads, or wait for one.
    """

    def __init__(self, threads: Executor) -> None:
        self._threads = threads
        self.size = 0
        self._waiting: deque[tuple[float, Future[Any]]] = deque()

    def submit(
        self, do: Callable[..., Any], *words: Any, since: float | None = None
    ) -> Future[Any]:
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
        future = self._threads.submit(do, *words)
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

    def shut_down(self) -> None:
        """Take nothing further."""
        self._threads.shutdown(wait=False)


def _has_begun(future: Future[Any]) -> bool:
    return future.running() or future.done()
