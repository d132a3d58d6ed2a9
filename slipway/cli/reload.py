"""Serve a model of this machine again whenever its file changes."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from slipway.core.errors import SlipwayError
from slipway.core.settings import Reference
from slipway.models.artifacts import manifest_path
from slipway.models.compatibility import require_compatible
from slipway.models.manifest import Manifest, read_manifest
from slipway.registry import Registry, open_registry
from slipway.serving.rollout.version_cache import VersionCache

ALIAS = "served"
# Polling interval for the file in seconds; a changed file must be the same in two polls.
POLL_SECONDS = 0.5


class ReloadedModel:
    """The versions of a model file, in a registry of their own that a service follows.

    Parameters
    ----------
    model : str
        The file or folder on the command line.
    options : mapping
        Of ``slipway model add``.
    folder : Path
        For the registry and its cache.
    """

    def __init__(self, model: str, options: Mapping[str, Any], folder: Path) -> None:
        self._model, self._options, self._folder = Path(model), options, folder
        self._reference = Reference(str(folder / "models"), f"@{ALIAS}")
        self._registry: Registry = open_registry(self._reference.url)
        self.settings = {
            "SLIPWAY_MODEL": str(self._reference),
            "SLIPWAY_CACHE": str(folder / "cache"),
        }

    def state(self) -> tuple[int, int]:
        """Return the time and size of the file; zeros while it is being replaced."""
        try:
            status = self._model.stat()
        except OSError:
            return 0, 0
        return status.st_mtime_ns, status.st_size

    def push(self, path: Path) -> Manifest:
        """Make a model version the served one.

        Raises
        ------
        SlipwayError
            It cannot be pushed to the registry.
        """
        version = self._registry.push(path, who="slipway serve")
        before = self._registry.alias(ALIAS)
        expected = before.version if before else None
        if expected != version:
            self._registry.move(ALIAS, version, who="slipway serve", why="", expected=expected)
        VersionCache(self._folder / "cache", self._reference).request_reload()
        return read_manifest(path)

    def write_version(self) -> Path:
        """Read the file in a separate process; return the path of a model version.

        Raises
        ------
        SlipwayError
            The file cannot be served.
        """
        given = {name: value for name, value in self._options.items() if value}
        if manifest_path(self._model).exists() and not given:
            return self._model
        output = self._folder / "model.pkl"
        words = [f"--{name.replace('positive', 'positive-class')}={given[name]}" for name in given]
        command = [sys.executable, "-m", "slipway", "model", "add", str(self._model)]
        done = subprocess.run(  # noqa: S603 - our own command
            [*command, f"--name={self._model.stem}", f"--output={output}", *words],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
            raise SlipwayError(lines[-1].removeprefix("Error: "))
        return output


def serve_and_reload(
    command: Sequence[str],
    environ: Mapping[str, str],
    model: str,
    options: Mapping[str, Any],
    prepared: Path,
) -> int:
    """Run a service that follows the file of its model; return its exit status.

    It starts with the version that was prepared from the file.
    """
    with tempfile.TemporaryDirectory(prefix="slipway-") as folder:
        reloaded = ReloadedModel(model, options, Path(folder))
        served = reloaded.push(prepared)
        settings = {**environ, **reloaded.settings}
        service = subprocess.Popen(command, env=settings)  # noqa: S603 - our own command
        signal.signal(signal.SIGTERM, lambda *_: service.terminate())
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        last = state = reloaded.state()
        while service.poll() is None:
            time.sleep(POLL_SECONDS)
            before, state = state, reloaded.state()
            if state in (last, (0, 0)) or state != before:
                continue
            last = state
            served, fits = _reload(reloaded, served)
            if not fits:
                service.terminate()
                service.wait()
                service = subprocess.Popen(command, env=settings)  # noqa: S603 - our own command
        return service.returncode


def _reload(reloaded: ReloadedModel, served: Manifest) -> tuple[Manifest, bool]:
    """Push a changed file; return what is served, and whether running workers can swap to it."""
    try:
        new = reloaded.push(reloaded.write_version())
    except SlipwayError as error:
        click.echo(f"not reloaded, the previous model stays: {error.message}", err=True)
        return served, True
    click.echo(f"reloaded: {new.version}")
    try:
        require_compatible(served, new)
    except SlipwayError:
        click.echo("the features or the target have changed: the service restarts")
        return new, False
    return new, True
