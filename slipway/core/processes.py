"""Child processes that run a module of Slipway."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping


def child_environment(settings: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment in which a child process has this process's import path.

    Parameters
    ----------
    settings : mapping of str to str, optional
        Additional environment variables.
    """
    imports = os.pathsep.join(filter(None, sys.path))
    return {**os.environ, "PYTHONPATH": imports, **(settings or {})}
