"""The Flask side: one factory for both doors."""

from slipway.web.app import create_app, open_app

__all__ = ["create_app", "open_app"]
