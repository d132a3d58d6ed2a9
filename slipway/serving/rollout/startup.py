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
from slipway.serving.rollout.version_cache import Cache, Standing
from slipway.serving.rollout.version_probe import Question, ask
from slipway.serving.service import Live

_log = logging.getLogger(__name__)


def first_live(settings: Settings, *, may_ask: bool = True) -> Live:
    """Load what is to be served at the start.

    Parameters
    ----------
    settings : Settings
    may_ask : bool
        Whether to ask the registry; a command takes what is in the cache.

    Returns
    -------
    Live

    Raises
    ------
    ModelError
        There is nothing that could be served.
    """
    if settings.reference is None:
        return Live(settings)
    cache = Cache(settings.cache, settings.reference)
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
        standing = cache.read() or Standing("")
        _remember(cache, replace(standing, version=live.version, problem=error.message))
        return live


def question(
    settings: Settings, reference: Reference, standing: Standing, bad: str = ""
) -> Question:
    """Put the question which version a reference stands for.

    Parameters
    ----------
    settings : Settings
    reference : Reference
    standing : Standing
        What it stood for until now.
    bad : str
        A version that is known to be refused.

    Returns
    -------
    Question
    """
    return Question(
        *reference,
        folder=str(settings.cache),
        engine=settings.engine,
        allow_version_skew=settings.allow_version_skew,
        present=standing.version,
        number=standing.number,
        bad=bad,
    )


def load_version(settings: Settings, cache: Cache, version: str) -> Live:
    """Load a version from its copy, and let it answer once.

    Raises
    ------
    ModelError
        There is no copy that is what was pushed, or it answers wrongly.
    """
    live = Live(settings, cache.copy(version))
    if live.version != version:
        raise ModelError(f"the manifest of {version} is that of {live.version!a}")
    live.warm_up()
    return live


def _asked(settings: Settings, cache: Cache, reference: Reference) -> Live:
    """Load what the registry says."""
    mark = cache.asked_now()
    before = cache.read() or Standing("")
    # Whatever served before, a start takes a version that its callers would have to change with.
    said = ask(question(settings, reference, Standing("", number=before.number)))
    live = load_version(settings, cache, said.version)
    _remember(cache, Standing(said.version, "", mark, said.number))
    return live


def _last_good(settings: Settings, cache: Cache, problem: str) -> Live:
    """Load what served last."""
    standing = cache.read()
    if standing is None or not standing.version:
        raise ModelError(problem)
    try:
        return load_version(settings, cache, standing.version)
    except SlipwayError as error:
        raise ModelError(f"{problem}; nor can the last good version serve: {error}") from error


def _remember(cache: Cache, standing: Standing) -> None:
    try:
        cache.write(standing)
    except ModelError as error:
        _log.error("%s", error.message)
