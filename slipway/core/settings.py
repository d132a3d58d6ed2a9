"""The settings of the service, read once from the environment."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, cast, get_args

ServingEngine = Literal["scorecard", "pickle"]
CACHE = Path(".cache/models")
_HOST = re.compile(r"\.?[\w-]+(\.[\w-]+)*")
_VERSION = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8,}", re.ASCII)


class Reference(NamedTuple):
    """What to serve out of a registry.

    Attributes
    ----------
    url : str
        The registry: a folder, or a bucket's URL.
    name : str
        A version, or an alias with an ``@`` in front of it.
    """

    url: str
    name: str

    @property
    def is_fixed(self) -> bool:
        """Whether it is a version, which never changes."""
        return not self.name.startswith("@")

    def __str__(self) -> str:
        return f"{self.url}{'@' if self.is_fixed else ''}{self.name}"


@dataclass(frozen=True)
class Settings:
    """What can be set from outside, with its default.

    Attributes
    ----------
    model : Path
        The pickle to serve; its manifest stands beside it (``SLIPWAY_MODEL``). Where a registry
        is served, what the commands write to and read.
    engine : {"scorecard", "pickle"}
        What answers: the scorecard, or the unpickled pipeline (``SLIPWAY_ENGINE``).
    allow_version_skew : bool
        Whether a pickle made by another scikit-learn may answer, if it reproduces the golden
        rows (``SLIPWAY_ALLOW_VERSION_SKEW``).
    problem : str
        The module that says what is being predicted (``SLIPWAY_PROBLEM``).
    max_records : int
        Records in one JSON array (``SLIPWAY_MAX_RECORDS``).
    max_json_bytes : int
        Bytes of a JSON or form body (``SLIPWAY_MAX_JSON_BYTES``).
    max_file_bytes : int
        Bytes of an uploaded CSV file (``SLIPWAY_MAX_FILE_BYTES``).
    reference : Reference, optional
        What to serve out of a registry, where ``SLIPWAY_MODEL`` names one.
    shadow : Reference, optional
        A candidate that is asked the same as the served model (``SLIPWAY_SHADOW``).
    poll : float
        Seconds between two looks at an alias, 0 for none (``SLIPWAY_MODEL_POLL``).
    cache : Path
        Where copies of versions are kept (``SLIPWAY_CACHE``).
    trusted_hosts : tuple of str
        The names that requests may be sent to, all where it is empty
        (``SLIPWAY_TRUSTED_HOSTS``); one with a dot in front stands for all below it too.
    """

    model: Path
    engine: ServingEngine = "scorecard"
    allow_version_skew: bool = False
    problem: str = "problem"
    max_records: int = 10_000
    max_json_bytes: int = 16 * 2**20
    max_file_bytes: int = 2**30
    reference: Reference | None = None
    shadow: Reference | None = None
    poll: float = 30.0
    cache: Path = CACHE
    trusted_hosts: tuple[str, ...] = ()

    @classmethod
    def from_environ(cls, root: Path, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read the settings from environment variables.

        Parameters
        ----------
        root : Path
            The project's folder; a relative model path starts there.
        environ : mapping of str to str

        Returns
        -------
        Settings

        Raises
        ------
        ValueError
            A variable holds something that cannot be used; the message names it.
        """
        engine = environ.get("SLIPWAY_ENGINE", "scorecard")
        if engine not in get_args(ServingEngine):
            raise ValueError(f"SLIPWAY_ENGINE must be one of {', '.join(get_args(ServingEngine))}")
        served = read_reference(root, environ.get("SLIPWAY_MODEL", "model.pkl"))
        shadow = environ.get("SLIPWAY_SHADOW", "")
        candidate = read_reference(root, shadow) if shadow else None
        if isinstance(candidate, Path):
            raise ValueError("SLIPWAY_SHADOW must be in a registry, as models@candidate")
        return cls(
            model=served if isinstance(served, Path) else root / "model.pkl",
            engine=cast(ServingEngine, engine),
            allow_version_skew=_flag(environ, "SLIPWAY_ALLOW_VERSION_SKEW"),
            problem=environ.get("SLIPWAY_PROBLEM") or cls.problem,
            max_records=_count(environ, "SLIPWAY_MAX_RECORDS", cls.max_records),
            max_json_bytes=_count(environ, "SLIPWAY_MAX_JSON_BYTES", cls.max_json_bytes),
            max_file_bytes=_count(environ, "SLIPWAY_MAX_FILE_BYTES", cls.max_file_bytes),
            reference=served if isinstance(served, Reference) else None,
            shadow=candidate,
            poll=_seconds(environ, "SLIPWAY_MODEL_POLL", cls.poll),
            cache=root / environ.get("SLIPWAY_CACHE", CACHE),
            trusted_hosts=_hosts(environ, "SLIPWAY_TRUSTED_HOSTS"),
        )


def read_reference(root: Path, text: str) -> Path | Reference:
    """Read what is to be served: a pickle, or a version or an alias of a registry.

    Parameters
    ----------
    root : Path
        Where relative paths start.
    text : str
        ``model.pkl``, a folder that holds one, or a registry: ``models``, ``models@candidate``,
        ``models@20260101T120000Z-1a2b3c4d``, ``s3://bucket/prefix@production``. A registry alone
        stands for its alias production.

    Returns
    -------
    Path or Reference
    """
    url, _, name = text.rpartition("@")
    # What stands before a slash belongs to the address, as in a folder called a@b.
    if not url or "/" in name or (root / text).exists():
        url, name = text, "production"
    if "://" not in url:
        path = root / url
        if path.suffix == ".pkl" or path.is_file():
            return root / text
        if (path / "model.pkl").is_file():
            return path / "model.pkl"
        url = str(path)
    return Reference(url, name if _VERSION.fullmatch(name) else f"@{name}")


def _flag(environ: Mapping[str, str], name: str) -> bool:
    """Read a switch that is off unless it is 1."""
    text = environ.get(name, "0")
    if text not in ("0", "1"):
        raise ValueError(f"{name} must be 0 or 1")
    return text == "1"


def _hosts(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    """Read names with commas between them."""
    hosts = [host.strip().lower() for host in environ.get(name, "").split(",")]
    if any(host and not _HOST.fullmatch(host) for host in hosts):
        raise ValueError(f"{name} must be names with commas, as example.com,.example.org")
    return tuple(host for host in hosts if host)


def _count(environ: Mapping[str, str], name: str, default: int) -> int:
    """Read a whole number above zero."""
    text = environ.get(name, str(default))
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise ValueError(f"{name} must be a whole number above zero")
    return int(text)


def _seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    """Read a number of seconds, 0 or more."""
    try:
        seconds = float(environ.get(name, default))
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{name} must be a number of seconds, 0 or more")
    return seconds
