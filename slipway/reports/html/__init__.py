"""The report of a model version: one HTML file beside its pickle, to read, keep and print."""

from __future__ import annotations

from pathlib import Path

from slipway.models.artifacts import TEMPLATES, read_report, report_path
from slipway.models.manifest import Manifest
from slipway.models.promotion_record import Promotion

__all__ = ["TEMPLATES", "read_report", "report_path", "write_report"]


def write_report(
    manifest: Manifest,
    model: Path,
    previous: Manifest | None = None,
    promotion: Promotion | None = None,
) -> Path:
    """Write the report of a version beside its pickle.

    Parameters
    ----------
    manifest : Manifest
    model : Path
        The pickle, beside which the covariance stands too.
    previous : Manifest, optional
        The version in production before, to compare with.
    promotion : Promotion, optional
        How it was held against that version, on the same rows.

    Returns
    -------
    Path
    """
    # A web process gives reports and never writes one; it does not load what that needs.
    from slipway.reports.html.renderer import report_text

    path = report_path(model)
    draft = path.with_name(f"{path.name}.part")
    draft.write_text(report_text(manifest, model, previous, promotion), encoding="utf-8")
    # A service that reads it at this moment gets the old one or the new one.
    draft.replace(path)
    return path
