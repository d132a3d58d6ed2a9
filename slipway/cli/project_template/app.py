"""Door 1: pages, API and /apidocs. Gunicorn runs ``app:app``."""

from __future__ import annotations

import os
from pathlib import Path

from slipway.cli import add_commands
from slipway.web import open_app

app = add_commands(open_app(Path(__file__).parent))

if __name__ == "__main__":
    app.run(host="127.0.0.1", port=int(os.environ.get("PORT", "5000")))
