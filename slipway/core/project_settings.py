"""Settings that a project keeps in a file of its own."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from slipway.core.settings import Settings

FILE = "slipway.toml"


def read_settings(root: Path) -> Settings:
    """Return the settings of a project: those of the environment, then of ``slipway.toml``.

    Raises
    ------
    ValueError
        As by ``apply_project_settings`` and ``Settings.from_environ``.
    """
    apply_project_settings(root)
    return Settings.from_environ(root)


def apply_project_settings(root: Path) -> None:
    """Set the variables of ``slipway.toml`` that the environment does not have.

    Parameters
    ----------
    root : Path
        The folder of the project; it need not have the file.

    Raises
    ------
    ValueError
        The file is not TOML, or holds something else than SLIPWAY_ settings.
    """
    try:
        settings = tomllib.loads((root / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read {FILE}: {error}") from error
    for name, value in settings.items():
        if not name.startswith("SLIPWAY_") or not isinstance(value, str | int | float):
            raise ValueError(
                f"{FILE} must hold SLIPWAY_ settings with texts or numbers, not {name}"
            )
        if not os.environ.get(name):
            os.environ[name] = str(int(value) if isinstance(value, bool) else value)
