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
from slipway.serving.rollout.startup import load_version, question
from slipway.serving.rollout.version_cache import AliasState, VersionCache
from slipway.serving.rollout.version_probe import VersionRejected, probe
from slipway.serving.service import PredictionService

# What could not be loaded is tried again so often.
AGAIN_SECONDS = 10.0
_log = logging.getLogger(__name__)


class RegistryPoller:
    """The process that asks the registry, or one that would if that one ended.

    Parameters
    ----------
    settings : Settings
    reference : Reference

    Attributes
    ----------
    problem : str
        Why what it found out could not be written down.
    refused, polls_failed : int
    """

    def __init__(self, settings: Settings, reference: Reference) -> None:
        self.problem = ""
        self.refused = self.polls_failed = 0
        self._settings, self._reference = settings, reference
        self._cache = VersionCache(settings.cache, reference)
        self._bad: VersionRejected | None = None
        self._told = ""
        self._mark = 0
        self._due = 0.0

    def turn(self) -> None:
        """Ask the registry if it is time to, and if it is this process that does."""
        if not self._cache.acquire_leadership():
            return
        standing, mark = self._cache.read() or AliasState(""), self._cache.reload_mark()
        if self._reference.is_fixed and standing.version == self._reference.name:
            return
        if mark not in (self._mark, standing.asked):
            self._bad = None
        elif not self._settings.poll or time.monotonic() < self._due:
            return
        self._mark, self._due = mark, time.monotonic() + self._settings.poll
        self._write(standing, self._found(standing, mark))

    def _found(self, standing: AliasState, mark: int) -> AliasState:
        """Give what the reference stands for now."""
        bad, number = self._bad.version if self._bad else "", standing.number
        asked = question(self._settings, self._reference, standing, bad)
        try:
            said = probe(asked)
            version, number = said.version, said.number
            if self._bad and version == self._bad.version:
                raise self._bad
            self._bad, problem = None, ""
        except VersionRejected as error:
            version, problem = standing.version, error.message
            self.refused += problem != self._told
            self._bad = error if error.lasting else None
        except ModelError as error:
            version, problem = standing.version, error.message
            self.polls_failed += 1
        self._tell(problem)
        return AliasState(version, problem, mark, number)

    def _tell(self, problem: str) -> None:
        """Log what is wrong once, and not at each look."""
        if problem and problem != self._told:
            _log.error("%s stays as it is: %s", self._reference.name, problem)
        elif self._told and not problem:
            _log.warning("%s is well again", self._reference.name)
        self._told = problem

    def _write(self, before: AliasState, now: AliasState) -> None:
        try:
            if now != before:
                self._cache.write(now)
            self.problem = ""
        except ModelError as error:
            self.problem = error.message
        if now.version != before.version:
            self._cache.evict_unused()


class AliasFollower:
    """Keeps this process at what was found to be good.

    Parameters
    ----------
    settings : Settings
    reference : Reference
    live : PredictionService, optional
        What this process has at first.
    take : callable
        Gets each new version, loaded and warm.

    Attributes
    ----------
    version, since : str
    problem : str
        Why this process does not have the version that it should.
    swaps, refused : int
    """

    def __init__(
        self,
        settings: Settings,
        reference: Reference,
        live: PredictionService | None,
        take: Callable[[PredictionService], None],
    ) -> None:
        self.version = live.version if live else ""
        self.since, self.problem = _now(), ""
        self.swaps = self.refused = 0
        self.cache = VersionCache(settings.cache, reference)
        self._settings, self._take, self._name = settings, take, reference.name
        self._failed, self._again = "", 0.0

    def turn(self) -> None:
        """Take the version that is written down, if this process has another one."""
        standing = self.cache.read()
        wanted = self.cache.pinned() or (standing.version if standing else "")
        if wanted in ("", self.version):
            self._failed = self.problem = ""
        elif wanted != self._failed or time.monotonic() > self._again:
            self._load(wanted)

    def _load(self, wanted: str) -> None:
        """Load a version beside the present one, and put it in its place."""
        try:
            live = load_version(self._settings, self.cache, wanted)
        except SlipwayError as error:
            if wanted != self._failed:
                self.refused += 1
                _log.error("%s cannot be loaded: %s", wanted, error.message)
            self.problem = f"{wanted} cannot be loaded: {error.message}"
            self._failed, self._again = wanted, time.monotonic() + AGAIN_SECONDS
            return
        self._take(live)
        self.swaps += 1
        self.version, self.since, self.problem, self._failed = wanted, _now(), "", ""
        _log.warning("%s: %s serves in process %s", self._name, wanted, os.getpid())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
