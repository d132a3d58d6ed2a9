"""The factory: settings, the live model, the blueprints, and what every answer carries."""

from __future__ import annotations

import os
from pathlib import Path

from flask import Flask

from slipway import cli
from slipway.config import Settings
from slipway.errors import ModelError
from slipway.serving import Live
from slipway.web import document, failures, headers, lane
from slipway.web.api import api
from slipway.web.pages import pages


def create_app(root: Path, settings: Settings | None = None, *, with_pages: bool = True) -> Flask:
    """Make the app.

    Parameters
    ----------
    root : Path
        The folder that holds ``model.pkl``, ``templates/`` and ``static/``.
    settings : Settings, optional
        Read from the environment when not given.
    with_pages : bool
        False gives the API and ``/apidocs`` alone.

    Returns
    -------
    Flask

    Raises
    ------
    ModelError
        The model does not pass its checks. Under the ``flask`` command the app is made all the
        same, so that ``flask train`` can make the first model.
    """
    settings = settings or Settings.from_environ(root)
    app = Flask("slipway", root_path=str(root))
    app.config["MAX_CONTENT_LENGTH"] = settings.max_json_bytes
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.extensions["slipway_settings"] = settings
    app.extensions["slipway"] = _load(settings, app)
    failures.register(app)
    lane.register(app)
    headers.register(app)
    app.register_blueprint(api)
    if with_pages:
        app.register_blueprint(pages)
    document.register(app)
    cli.register(app)
    return app


def _load(settings: Settings, app: Flask) -> Live | None:
    """Load the model, before the first request."""
    try:
        return Live(settings)
    except ModelError as error:
        if os.environ.get("FLASK_RUN_FROM_CLI") != "true":
            raise
        app.logger.error("there is no model to serve: %s", error)
        return None
