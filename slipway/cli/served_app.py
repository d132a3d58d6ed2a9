"""The application of ``slipway serve``; its templates are those of the current folder."""

from __future__ import annotations

from pathlib import Path

from slipway.web import open_app

app = open_app(Path.cwd())
