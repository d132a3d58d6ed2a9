"""Follow an alias of a registry in a process that serves.

On each machine one process, the ``RegistryPoller``, polls the registry and records the version that
passed its checks. All processes follow that record. The registry is polled once, a version is
fetched once, and a serving process loads it only after another process has checked it.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime

from slipway.core.errors import ModelError, SlipwayError
from slipway.core.settings import Reference, Settings
from slipway.serving.rollout.startup import build_probe_request, load_version
from slipway.serving.rollout.version_cache import AliasState, VersionCache
from slipway.serving.rollout.version_probe import VersionRejected, probe
from slipway.serving.service import PredictionService

# Seconds before a process retries a version that it could not load.
RETRY_SECONDS = 10.0
_log = logging.getLogger(__name__)


class RegistryPoller:
    """Polls the registry for all processes of a machine while it holds the leader's lock.

    Parameters
    ----------
    settings : Settings
    reference : Reference

    Attributes
    ----------
    problem : str
        Why the state of the alias could not be recorded; empty if it was.
    n_rejected, polls_failed : int
    """

    def __init__(self, settings: Settings, reference: Reference) -> None:
        self.problem = ""
        self.n_rejected = self.polls_failed = 0
        self._settings, self._reference = settings, reference
        self._cache = VersionCache(settings.cache, reference)
        self._rejected: VersionRejected | None = None
        self._logged_problem = ""
        self._reload_mark = 0
        self._next_poll = 0.0

    def poll(self) -> None:
        """Poll the registry if a poll is due and this process is the leader."""
        if not self._cache.acquire_leadership():
            return
        state, mark = self._cache.read() or AliasState(""), self._cache.reload_mark()
        if self._reference.is_fixed and state.version == self._reference.name:
            return
        if mark not in (self._reload_mark, state.asked):
            self._rejected = None
        elif not self._settings.poll or time.monotonic() < self._next_poll:
            return
        self._reload_mark, self._next_poll = mark, time.monotonic() + self._settings.poll
        self._record(state, self._resolve(state, mark))

    def _resolve(self, state: AliasState, mark: int) -> AliasState:
        """Return the current state of the alias."""
        rejected, number = self._rejected.version if self._rejected else "", state.number
        request = build_probe_request(self._settings, self._reference, state, rejected)
        try:
            status = probe(request)
            version, number = status.version, status.number
            if self._rejected and version == self._rejected.version:
                raise self._rejected
            self._rejected, problem = None, ""
        except VersionRejected as error:
            version, problem = state.version, error.message
            self.n_rejected += problem != self._logged_problem
            self._rejected = error if error.is_permanent else None
        except ModelError as error:
            version, problem = state.version, error.message
            self.polls_failed += 1
        self._log_problem(problem)
        return AliasState(version, problem, mark, number)

    def _log_problem(self, problem: str) -> None:
        """Log a problem once, not at each poll."""
        if problem and problem != self._logged_problem:
            _log.error("alias %s not updated: %s", self._reference.name, problem)
        elif self._logged_problem and not problem:
            _log.warning("alias %s recovered", self._reference.name)
        self._logged_problem = problem

    def _record(self, before: AliasState, now: AliasState) -> None:
        """Write a changed state for the other processes."""
        try:
            if now != before:
                self._cache.write(now)
            self.problem = ""
        except ModelError as error:
            self.problem = error.message
        if now.version != before.version:
            self._cache.evict_unused()


class AliasFollower:
    """Keeps this process at the version that the poller recorded.

    Parameters
    ----------
    settings : Settings
    reference : Reference
    service : PredictionService, optional
        The service that this process starts with.
    serve : callable
        Called with the service of each new version, loaded and warmed up.

    Attributes
    ----------
    version, since : str
    problem : str
        Why this process does not serve the recorded version; empty if it does.
    swaps, n_rejected : int
    """

    def __init__(
        self,
        settings: Settings,
        reference: Reference,
        service: PredictionService | None,
        serve: Callable[[PredictionService], None],
    ) -> None:
        self.version = service.version if service else ""
        self.since, self.problem = _now(), ""
        self.swaps = self.n_rejected = 0
        self.cache = VersionCache(settings.cache, reference)
        self._settings, self._serve, self._name = settings, serve, reference.name
        self._failed, self._retry_at = "", 0.0

    def poll(self) -> None:
        """Load the pinned or recorded version if this process serves another one."""
        state = self.cache.read()
        target = self.cache.pinned() or (state.version if state else "")
        if target in ("", self.version):
            self._failed = self.problem = ""
        elif target != self._failed or time.monotonic() > self._retry_at:
            self._load(target)

    def _load(self, target: str) -> None:
        """Load a version beside the served one, then serve it."""
        try:
            service = load_version(self._settings, self.cache, target)
        except SlipwayError as error:
            if target != self._failed:
                self.n_rejected += 1
                _log.error("cannot load %s: %s", target, error.message)
            self.problem = f"cannot load {target}: {error.message}"
            self._failed, self._retry_at = target, time.monotonic() + RETRY_SECONDS
            return
        self._serve(service)
        self.swaps += 1
        self.version, self.since, self.problem, self._failed = target, _now(), "", ""
        _log.warning("%s: %s serves in process %s", self._name, target, os.getpid())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
