"""Format the outcome of a retraining for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from slipway.core.text_tables import format_sections, format_table, wrap_text
from slipway.models.promotion_record import Check, Evidence, Promotion


def summarize(promotion: Promotion) -> str:
    """Format the outcome in one line."""
    if promotion.outcome == "nothing new":
        return f"nothing new: {promotion.reason}"
    outcome = "promoted" if promotion.outcome == "promoted" else "kept as candidate"
    if promotion.dry_run:
        outcome = "would be promoted" if outcome == "promoted" else "would stay candidate"
    return f"{promotion.version} {outcome}: {promotion.reason}"


def format_promotion(promotion: Promotion) -> str:
    """Format the evidence and the outcome for a terminal."""
    evidence = promotion.evidence
    sections: dict[str, Sequence[str]] = {}
    if evidence:
        grouped = f", {evidence.groups:,} groups by {evidence.grouped_by}"
        by = grouped if evidence.grouped_by else ""
        sections[f"On {evidence.rows:,} held out rows{by}"] = _format_scores(evidence)
        sections["Rules"] = format_table(
            [("", "", "found", "required"), *map(_format_check, evidence.checks)]
        )
        sections["Notes"] = [line for note in evidence.notes for line in wrap_text("  ", note)]
    sections["Verdict"] = wrap_text("  ", summarize(promotion))
    return format_sections(sections)


def _format_scores(evidence: Evidence) -> list[str]:
    """Format the scores of each model."""
    head = ("", "log loss", "calibration error", "ROC AUC")
    rows = [
        (
            name,
            f"{scores.log_loss:.5f}",
            f"{scores.calibration_error:.4f}",
            "" if scores.roc_auc is None else f"{scores.roc_auc:.4f}",
        )
        for name, scores in evidence.scores.items()
    ]
    return format_table([head, *rows]) if rows else []


def _format_check(check: Check) -> tuple[str, str, str, str]:
    return "ok" if check.passed else "NO", check.rule, check.found, check.asked
