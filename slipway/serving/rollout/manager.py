"""What a worker does beside serving: follow its references, and tell how it stands.

Nothing here is started before the fork, and nothing at all where a file is served.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Any

from slipway.core.settings import Reference, Settings
from slipway.serving.rollout.alias_follower import AliasFollower, RegistryPoller
from slipway.serving.rollout.shadow import ShadowModel, summary
from slipway.serving.rollout.worker_status import WorkerStatus, WorkerStatusBoard
from slipway.serving.service import PredictionService

# How often is looked at what is written down on this machine; two small files are read.
TICK = 0.5
# How often the candidate is asked what has been answered meanwhile.
SHADOW_TICK = 0.05
_log = logging.getLogger(__name__)


class RolloutManager:
    """The references of a process.

    Parameters
    ----------
    settings : Settings
    live : PredictionService, optional
        What is served at first.
    serve : callable
        Puts another version in its place, in one step.
    """

    def __init__(
        self,
        settings: Settings,
        live: PredictionService | None,
        serve: Callable[[PredictionService], None],
    ) -> None:
        self._board = WorkerStatusBoard()
        self._live, self._serve = live, serve
        self._stop = threading.Event()
        self._leaders: list[RegistryPoller] = []
        self._model: AliasFollower | None = None
        self._shadowed: AliasFollower | None = None
        self._shadow: ShadowModel | None = None
        if settings.reference and not settings.reference.is_fixed:
            self._model = AliasFollower(settings, settings.reference, live, self._take)
            self._follow(settings, settings.reference)
        if settings.shadow:
            self._shadow = ShadowModel()
            self._shadowed = AliasFollower(settings, settings.shadow, None, self._shadow.take)
            self._follow(settings, settings.shadow)

    def _follow(self, settings: Settings, reference: Reference) -> None:
        self._leaders.append(RegistryPoller(settings, reference))

    def start(self) -> None:
        """Catch up with what was found out since the master began, and follow from now on."""
        if self._live is not None:
            self._observe(self._live)
        if self._model:
            self._model.swaps = 0
        self._guarded(self._catch_up)
        tasks: list[tuple[Callable[[], None], float]] = [
            (self._catch_up, TICK),
            (self._lead, TICK),
        ]
        if self._shadow is not None:
            tasks.append((self._shadow.turn, SHADOW_TICK))
        for do, seconds in tasks:
            name = f"slipway{do.__name__}"
            threading.Thread(target=self._run, args=(do, seconds), name=name, daemon=True).start()

    def stop(self) -> None:
        """Let the threads end."""
        self._stop.set()

    def before_reload(self) -> None:
        """Take what serves by now into the master, and let the registry be asked at once.

        New workers then begin with the present version, and share its memory. The master itself
        asks nothing, and whatever goes wrong is left to the workers.
        """
        for follower in self._followers():
            self._guarded(follower.cache.request_reload)
        if self._model:
            self._guarded(self._model.turn)

    @property
    def pinned(self) -> str:
        """The version that this machine was told to stay with."""
        return self._model.cache.pinned() if self._model else ""

    @property
    def problem(self) -> str:
        """Why the model that is served may not be the one that should be; empty if it is."""
        if self._model is None:
            return ""
        standing = self._model.cache.read()
        told = [standing.problem if standing else "", *(row.problem for row in self._board.read())]
        return next(filter(None, told), "")

    def workers(self) -> list[WorkerStatus]:
        """Give what each worker of this master tells."""
        return self._board.read()

    def describe(self) -> dict[str, Any]:
        """Tell of all workers, and how the candidate compares."""
        rows = self.workers()
        told = [{name: getattr(row, name) for name in row.__struct_fields__[:-1]} for row in rows]
        described: dict[str, Any] = {"pinned": self.pinned or None, "workers": told}
        if self._shadowed is not None:
            standing = self._shadowed.cache.read()
            described["shadow"] = {
                "problem": standing.problem if standing else "",
                "comparison": self._compared(rows),
            }
        return described

    def _compared(self, rows: list[WorkerStatus]) -> dict[str, Any] | None:
        """Tell how the candidate compares, over all workers."""
        candidate = self._shadow.candidate if self._shadow else None
        if candidate is None or self._live is None:
            return None
        tallies = [row.shadow for row in rows if row.shadow]
        return summary(tallies, self._live.version, candidate.version)

    def _followers(self) -> list[AliasFollower]:
        return [each for each in (self._model, self._shadowed) if each]

    def _take(self, live: PredictionService) -> None:
        self._observe(live)
        self._live = live
        self._serve(live)

    def _observe(self, live: PredictionService) -> None:
        live.observers = (self._shadow,) if self._shadow else ()

    def _catch_up(self) -> None:
        for follower in self._followers():
            follower.turn()
        self._board.write(self._row())

    def _lead(self) -> None:
        for leader in self._leaders:
            leader.turn()

    def _row(self) -> WorkerStatus:
        """Tell how this worker stands."""
        model = self._model
        # The first leader is that of the served model, where one is followed.
        leader = self._leaders[0] if model else None
        return WorkerStatus(
            pid=os.getpid(),
            version=self._live.version if self._live else "",
            since=model.since if model else "",
            problem=(model.problem if model else "") or (leader.problem if leader else ""),
            swaps=model.swaps if model else 0,
            refused=(model.refused if model else 0) + (leader.refused if leader else 0),
            polls_failed=leader.polls_failed if leader else 0,
            shadow=self._shadow.read() if self._shadow else None,
        )

    def _run(self, do: Callable[[], None], seconds: float) -> None:
        while not self._stop.wait(seconds):
            self._guarded(do)

    def _guarded(self, do: Callable[[], None]) -> None:
        """Do something whose failure must not end the thread, nor the worker."""
        try:
            do()
        except Exception:
            _log.exception("following the registry failed; it goes on")
