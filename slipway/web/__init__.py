"""The Flask application: API, pages and error responses."""

from slipway.web.app import create_app, open_app

__all__ = ["create_app", "open_app"]
