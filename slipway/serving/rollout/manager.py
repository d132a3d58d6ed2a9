"""Follow the model and shadow aliases of a worker, and report the status of all workers.

Threads start after the fork, and only where the model comes from a registry.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Any

from slipway.core.settings import Reference, Settings
from slipway.serving.rollout.alias_follower import AliasFollower, RegistryPoller
from slipway.serving.rollout.shadow import ShadowModel, summarize
from slipway.serving.rollout.worker_status import WorkerStatus, WorkerStatusBoard
from slipway.serving.service import PredictionService

# Seconds between two reads of the recorded state; a read opens two small files.
POLL_SECONDS = 0.5
# Seconds between two batches of the shadow model.
SHADOW_SECONDS = 0.05
_log = logging.getLogger(__name__)


class RolloutManager:
    """Follows the references of one process.

    Parameters
    ----------
    settings : Settings
    service : PredictionService, optional
        The service that this process starts with.
    serve : callable
        Replaces the served version in one step.
    """

    def __init__(
        self,
        settings: Settings,
        service: PredictionService | None,
        serve: Callable[[PredictionService], None],
    ) -> None:
        self._board = WorkerStatusBoard()
        self._service, self._serve = service, serve
        self._stop = threading.Event()
        self._pollers: list[RegistryPoller] = []
        self._model_follower: AliasFollower | None = None
        self._shadow_follower: AliasFollower | None = None
        self._shadow: ShadowModel | None = None
        if settings.reference and not settings.reference.is_fixed:
            self._model_follower = self._follow(settings, settings.reference, service, self._swap)
        if settings.shadow:
            self._shadow = ShadowModel()
            set_candidate = self._shadow.set_candidate
            self._shadow_follower = self._follow(settings, settings.shadow, None, set_candidate)

    def _follow(
        self,
        settings: Settings,
        reference: Reference,
        service: PredictionService | None,
        serve: Callable[[PredictionService], None],
    ) -> AliasFollower:
        self._pollers.append(RegistryPoller(settings, reference))
        return AliasFollower(settings, reference, service, serve)

    def start(self) -> None:
        """Load the version recorded since the master started, and start the threads."""
        if self._service is not None:
            self._attach_shadow(self._service)
        if self._model_follower:
            self._model_follower.swaps = 0
        self._run_safely(self._poll_followers)
        tasks: list[tuple[Callable[[], None], float]] = [
            (self._poll_followers, POLL_SECONDS),
            (self._poll_registries, POLL_SECONDS),
        ]
        if self._shadow is not None:
            tasks.append((self._shadow.drain_queue, SHADOW_SECONDS))
        for task, seconds in tasks:
            name = f"slipway-{task.__name__.strip('_')}"
            args = (task, seconds)
            threading.Thread(target=self._repeat, args=args, name=name, daemon=True).start()

    def stop(self) -> None:
        """Stop the threads after their current step."""
        self._stop.set()

    def before_reload(self) -> None:
        """Load the current version into the master, and request a poll of the registry.

        New workers then start with the current version and share its memory. The master does not
        poll the registry. It leaves every failure to the workers.
        """
        for follower in self._followers():
            self._run_safely(follower.cache.request_reload)
        if self._model_follower:
            self._run_safely(self._model_follower.poll)

    @property
    def pinned(self) -> str:
        """The version that this machine is pinned to; empty if it is not pinned."""
        return self._model_follower.cache.pinned() if self._model_follower else ""

    @property
    def problem(self) -> str:
        """Why the served version may not be the current one; empty if it is."""
        if self._model_follower is None:
            return ""
        state = self._model_follower.cache.read()
        problems = [worker.problem for worker in self._board.read()]
        return next(filter(None, [state.problem if state else "", *problems]), "")

    def workers(self) -> list[WorkerStatus]:
        """Return the status of each worker of this master."""
        return self._board.read()

    def describe(self) -> dict[str, Any]:
        """Return the status of all workers and the comparison with the shadow model."""
        workers = self.workers()
        names = WorkerStatus.__struct_fields__[:-1]
        views = [{name: getattr(worker, name) for name in names} for worker in workers]
        description: dict[str, Any] = {"pinned": self.pinned or None, "workers": views}
        if self._shadow_follower is not None:
            state = self._shadow_follower.cache.read()
            description["shadow"] = {
                "problem": state.problem if state else "",
                "comparison": self._compare_shadow(workers),
            }
        return description

    def _compare_shadow(self, workers: list[WorkerStatus]) -> dict[str, Any] | None:
        """Return the comparison with the shadow model over all workers."""
        candidate = self._shadow.candidate if self._shadow else None
        if candidate is None or self._service is None:
            return None
        stats = [worker.shadow for worker in workers if worker.shadow]
        return summarize(stats, self._service.version, candidate.version)

    def _followers(self) -> list[AliasFollower]:
        return [follower for follower in (self._model_follower, self._shadow_follower) if follower]

    def _swap(self, service: PredictionService) -> None:
        self._attach_shadow(service)
        self._service = service
        self._serve(service)

    def _attach_shadow(self, service: PredictionService) -> None:
        service.observers = (self._shadow,) if self._shadow else ()

    def _poll_followers(self) -> None:
        for follower in self._followers():
            follower.poll()
        self._board.write(self._status())

    def _poll_registries(self) -> None:
        for poller in self._pollers:
            poller.poll()

    def _status(self) -> WorkerStatus:
        """Return the status of this worker."""
        follower = self._model_follower
        # The poller of the served model comes first, if the model has one.
        poller = self._pollers[0] if follower else None
        return WorkerStatus(
            pid=os.getpid(),
            version=self._service.version if self._service else "",
            since=follower.since if follower else "",
            problem=(follower.problem if follower else "") or (poller.problem if poller else ""),
            swaps=follower.swaps if follower else 0,
            refused=(follower.n_rejected if follower else 0) + (poller.n_rejected if poller else 0),
            polls_failed=poller.polls_failed if poller else 0,
            shadow=self._shadow.read_stats() if self._shadow else None,
        )

    def _repeat(self, task: Callable[[], None], seconds: float) -> None:
        while not self._stop.wait(seconds):
            self._run_safely(task)

    def _run_safely(self, task: Callable[[], None]) -> None:
        """Run a task; log its failure, which must not end the thread or the worker."""
        try:
            task()
        except Exception:
            _log.exception("following the registry failed; the next poll retries")
