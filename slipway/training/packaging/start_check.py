"""Start a new model version in a process of its own, before anything is written."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

from slipway.core.errors import SlipwayError
from slipway.core.processes import child_environment
from slipway.models.manifest import Manifest, write_manifest
from slipway.models.unpickling.pickles import SETTING

_TIMEOUT = 300
_ALLOW = re.compile(rf"{SETTING}=([\w.:,*]+)")


def require_start(content: bytes, manifest: Manifest, name: str) -> None:
    """Require that a service starts with a model version and answers its golden rows.

    Code of the owner's own, which only ``SLIPWAY_PICKLE_ALLOW`` lets in, is allowed for the
    check; a warning names the setting that the service needs.

    Parameters
    ----------
    content : bytes
        The pickle.
    manifest : Manifest
        Stamped with the pickle's hash.
    name : str
        The file name of the pickle.

    Raises
    ------
    SlipwayError
        With what the service would say.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        write_manifest(manifest, path)
        fault = _start(path, {})
        needed = _ALLOW.search(fault)
        if needed:
            setting = needed[1].rstrip(".,:")
            fault = _start(path, {SETTING: setting})
    if fault:
        raise SlipwayError(f"a service would not start with this model: {fault}")
    if needed:
        message = f"the service needs the setting {SETTING}={setting} to open this model"
        warnings.warn(message, stacklevel=4)


def _start(path: Path, settings: dict[str, str]) -> str:
    """Start with a model version; return what is wrong, or nothing."""
    done = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", "slipway.serving.start_check", str(path)],
        env=child_environment(settings),
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
        check=False,
    )
    if done.returncode == 0:
        return ""
    return (done.stderr.strip() or f"its process ended with {done.returncode}").splitlines()[-1]
