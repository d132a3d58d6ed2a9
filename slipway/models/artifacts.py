"""The files of a model version, beside its pickle."""

from __future__ import annotations

import html
import re
from pathlib import Path

# The mark stands in the head, before anything that comes from data.
_MARK = re.compile(rb'<meta name="model-version" content="([^"]*)">')


def report_path(model: Path) -> Path:
    """Give the report that stands beside a pickle."""
    return model.with_name("report.html")


def read_report(model: Path, version: str) -> bytes | None:
    """Read the report beside a pickle, if it is that of the version.

    A pickle can be written anew without a report, and then another version's stands there.

    Parameters
    ----------
    model : Path
    version : str

    Returns
    -------
    bytes or None
    """
    try:
        content = report_path(model).read_bytes()
    except OSError:
        return None
    mark = _MARK.search(content)
    whose = "" if mark is None else html.unescape(mark[1].decode(errors="replace"))
    return content if mark is not None and whose == version else None


def manifest_path(model: Path) -> Path:
    """Give the manifest that stands beside a pickle."""
    return model.with_suffix(".json")


def covariance_path(model: Path) -> Path:
    """Give the covariance that stands beside a pickle."""
    return model.with_suffix(".covariance")
