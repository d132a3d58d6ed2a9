"""The report of a model version: one HTML file next to its pickle, to read, keep and print."""

from __future__ import annotations

from pathlib import Path

from slipway.core.files import write_atomic
from slipway.models.artifacts import read_report, report_path
from slipway.models.manifest import Manifest
from slipway.models.promotion_record import Promotion
from slipway.reports.html.template_folder import TEMPLATES

__all__ = ["TEMPLATES", "read_report", "report_path", "write_report"]


def write_report(
    manifest: Manifest,
    model: Path,
    previous: Manifest | None = None,
    promotion: Promotion | None = None,
) -> Path:
    """Write the report of a version next to its pickle.

    Parameters
    ----------
    manifest : Manifest
    model : Path
        The pickle. The covariance is in the same folder.
    previous : Manifest, optional
        The previous version in production, to compare with.
    promotion : Promotion, optional
        The comparison with that version on the same rows.

    Returns
    -------
    Path
    """
    # A web process only serves reports, so it does not import the renderer.
    from slipway.reports.html.renderer import report_text

    text = report_text(manifest, model, previous, promotion)
    return write_atomic(report_path(model), text.encode())
