"""The model of an app: loaded at the start, followed in each worker, replaced atomically.

Each request reads the ``PredictionService`` once, from ``app.extensions`` or with
``context.prediction_service``, and uses this object until it ends.
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
    """Load the model of an app, and create the manager of its rollouts if needed.

    Raises
    ------
    ModelError
        The model cannot be served.
    """
    app.extensions["slipway_settings"] = settings
    app.extensions["slipway"] = service = _load(settings, app)
    app.extensions["slipway_rollout"] = None
    if not is_command() and (_is_followed(settings) or settings.shadow):
        # Imported only for an alias or a shadow model.
        from slipway.serving.rollout.manager import RolloutManager

        serve = partial(app.extensions.__setitem__, "slipway")
        app.extensions["slipway_rollout"] = RolloutManager(settings, service, serve)
    # Gunicorn's hooks call these two if an application has them.
    app.follow = partial(follow, app)  # type: ignore[attr-defined]
    app.before_reload = partial(before_reload, app)  # type: ignore[attr-defined]


def rollout_manager(app: Flask) -> RolloutManager | None:
    """Return the rollout manager of an app; None if its model cannot change."""
    manager: RolloutManager | None = app.extensions["slipway_rollout"]
    return manager


def follow(app: Flask) -> None:
    """Start to follow the aliases in this process. Call this after Gunicorn's fork."""
    manager = rollout_manager(app)
    if manager is not None:
        manager.start()


def before_reload(app: Flask) -> None:
    """Load the current version in the master before it forks new workers."""
    manager = rollout_manager(app)
    if manager is not None:
        manager.before_reload()


def is_command() -> bool:
    """Return whether this process runs a ``flask`` command other than ``flask run``."""
    return os.environ.get("FLASK_RUN_FROM_CLI") == "true" and "run" not in sys.argv[1:]


def _is_followed(settings: Settings) -> bool:
    return settings.reference is not None and not settings.reference.is_fixed


def _load(settings: Settings, app: Flask) -> PredictionService | None:
    """Return the first service; None if a ``flask`` command starts without a valid model."""
    try:
        if settings.reference is None:
            return PredictionService(settings)
        from slipway.serving.rollout.startup import load_initial_service

        return load_initial_service(settings, may_poll=not is_command())
    except ModelError as error:
        if os.environ.get("FLASK_RUN_FROM_CLI") != "true":
            raise
        # Commands do not need a model, or report the error themselves.
        if not is_command():
            app.logger.error("no model to serve: %s", error)
        return None
