"""A verdict in words, and as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from slipway.core.text_tables import format_sections, format_table, wrap_text
from slipway.models.promotion_record import Check, Evidence, Outcome, Promotion
from slipway.training.retraining.non_inferiority import BASE, PRODUCTION
from slipway.training.retraining.registry_state import RegistryState


def verdict(evidence: Evidence, aliases: RegistryState) -> tuple[Outcome, str]:
    """Give what is to become of the new model, and why."""
    if not evidence.passed:
        return "kept", "; ".join(_failed(check) for check in evidence.checks if not check.passed)
    if aliases.withdrawn:
        move = aliases.withdrawn
        told = f"{move.who} took this very model out of production: {move.why or 'no reason given'}"
        return "kept", f"{told}; `flask model promote` brings it back"
    return "promoted", _passed(evidence)


def _failed(check: Check) -> str:
    asked = f", asked for is {check.asked}" if check.asked else ""
    return f"{check.rule}: {check.found}{asked}"


def _passed(evidence: Evidence) -> str:
    """Say why the new model may take over."""
    rows = f"on {evidence.rows:,} rows held out"
    if PRODUCTION not in evidence.compared:
        gain = -evidence.compared[BASE].log_loss.value
        first = "nothing was in production, and it is better than the base rate"
        return f"{first}: log loss {gain:.4f} less {rows}"
    found = evidence.compared[PRODUCTION].log_loss
    told = f"log loss {found.value:+.5f} against production {rows}"
    return f"{told}, at most {found.high:+.5f}"


def summary(promotion: Promotion) -> str:
    """Give the verdict in a line."""
    if promotion.outcome == "nothing new":
        return f"nothing new: {promotion.reason}"
    word = "promoted" if promotion.outcome == "promoted" else "kept as candidate"
    if promotion.dry_run:
        word = "would be promoted" if word == "promoted" else "would stay candidate"
    return f"{promotion.version} {word}: {promotion.reason}"


def shown(promotion: Promotion) -> str:
    """Give the evidence and the verdict for a terminal."""
    evidence = promotion.evidence
    sections: dict[str, Sequence[str]] = {}
    if evidence:
        grouped = f", {evidence.groups:,} groups by {evidence.grouped_by}"
        by = grouped if evidence.grouped_by else ""
        sections[f"On {evidence.rows:,} rows held out{by}"] = _scores(evidence)
        sections["Rules"] = format_table(
            [("", "", "found", "asked for"), *map(_row, evidence.checks)]
        )
        sections["To know"] = [line for note in evidence.notes for line in wrap_text("  ", note)]
    sections["Verdict"] = wrap_text("  ", summary(promotion))
    return format_sections(sections)


def _scores(evidence: Evidence) -> list[str]:
    """Give each model's scores."""
    head = ("", "log loss", "calibration error", "ROC AUC")
    rows = [
        (
            name,
            f"{its.log_loss:.5f}",
            f"{its.calibration_error:.4f}",
            "" if its.roc_auc is None else f"{its.roc_auc:.4f}",
        )
        for name, its in evidence.scores.items()
    ]
    return format_table([head, *rows]) if rows else []


def _row(check: Check) -> tuple[str, str, str, str]:
    return "ok" if check.passed else "NO", check.rule, check.found, check.asked
