"""A registry asked in a process of its own: which version, a copy of it, and does it answer.

The library that speaks to registries has threads, which do not outlive Gunicorn's fork: a worker
would wait for ever if its master had asked before. A process of its own can also be ended, however
slow a store is; and a version that brings its process down does so here, and not in a worker.
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

# A start must have ended, one way or the other, within 20 seconds.
SECONDS = 15.0
# Bytes a second that a download takes at worst, and seconds for a version to load and answer.
SLOWEST = 1_000_000
CHECK_SECONDS = 60.0


class ProbeRequest(msgspec.Struct, frozen=True):
    """What a process is to find out.

    Attributes
    ----------
    url, name : str
        Of the reference.
    folder : str
        Where the copy is put.
    present : str
        The version that serves; it need not be looked at, and another must take the same records.
    bad : str
        A version that is known to be refused; it need not be looked at either.
    number : int
        The highest entry of the alias's journal that was ever seen: a lower one is none to follow.
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
    """What a process says, a line each time it gets further; the last line counts.

    Attributes
    ----------
    version : str
    number : int
        Of the entry by which an alias stands for it.
    size : int
        Bytes that are being copied.
    checking : bool
        Whether there is a copy, which is now loaded.
    problem : str
    refused : bool
        Whether the problem is the version itself.
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
    lasting : bool
        Whether it would be refused again.
    """

    def __init__(self, version: str, message: str, *, lasting: bool) -> None:
        super().__init__(f"{version} is refused: {message}")
        self.version = version
        self.lasting = lasting


def probe(question: ProbeRequest) -> ProbeStatus:
    """Find out which version is meant, copy it, and try it.

    Parameters
    ----------
    question : ProbeRequest

    Returns
    -------
    ProbeStatus
        The version, of which there is a copy that answers as it should, and its entry's number.

    Raises
    ------
    Refused
        It is not what was pushed, or not signed with our key, or it answers wrongly.
    ModelError
        The registry cannot be asked.
    """
    said, status = _run(question)
    # Who reads this may be anybody; where registry and cache are is in the settings.
    problem = said.problem.replace(question.url, "the registry")
    problem = problem.replace(question.folder, "the cache")
    if said.checking and not said.done:
        raise VersionRejected(said.version, f"its check ended with status {status}", lasting=True)
    if said.refused:
        version = said.version or question.name
        raise VersionRejected(version, problem, lasting=said.checking)
    if not said.done or problem:
        raise ModelError(problem or f"asking the registry ended with status {status}")
    return said


def _run(question: ProbeRequest) -> tuple[ProbeStatus, int]:
    """Run this module as a process; give the last that it says, and its status."""
    process = subprocess.Popen(  # noqa: S603 - this very module
        [
            sys.executable,
            "-m",
            "slipway.serving.rollout.version_probe",
            msgspec.json.encode(question).decode(),
        ],
        env=child_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    try:
        said = _wait(process)
    finally:
        process.kill()
        process.communicate()
    return said, process.returncode


def _wait(process: subprocess.Popen[bytes]) -> ProbeStatus:
    """Wait as long as what is being done may take."""
    began = time.monotonic()
    while True:
        try:
            return _last(process.communicate(timeout=0.5)[0])
        except subprocess.TimeoutExpired as slow:
            said = _last(slow.output or b"")
        seconds = CHECK_SECONDS if said.checking else 0.0
        if time.monotonic() - began > SECONDS + said.size / SLOWEST + seconds:
            return ProbeStatus(problem=f"the registry did not answer in {SECONDS:.0f} seconds")


def _last(said: bytes) -> ProbeStatus:
    lines = said.splitlines()
    return msgspec.json.decode(lines[-1], type=ProbeStatus) if lines else ProbeStatus()


def main(question: ProbeRequest) -> ProbeStatus:
    """Find out, and say on standard output how far it is; give the last word."""
    from slipway.registry import NotTrusted, open_registry

    said = ProbeStatus()
    try:
        registry = open_registry(question.url)
        said.version, said.number = _resolve(registry, question)
        if said.version not in (question.present, question.bad):
            path = _copy(registry, Path(question.folder), said)
            said.checking = True
            _report(said)
            check(question, path, said.version)
        said.done = True
    except NotTrusted as error:
        said.done, said.refused, said.problem = True, True, error.message
    except SlipwayError as error:
        # What is wrong before the check is the registry's fault, and may be over soon.
        said.done, said.refused, said.problem = True, said.checking, error.message
    return said


def _resolve(registry: Registry, question: ProbeRequest) -> tuple[str, int]:
    """Give the version that is meant, and its entry's number.

    Whoever deletes the last entries of a journal would bring an earlier version back; only a
    rollback may, which is an entry of its own.
    """
    if not question.name.startswith("@"):
        return question.name, 0
    move = registry.alias(question.name[1:])
    if move is None:
        return registry.resolve(question.name), 0
    if move.number < question.number:
        raise ModelError(
            f"{move.alias} is at entry {move.number}, where entry {question.number} was before: "
            "entries were deleted; if that is right, remove the cache and start anew"
        )
    return move.version, move.number


def _copy(registry: Registry, folder: Path, said: ProbeStatus) -> Path:
    """Copy a version, unless there is a copy already."""
    there = verified_copy(folder, said.version)
    if there is not None:
        return there
    said.size = registry.stored(said.version).size
    _report(said)
    return registry.fetch(said.version, folder)


def check(question: ProbeRequest, path: Path, version: str) -> None:
    """Let a version answer as it will have to.

    Raises
    ------
    SlipwayError
        It does not, or it would not take what its callers send.
    """
    from slipway.serving.service import PredictionService

    skew = question.allow_version_skew
    live = PredictionService(Settings(path, question.engine, allow_version_skew=skew))
    if live.version != version:
        raise ModelError(f"its manifest is that of {live.version!a}")
    live.warm_up()
    if question.present:
        there = verified_copy(Path(question.folder), question.present)
        if there is not None:
            require_compatible(read_manifest(there), live.model.manifest)


def _report(said: ProbeStatus) -> None:
    print(msgspec.json.encode(said).decode(), flush=True)


if __name__ == "__main__":
    _report(main(msgspec.json.decode(sys.argv[1], type=ProbeRequest)))
