"""Processes that run a module of ours."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping


def child_environment(settings: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment in which a child process imports what this process can.

    Parameters
    ----------
    settings : mapping of str to str, optional
        Variables that the child gets as well.
    """
    imports = os.pathsep.join(filter(None, sys.path))
    return {**os.environ, "PYTHONPATH": imports, **(settings or {})}
