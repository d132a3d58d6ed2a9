"""Render the report of a model version."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from slipway.models.manifest import Manifest
from slipway.models.promotion_record import Promotion
from slipway.reports import feature_texts
from slipway.reports import learning_curve_charts as learningplots
from slipway.reports import svg_charts as charts
from slipway.reports.formatting import FILTERS
from slipway.reports.html.sections import (
    build_comparison,
    build_evaluations,
    count_rows,
    label_rule,
    read_uncertainty,
)
from slipway.reports.html.template_folder import TEMPLATES
from slipway.reports.term_charts import score_unit, sum_cards


def report_text(
    manifest: Manifest,
    model: Path,
    previous: Manifest | None = None,
    promotion: Promotion | None = None,
) -> str:
    """Return the report of a version as HTML; see ``slipway.reports.html.write_report``.

    The report loads nothing from outside: it contains its styles and drawings. As a second line of
    defence, its Content-Security-Policy blocks everything else.
    """
    uncertainty, no_intervals = read_uncertainty(manifest, model)
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    return (
        _create_environment()
        .get_template("report.html")
        .render(
            style=Markup(style),  # noqa: S704
            style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
            manifest=manifest,
            features=manifest.signature.by_name,
            counts=count_rows(manifest.training),
            label_rule=label_rule(manifest),
            evaluated=build_evaluations(manifest, previous),
            compared=build_comparison(manifest, previous),
            promotion=promotion,
            sums=sum_cards(manifest, uncertainty),
            unit=score_unit(manifest),
            no_intervals=no_intervals,
            charts=charts,
            learningplots=learningplots,
        )
    )


def _create_environment() -> Environment:
    """Create the template environment, which escapes all texts from the manifest."""
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
    environment.filters.update(
        {function.__name__: function for function in (*FILTERS, *feature_texts.FILTERS)}
    )
    return environment
