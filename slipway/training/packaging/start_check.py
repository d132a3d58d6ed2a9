"""Start a new model version in a separate process before it is written."""

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


class CustomCodeWarning(UserWarning):
    """The service needs ``SLIPWAY_PICKLE_ALLOW`` to open a model.

    Attributes
    ----------
    setting : str
        Its value.
    """

    def __init__(self, setting: str) -> None:
        super().__init__(f"the service needs the setting {SETTING}={setting} to open this model")
        self.setting = setting


def require_start(content: bytes, manifest: Manifest, name: str) -> None:
    """Require that a service starts with a model version and reproduces its golden rows.

    The check allows custom code that needs ``SLIPWAY_PICKLE_ALLOW``. A warning then names the
    setting that the service needs.

    Parameters
    ----------
    content : bytes
        The pickle.
    manifest : Manifest
        With the pickle's hash.
    name : str
        The file name of the pickle.

    Raises
    ------
    SlipwayError
        The service does not start; the message is the service's own.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        write_manifest(manifest, path)
        error = _start_service(path, {})
        needed = _ALLOW.search(error)
        if needed:
            setting = needed[1].rstrip(".,:")
            error = _start_service(path, {SETTING: setting})
    if error:
        raise SlipwayError(f"a service would not start with this model: {error}")
    if needed:
        warnings.warn(CustomCodeWarning(setting), stacklevel=4)


def _start_service(path: Path, settings: dict[str, str]) -> str:
    """Start a service with a model version and return its error, or an empty text."""
    process = subprocess.run(  # noqa: S603 - a module of this package
        [sys.executable, "-m", "slipway.serving.start_check", str(path)],
        env=child_environment(settings),
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
        check=False,
    )
    if process.returncode == 0:
        return ""
    return (
        process.stderr.strip() or f"the process exited with status {process.returncode}"
    ).splitlines()[-1]
