"""The life of an app's model: loaded at the start, followed in each worker, exchanged in one step.

Whoever answers a request takes the ``PredictionService`` once, from the app's extensions or by
``context.live``, and uses it throughout.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import TYPE_CHECKING

from flask import Flask

from slipway.core.errors import ModelError
from slipway.core.settings import Settings
from slipway.serving.service import PredictionService

if TYPE_CHECKING:
    from slipway.serving.rollout.manager import RolloutManager


def register(app: Flask, settings: Settings) -> None:
    """Load the model of an app, and prepare what follows it.

    Raises
    ------
    ModelError
        There is none that could be served.
    """
    app.extensions["slipway_settings"] = settings
    app.extensions["slipway"] = live = _load(settings, app)
    app.extensions["slipway_following"] = None
    if not is_command() and (_follows(settings) or settings.shadow):
        # Where a file is served, none of this is imported.
        from slipway.serving.rollout.manager import RolloutManager

        serve = partial(app.extensions.__setitem__, "slipway")
        app.extensions["slipway_following"] = RolloutManager(settings, live, serve)
    # Gunicorn's hooks use these of any application that has them.
    app.follow = partial(follow, app)  # type: ignore[attr-defined]
    app.before_reload = partial(before_reload, app)  # type: ignore[attr-defined]


def following(app: Flask) -> RolloutManager | None:
    """Give what follows the references of an app; None where a file is served."""
    found: RolloutManager | None = app.extensions["slipway_following"]
    return found


def follow(app: Flask) -> None:
    """Follow the references in this process; to be called after Gunicorn's fork."""
    found = following(app)
    if found is not None:
        found.start()


def before_reload(app: Flask) -> None:
    """Bring a master up to date before it makes new workers."""
    found = following(app)
    if found is not None:
        found.before_reload()


def is_command() -> bool:
    """Whether this is the ``flask`` command, and not for serving."""
    return os.environ.get("FLASK_RUN_FROM_CLI") == "true" and "run" not in sys.argv[1:]


def _follows(settings: Settings) -> bool:
    return settings.reference is not None and not settings.reference.is_fixed


def _load(settings: Settings, app: Flask) -> PredictionService | None:
    """Load the model, before the first request."""
    try:
        if settings.reference is None:
            return PredictionService(settings)
        from slipway.serving.rollout.startup import load_initial_service

        return load_initial_service(settings, may_poll=not is_command())
    except ModelError as error:
        if os.environ.get("FLASK_RUN_FROM_CLI") != "true":
            raise
        # A command has no need of a model, or says itself what is wrong with it.
        if not is_command():
            app.logger.error("there is no model to serve: %s", error)
        return None
