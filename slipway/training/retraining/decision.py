"""Decide whether a retrained model is promoted or stays a candidate."""

from __future__ import annotations

from slipway.models.promotion_record import Check, Evidence, Outcome
from slipway.training.retraining.non_inferiority import BASE, PRODUCTION
from slipway.training.retraining.registry_state import RegistryState


def decide_outcome(evidence: Evidence, state: RegistryState) -> tuple[Outcome, str]:
    """Decide whether to promote the new model, and return the reason."""
    if not evidence.passed:
        return "kept", "; ".join(
            _format_failure(check) for check in evidence.checks if not check.passed
        )
    if state.withdrawal:
        move = state.withdrawal
        message = (
            f"{move.who} removed this model from production: {move.why or 'no reason recorded'}"
        )
        return "kept", f"{message}; use `slipway model promote` to promote it again"
    return "promoted", _explain_promotion(evidence)


def _format_failure(check: Check) -> str:
    required = f" (required: {check.asked})" if check.asked else ""
    return f"{check.rule}: {check.found}{required}"


def _explain_promotion(evidence: Evidence) -> str:
    """Return the reason for a promotion."""
    rows = f"on {evidence.rows:,} held out rows"
    if PRODUCTION not in evidence.compared:
        gain = -evidence.compared[BASE].log_loss.value
        reason = "production was empty, and the model is better than the base rate"
        return f"{reason}: log loss lower by {gain:.4f} {rows}"
    difference = evidence.compared[PRODUCTION].log_loss
    message = f"log loss {difference.value:+.5f} against production {rows}"
    return f"{message}, at most {difference.high:+.5f}"
