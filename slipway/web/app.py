"""The factory: settings, the live model, the blueprints, and what every answer carries."""

from __future__ import annotations

import sys
from pathlib import Path

from flask import Flask
from jinja2 import BaseLoader, ChoiceLoader, FileSystemLoader, PrefixLoader

from slipway.core.errors import ModelError
from slipway.core.project_settings import apply_project_settings
from slipway.core.settings import Settings
from slipway.web import error_handlers as failures
from slipway.web import fast_path as lane
from slipway.web import headers
from slipway.web import model_lifecycle as life
from slipway.web import openapi as document
from slipway.web import trusted_hosts as hosts
from slipway.web.api import api
from slipway.web.pages import pages

STATIC = Path(__file__).with_name("static")
TEMPLATES = Path(__file__).with_name("templates")


def template_loader(root: Path) -> BaseLoader:
    """Load templates of a project first, then those of the package.

    A template of the project can extend the one that it overrides, because the package's have a
    second name: ``{% extends "slipway/form.html" %}``.
    """
    package = FileSystemLoader(TEMPLATES)
    own = FileSystemLoader(root / "templates")
    return ChoiceLoader([own, PrefixLoader({"slipway": package}), package])


def create_app(root: Path, settings: Settings | None = None, *, with_pages: bool = True) -> Flask:
    """Make the app.

    Parameters
    ----------
    root : Path
        The folder of the project. It holds ``model.pkl``, and ``templates/`` with the templates
        that override those of the package.
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
        same, so that ``slipway train`` can make the first model.
    """
    if settings is None:
        apply_project_settings(root)
        settings = Settings.from_environ(root)
    app = Flask("slipway", root_path=str(root), static_folder=str(STATIC))
    app.jinja_loader = template_loader(root)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_json_bytes
    app.json.sort_keys = False  # type: ignore[attr-defined]
    life.register(app, settings)
    failures.register(app)
    lane.register(app)
    hosts.register(app, settings.trusted_hosts)
    headers.register(app)
    app.register_blueprint(api)
    if with_pages:
        app.register_blueprint(pages)
    document.register(app)
    return app


def open_app(root: Path, *, with_pages: bool = True) -> Flask:
    """Make the app, or end the process with one line that says why there is none.

    Parameters
    ----------
    root, with_pages
        As for ``create_app``.

    Returns
    -------
    Flask
    """
    try:
        return create_app(root, with_pages=with_pages)
    except (ModelError, ValueError) as error:
        print(f"slipway cannot serve: {error}", file=sys.stderr, flush=True)
        # Gunicorn's own word for a worker that cannot begin, with which its master ends as well.
        raise SystemExit(3) from None
