"""The application factory: settings, model, blueprints and WSGI wrappers."""

from __future__ import annotations

import sys
from pathlib import Path

from flask import Flask
from jinja2 import BaseLoader, ChoiceLoader, FileSystemLoader, PrefixLoader

from slipway.core.errors import ModelError
from slipway.core.project_settings import read_settings
from slipway.core.settings import Settings
from slipway.web import error_handlers, fast_path, headers, model_lifecycle, openapi, trusted_hosts
from slipway.web.api import api
from slipway.web.pages import pages

STATIC = Path(__file__).with_name("static")
TEMPLATES = Path(__file__).with_name("templates")


def template_loader(root: Path) -> BaseLoader:
    """Return a loader that prefers a project's templates to those of the package.

    The package's templates also have the prefix ``slipway/``, so that a project's template can
    extend the one that it overrides: ``{% extends "slipway/form.html" %}``.
    """
    package = FileSystemLoader(TEMPLATES)
    own = FileSystemLoader(root / "templates")
    return ChoiceLoader([own, PrefixLoader({"slipway": package}), package])


def create_app(root: Path, settings: Settings | None = None, *, with_pages: bool = True) -> Flask:
    """Create the Flask application.

    Parameters
    ----------
    root : Path
        The project folder, with ``model.pkl``. Templates in its ``templates/`` override those of
        the package.
    settings : Settings, optional
        Read from the environment if not given.
    with_pages : bool
        False registers the API and ``/apidocs`` only.

    Returns
    -------
    Flask

    Raises
    ------
    ModelError
        The model does not pass its checks. Under the ``flask`` command the application is created
        anyway, so that ``slipway train`` can train the first model.
    """
    settings = settings or read_settings(root)
    app = Flask("slipway", root_path=str(root), static_folder=str(STATIC))
    app.jinja_loader = template_loader(root)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_json_bytes
    app.json.sort_keys = False  # type: ignore[attr-defined]
    model_lifecycle.register(app, settings)
    error_handlers.register(app)
    fast_path.register(app)
    trusted_hosts.register(app, settings.trusted_hosts)
    headers.register(app)
    app.register_blueprint(api)
    if with_pages:
        app.register_blueprint(pages)
    openapi.register(app)
    return app


def open_app(root: Path, *, with_pages: bool = True) -> Flask:
    """Create the application, or print the reason in one line and exit with status 3.

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
        # Gunicorn's master stops if a worker exits with this status (WORKER_BOOT_ERROR).
        raise SystemExit(3) from None
