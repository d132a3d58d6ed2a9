"""The model that a start serves: the one that is meant, or the last good one.

A start must neither fail nor hang because a store is away, as long as this machine has a version
that served before. With none it must end, and say why.
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


def first_live(settings: Settings, *, may_ask: bool = True) -> PredictionService:
    """Load what is to be served at the start.

    Parameters
    ----------
    settings : Settings
    may_ask : bool
        Whether to ask the registry; a command takes what is in the cache.

    Returns
    -------
    PredictionService

    Raises
    ------
    ModelError
        There is nothing that could be served.
    """
    if settings.reference is None:
        return PredictionService(settings)
    cache = VersionCache(settings.cache, settings.reference)
    problem = "nothing of it is in the cache"
    for version in (cache.pinned(), settings.reference.name if settings.reference.is_fixed else ""):
        with suppress(ModelError):
            if version:
                return load_version(settings, cache, version)
    if not may_ask:
        return _last_good(settings, cache, problem)
    try:
        return _asked(settings, cache, settings.reference)
    except ModelError as error:
        live = _last_good(settings, cache, error.message)
        _log.error("the last good version, %s, serves: %s", live.version, error.message)
        standing = cache.read() or AliasState("")
        _remember(cache, replace(standing, version=live.version, problem=error.message))
        return live


def question(
    settings: Settings, reference: Reference, standing: AliasState, bad: str = ""
) -> ProbeRequest:
    """Put the question which version a reference stands for.

    Parameters
    ----------
    settings : Settings
    reference : Reference
    standing : AliasState
        What it stood for until now.
    bad : str
        A version that is known to be refused.

    Returns
    -------
    ProbeRequest
    """
    return ProbeRequest(
        *reference,
        folder=str(settings.cache),
        engine=settings.engine,
        allow_version_skew=settings.allow_version_skew,
        present=standing.version,
        number=standing.number,
        bad=bad,
    )


def load_version(settings: Settings, cache: VersionCache, version: str) -> PredictionService:
    """Load a version from its copy, and let it answer once.

    Raises
    ------
    ModelError
        There is no copy that is what was pushed, or it answers wrongly.
    """
    live = PredictionService(settings, cache.copy(version))
    if live.version != version:
        raise ModelError(f"the manifest of {version} is that of {live.version!a}")
    live.warm_up()
    return live


def _asked(settings: Settings, cache: VersionCache, reference: Reference) -> PredictionService:
    """Load what the registry says."""
    mark = cache.reload_mark()
    before = cache.read() or AliasState("")
    # Whatever served before, a start takes a version that its callers would have to change with.
    said = probe(question(settings, reference, AliasState("", number=before.number)))
    live = load_version(settings, cache, said.version)
    _remember(cache, AliasState(said.version, "", mark, said.number))
    return live


def _last_good(settings: Settings, cache: VersionCache, problem: str) -> PredictionService:
    """Load what served last."""
    standing = cache.read()
    if standing is None or not standing.version:
        raise ModelError(problem)
    try:
        return load_version(settings, cache, standing.version)
    except SlipwayError as error:
        raise ModelError(f"{problem}; nor can the last good version serve: {error}") from error


def _remember(cache: VersionCache, standing: AliasState) -> None:
    try:
        cache.write(standing)
    except ModelError as error:
        _log.error("%s", error.message)
