"""Resolve, fetch and check a version in a subprocess.

The registry's client library has threads, which do not survive Gunicorn's fork. A worker would hang
if its master had used the library before. A subprocess can also be killed when a registry is slow.
A version that crashes crashes there, not in a worker.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from slipway.core.errors import ModelError, SlipwayError
from slipway.core.processes import child_environment
from slipway.core.settings import ServingEngine, Settings
from slipway.models.compatibility import require_compatible
from slipway.models.manifest import read_manifest
from slipway.serving.rollout.version_cache import verified_copy

if TYPE_CHECKING:
    from slipway.registry import Registry

# Seconds for the registry: a start must succeed or fail within 20 seconds.
REGISTRY_SECONDS = 15.0
# Bytes per second of the slowest accepted download.
MIN_DOWNLOAD_SPEED = 1_000_000
# Seconds for a version to load and reproduce its golden rows.
CHECK_SECONDS = 60.0


class ProbeRequest(msgspec.Struct, frozen=True):
    """Task of the subprocess.

    Attributes
    ----------
    url, name : str
        The reference.
    folder : str
        Where to put the copy.
    present : str
        The served version. It is not checked again, and another version must accept the same
        records.
    bad : str
        A version that was rejected before and is not checked again.
    number : int
        The highest entry of the alias journal that was ever seen; lower entries are rejected.
    engine : {"scorecard", "pickle"}
    allow_version_skew : bool
    """

    url: str
    name: str
    folder: str
    present: str = ""
    bad: str = ""
    number: int = 0
    engine: ServingEngine = "scorecard"
    allow_version_skew: bool = False


class ProbeStatus(msgspec.Struct, omit_defaults=True):
    """Progress of the subprocess, one line of output for each step; the last line counts.

    Attributes
    ----------
    version : str
    number : int
        The journal entry that moved the alias to the version.
    size : int
        Bytes to download.
    checking : bool
        Whether the copy exists and is being checked.
    problem : str
    refused : bool
        Whether the version itself causes the problem.
    done : bool
    """

    version: str = ""
    number: int = 0
    size: int = 0
    checking: bool = False
    problem: str = ""
    refused: bool = False
    done: bool = False


class VersionRejected(ModelError):
    """A version that must not be served.

    Parameters
    ----------
    version, message : str
    is_permanent : bool
        Whether another check would reject it as well.
    """

    def __init__(self, version: str, message: str, *, is_permanent: bool) -> None:
        super().__init__(f"{version} rejected: {message}")
        self.version = version
        self.is_permanent = is_permanent


def probe(request: ProbeRequest) -> ProbeStatus:
    """Resolve a reference, fetch its version and check it.

    Parameters
    ----------
    request : ProbeRequest

    Returns
    -------
    ProbeStatus
        The version, which has a verified copy and reproduces its golden rows, and the number of
        its journal entry.

    Raises
    ------
    VersionRejected
        The copy was changed, the signature is not valid, or the version fails its check.
    ModelError
        The registry cannot be reached.
    """
    status, exit_code = _run(request)
    # Clients see this message, so it must not show where registry and cache are.
    problem = status.problem.replace(request.url, "the registry")
    problem = problem.replace(request.folder, "the cache")
    if status.checking and not status.done:
        message = f"its check ended with exit code {exit_code}"
        raise VersionRejected(status.version, message, is_permanent=True)
    if status.refused:
        version = status.version or request.name
        raise VersionRejected(version, problem, is_permanent=status.checking)
    if not status.done or problem:
        raise ModelError(problem or f"polling the registry ended with exit code {exit_code}")
    return status


def _run(request: ProbeRequest) -> tuple[ProbeStatus, int]:
    """Run this module as a subprocess; return its last status and its exit code."""
    process = subprocess.Popen(  # noqa: S603 - this very module
        [
            sys.executable,
            "-m",
            "slipway.serving.rollout.version_probe",
            msgspec.json.encode(request).decode(),
        ],
        env=child_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    try:
        status = _wait(process)
    finally:
        process.kill()
        process.communicate()
    return status, process.returncode


def _wait(process: subprocess.Popen[bytes]) -> ProbeStatus:
    """Wait for the subprocess, as long as its current step may take."""
    started = time.monotonic()
    while True:
        try:
            return _last_status(process.communicate(timeout=0.5)[0])
        except subprocess.TimeoutExpired as expired:
            status = _last_status(expired.output or b"")
        seconds = REGISTRY_SECONDS + status.size / MIN_DOWNLOAD_SPEED
        seconds += CHECK_SECONDS if status.checking else 0.0
        if time.monotonic() - started > seconds:
            message = f"the registry did not answer within {REGISTRY_SECONDS:.0f} seconds"
            return ProbeStatus(problem=message)


def _last_status(output: bytes) -> ProbeStatus:
    lines = output.splitlines()
    return msgspec.json.decode(lines[-1], type=ProbeStatus) if lines else ProbeStatus()


def main(request: ProbeRequest) -> ProbeStatus:
    """Resolve, fetch and check a version; report progress on standard output."""
    from slipway.registry import NotTrusted, open_registry

    status = ProbeStatus()
    try:
        registry = open_registry(request.url)
        status.version, status.number = _resolve(registry, request)
        if status.version not in (request.present, request.bad):
            path = _fetch(registry, Path(request.folder), status)
            status.checking = True
            _report(status)
            check_version(request, path, status.version)
        status.done = True
    except NotTrusted as error:
        status.done, status.refused, status.problem = True, True, error.message
    except SlipwayError as error:
        # Before the check, the registry causes the error, which may be temporary.
        status.done, status.refused, status.problem = True, status.checking, error.message
    return status


def _resolve(registry: Registry, request: ProbeRequest) -> tuple[str, int]:
    """Return the version of a reference, and the number of its journal entry.

    Deleting the last entries of a journal must not bring an earlier version back. A rollback adds
    an entry.
    """
    if not request.name.startswith("@"):
        return request.name, 0
    move = registry.alias(request.name[1:])
    if move is None:
        return registry.resolve(request.name), 0
    if move.number < request.number:
        raise ModelError(
            f"{move.alias} is at entry {move.number}, but was at entry {request.number}: "
            "entries were deleted; if this is intended, remove the cache and restart"
        )
    return move.version, move.number


def _fetch(registry: Registry, folder: Path, status: ProbeStatus) -> Path:
    """Fetch a version unless the cache has a verified copy."""
    existing = verified_copy(folder, status.version)
    if existing is not None:
        return existing
    status.size = registry.stored(status.version).size
    _report(status)
    return registry.fetch(status.version, folder)


def check_version(request: ProbeRequest, path: Path, version: str) -> None:
    """Load a version as a worker does, and warm it up.

    Raises
    ------
    SlipwayError
        The version fails, or rejects records that the served version accepts.
    """
    from slipway.serving.service import PredictionService

    skew = request.allow_version_skew
    service = PredictionService(Settings(path, request.engine, allow_version_skew=skew))
    if service.version != version:
        raise ModelError(f"its manifest names the version {service.version!a}")
    service.warm_up()
    if request.present:
        existing = verified_copy(Path(request.folder), request.present)
        if existing is not None:
            require_compatible(read_manifest(existing), service.model.manifest)


def _report(status: ProbeStatus) -> None:
    print(msgspec.json.encode(status).decode(), flush=True)


if __name__ == "__main__":
    _report(main(msgspec.json.decode(sys.argv[1], type=ProbeRequest)))
