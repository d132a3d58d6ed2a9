"""The settings of the service, read once from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

Engine = Literal["scorecard", "pickle"]


@dataclass(frozen=True)
class Settings:
    """What can be set from outside, with its default.

    Attributes
    ----------
    model : Path
        The pickle to serve; its manifest stands beside it (``SLIPWAY_MODEL``).
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
    """

    model: Path
    engine: Engine = "scorecard"
    allow_version_skew: bool = False
    problem: str = "flights"
    max_records: int = 10_000
    max_json_bytes: int = 16 * 2**20
    max_file_bytes: int = 2**30

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
        if engine not in get_args(Engine):
            raise ValueError(f"SLIPWAY_ENGINE must be one of {', '.join(get_args(Engine))}")
        return cls(
            model=root / environ.get("SLIPWAY_MODEL", "model.pkl"),
            engine=cast(Engine, engine),
            allow_version_skew=_flag(environ, "SLIPWAY_ALLOW_VERSION_SKEW"),
            problem=environ.get("SLIPWAY_PROBLEM", cls.problem),
            max_records=_count(environ, "SLIPWAY_MAX_RECORDS", cls.max_records),
            max_json_bytes=_count(environ, "SLIPWAY_MAX_JSON_BYTES", cls.max_json_bytes),
            max_file_bytes=_count(environ, "SLIPWAY_MAX_FILE_BYTES", cls.max_file_bytes),
        )


def _flag(environ: Mapping[str, str], name: str) -> bool:
    """Read a switch that is off unless it is 1."""
    text = environ.get(name, "0")
    if text not in ("0", "1"):
        raise ValueError(f"{name} must be 0 or 1")
    return text == "1"


def _count(environ: Mapping[str, str], name: str, default: int) -> int:
    """Read a whole number above zero."""
    text = environ.get(name, str(default))
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise ValueError(f"{name} must be a whole number above zero")
    return int(text)
