"""Settings of the service, read once from environment variables."""

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
    """A version or an alias in a registry.

    Attributes
    ----------
    url : str
        The registry: a folder or the URL of a bucket.
    name : str
        A version, or an alias prefixed with ``@``.
    """

    url: str
    name: str

    @property
    def is_fixed(self) -> bool:
        """Whether the reference names a version, which never changes, and not an alias."""
        return not self.name.startswith("@")

    def __str__(self) -> str:
        return f"{self.url}{'@' if self.is_fixed else ''}{self.name}"


@dataclass(frozen=True)
class Settings:
    """Values of the ``SLIPWAY_*`` variables, and their defaults.

    Attributes
    ----------
    model : Path
        The pickle to serve, next to its manifest (``SLIPWAY_MODEL``). If the service uses a
        registry, the pickle that the commands read and write.
    engine : {"scorecard", "pickle"}
        The serving engine: the scorecard or the unpickled pipeline (``SLIPWAY_ENGINE``).
    allow_version_skew : bool
        Whether to serve a pickle of another scikit-learn version if it reproduces the golden
        rows (``SLIPWAY_ALLOW_VERSION_SKEW``).
    problem : str
        The module that defines the problem (``SLIPWAY_PROBLEM``).
    max_records : int
        Maximum number of records in a JSON array (``SLIPWAY_MAX_RECORDS``).
    max_json_bytes : int
        Maximum size of a JSON or form body in bytes (``SLIPWAY_MAX_JSON_BYTES``).
    max_file_bytes : int
        Maximum size of an uploaded CSV file in bytes (``SLIPWAY_MAX_FILE_BYTES``).
    reference : Reference, optional
        The version or alias to serve, if ``SLIPWAY_MODEL`` names a registry.
    shadow : Reference, optional
        A candidate that receives a copy of every request (``SLIPWAY_SHADOW``).
    poll : float
        Polling interval for the alias in seconds; 0 disables polling (``SLIPWAY_MODEL_POLL``).
    cache : Path
        Folder for local copies of versions (``SLIPWAY_CACHE``).
    trusted_hosts : tuple of str
        Accepted host names; empty accepts all (``SLIPWAY_TRUSTED_HOSTS``). A leading dot also
        accepts the subdomains.
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
            The project folder, to which relative paths refer.
        environ : mapping of str to str

        Returns
        -------
        Settings

        Raises
        ------
        ValueError
            A variable has an invalid value; the message names the variable.
        """
        served = read_reference(root, environ.get("SLIPWAY_MODEL", "model.pkl"))
        return cls(
            model=served if isinstance(served, Path) else root / "model.pkl",
            engine=_read_engine(environ),
            allow_version_skew=_read_flag(environ, "SLIPWAY_ALLOW_VERSION_SKEW"),
            problem=environ.get("SLIPWAY_PROBLEM") or cls.problem,
            max_records=_read_count(environ, "SLIPWAY_MAX_RECORDS", cls.max_records),
            max_json_bytes=_read_count(environ, "SLIPWAY_MAX_JSON_BYTES", cls.max_json_bytes),
            max_file_bytes=_read_count(environ, "SLIPWAY_MAX_FILE_BYTES", cls.max_file_bytes),
            reference=served if isinstance(served, Reference) else None,
            shadow=_read_shadow(root, environ),
            poll=_read_seconds(environ, "SLIPWAY_MODEL_POLL", cls.poll),
            cache=root / environ.get("SLIPWAY_CACHE", CACHE),
            trusted_hosts=_read_hosts(environ, "SLIPWAY_TRUSTED_HOSTS"),
        )


def read_reference(root: Path, text: str) -> Path | Reference:
    """Parse the location of a model: a pickle, or a version or alias in a registry.

    Parameters
    ----------
    root : Path
        Folder to which relative paths refer.
    text : str
        ``model.pkl``, its folder, or a registry: ``models``, ``models@candidate``,
        ``models@20260101T120000Z-1a2b3c4d``, ``s3://bucket/prefix@production``. A registry
        without a name means its alias ``production``.

    Returns
    -------
    Path or Reference
    """
    url, _, name = text.rpartition("@")
    # An @ before a slash belongs to the path, as in a folder named a@b.
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


def _read_engine(environ: Mapping[str, str]) -> ServingEngine:
    engine = environ.get("SLIPWAY_ENGINE", "scorecard")
    if engine not in get_args(ServingEngine):
        engines = ", ".join(get_args(ServingEngine))
        raise ValueError(f"SLIPWAY_ENGINE must be one of {engines}, not {engine!r}")
    return cast(ServingEngine, engine)


def _read_shadow(root: Path, environ: Mapping[str, str]) -> Reference | None:
    text = environ.get("SLIPWAY_SHADOW", "")
    shadow = read_reference(root, text) if text else None
    if isinstance(shadow, Path):
        raise ValueError(
            f"SLIPWAY_SHADOW must be in a registry, such as models@candidate, not {text!r}"
        )
    return shadow


def _read_flag(environ: Mapping[str, str], name: str) -> bool:
    """Return a flag that is 0 or 1; the default is 0."""
    text = environ.get(name, "0")
    if text not in ("0", "1"):
        raise ValueError(f"{name} must be 0 or 1, not {text!r}")
    return text == "1"


def _read_hosts(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    """Return comma-separated host names."""
    hosts = [host.strip().lower() for host in environ.get(name, "").split(",")]
    for host in filter(None, hosts):
        if not _HOST.fullmatch(host):
            example = "such as example.com,.example.org"
            raise ValueError(f"{name} must be comma-separated host names {example}, not {host!r}")
    return tuple(filter(None, hosts))


def _read_count(environ: Mapping[str, str], name: str, default: int) -> int:
    """Return a positive integer."""
    text = environ.get(name, str(default))
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise ValueError(f"{name} must be a positive integer, not {text!r}")
    return int(text)


def _read_seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    """Return a number of seconds, 0 or more."""
    text = environ.get(name, str(default))
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{name} must be a number of seconds, 0 or more, not {text!r}")
    return seconds
