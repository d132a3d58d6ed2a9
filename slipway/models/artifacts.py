"""Paths of the files of a model version, next to its pickle."""

from __future__ import annotations

import html
import re
from pathlib import Path

# The mark is in the head of the page, before any text that comes from data.
_MARK = re.compile(rb'<meta name="model-version" content="([^"]*)">')


def report_path(model: Path) -> Path:
    """Return the path of the report next to a pickle."""
    return model.with_name("report.html")


def read_report(model: Path, version: str) -> bytes | None:
    """Return the report next to a pickle, or None if it is missing or of another version.

    After a pickle is overwritten without a report, the report of the previous version remains.

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
    if mark is None:
        return None
    reported = html.unescape(mark[1].decode(errors="replace"))
    return content if reported == version else None


def manifest_path(model: Path) -> Path:
    """Return the path of the manifest next to a pickle."""
    return model.with_suffix(".json")


def covariance_path(model: Path) -> Path:
    """Return the path of the covariance next to a pickle."""
    return model.with_suffix(".covariance")
