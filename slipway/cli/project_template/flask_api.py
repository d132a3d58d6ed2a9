"""Door 2: the API and /apidocs alone."""

from __future__ import annotations

import os
from pathlib import Path

from slipway.cli import add_commands
from slipway.web import open_app

app = add_commands(open_app(Path(__file__).parent, with_pages=False))

if __name__ == "__main__":
    app.run(host="127.0.0.1", port=int(os.environ.get("PORT", "5000")))
