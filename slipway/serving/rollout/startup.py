"""Load the model that a service starts with: the current version, or the last good one.

A start must not fail or hang because a registry is away, as long as this machine has a version
that served before. Without such a version it ends with an error.
"""

from __future__ import annotations

import logging
from contextlib import suppress

from msgspec.structs import replace

from slipway.core.errors import ModelError, SlipwayError
from slipway.core.settings import Reference, Settings
from slipway.serving.rollout.version_cache import AliasState, VersionCache
from slipway.serving.rollout.version_probe import ProbeRequest, probe
from slipway.serving.service import PredictionService

_log = logging.getLogger(__name__)


def load_initial_service(settings: Settings, *, may_poll: bool = True) -> PredictionService:
    """Load the version to serve at the start.

    Parameters
    ----------
    settings : Settings
    may_poll : bool
        Whether to poll the registry; a command uses the version in the cache.

    Returns
    -------
    PredictionService

    Raises
    ------
    ModelError
        No version can be served.
    """
    if settings.reference is None:
        return PredictionService(settings)
    cache = VersionCache(settings.cache, settings.reference)
    problem = f"no version of {settings.reference.name} in the cache"
    for version in (cache.pinned(), settings.reference.name if settings.reference.is_fixed else ""):
        with suppress(ModelError):
            if version:
                return load_version(settings, cache, version)
    if not may_poll:
        return _load_last_good(settings, cache, problem)
    try:
        return _load_current(settings, cache, settings.reference)
    except ModelError as error:
        service = _load_last_good(settings, cache, error.message)
        _log.error("serving the last good version, %s: %s", service.version, error.message)
        state = cache.read() or AliasState("")
        _record(cache, replace(state, version=service.version, problem=error.message))
        return service


def build_probe_request(
    settings: Settings, reference: Reference, state: AliasState, rejected: str = ""
) -> ProbeRequest:
    """Build the request to resolve and check a reference.

    Parameters
    ----------
    settings : Settings
    reference : Reference
    state : AliasState
        The recorded state of the reference.
    rejected : str
        A version that was rejected before.

    Returns
    -------
    ProbeRequest
    """
    return ProbeRequest(
        *reference,
        folder=str(settings.cache),
        engine=settings.engine,
        allow_version_skew=settings.allow_version_skew,
        present=state.version,
        number=state.number,
        bad=rejected,
    )


def load_version(settings: Settings, cache: VersionCache, version: str) -> PredictionService:
    """Load a version from the cache, and warm it up.

    Raises
    ------
    ModelError
        The cache has no verified copy, or the version fails its golden rows.
    """
    service = PredictionService(settings, cache.pickle_path(version))
    if service.version != version:
        raise ModelError(f"the manifest of {version} names the version {service.version!a}")
    service.warm_up()
    return service


def _load_current(
    settings: Settings, cache: VersionCache, reference: Reference
) -> PredictionService:
    """Load the version that the registry names."""
    mark = cache.reload_mark()
    before = cache.read() or AliasState("")
    # Only a start accepts a version with another signature, so the request names no version.
    state = AliasState("", number=before.number)
    status = probe(build_probe_request(settings, reference, state))
    service = load_version(settings, cache, status.version)
    _record(cache, AliasState(status.version, "", mark, status.number))
    return service


def _load_last_good(settings: Settings, cache: VersionCache, problem: str) -> PredictionService:
    """Load the version that served last."""
    state = cache.read()
    if state is None or not state.version:
        raise ModelError(problem)
    try:
        return load_version(settings, cache, state.version)
    except SlipwayError as error:
        raise ModelError(f"{problem}; cannot load the last good version either: {error}") from error


def _record(cache: VersionCache, state: AliasState) -> None:
    try:
        cache.write(state)
    except ModelError as error:
        _log.error("%s", error.message)
