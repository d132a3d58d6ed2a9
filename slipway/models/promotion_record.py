"""What ``flask retrain`` found out about a new model, and what became of it: ``promotion.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from slipway.core.files import write_atomic

Outcome = Literal["promoted", "kept", "nothing new"]
FILE = "promotion.json"


class HoldoutScores(msgspec.Struct, frozen=True):
    """How good one model is on the rows held out.

    Attributes
    ----------
    log_loss : float
    calibration_error : float
        Expected calibration error over ten intervals, see ``slipway.models.manifest.Scores``.
    roc_auc : float, optional
        None where only one class is.
    """

    log_loss: float
    calibration_error: float
    roc_auc: float | None


class Difference(msgspec.Struct, frozen=True):
    """The new model's score less another's, and the upper end of its one-sided interval."""

    value: float
    high: float


class ModelComparison(msgspec.Struct, frozen=True):
    """The differences between the new model and one other, on the same rows."""

    log_loss: Difference
    calibration_error: Difference


class Check(msgspec.Struct, frozen=True):
    """One rule, what was found, what is asked for, and whether that holds."""

    rule: str
    found: str
    asked: str
    passed: bool


class Evidence(msgspec.Struct, frozen=True):
    """What the rows held out say.

    Attributes
    ----------
    rows, positive, groups : int
        How many, and how many of them of the positive class.
    grouped_by : str
        The column whose groups were drawn again; empty where it was single rows.
    scores : dict of str to MeasuredDifference
        Of ``new``, ``production`` and ``base rate``, as far as they could be asked.
    compared : dict of str to ModelComparison
        With ``production`` and ``base rate``.
    checks : tuple of Check
    notes : tuple of str
        What cannot be known.
    """

    rows: int
    positive: int
    groups: int
    grouped_by: str
    scores: dict[str, HoldoutScores]
    compared: dict[str, ModelComparison]
    checks: tuple[Check, ...]
    notes: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the new model may be promoted."""
        return all(check.passed for check in self.checks)


class Promotion(msgspec.Struct, frozen=True):
    """One run of ``flask retrain``.

    Attributes
    ----------
    outcome : {"promoted", "kept", "nothing new"}
    reason : str
    dry_run : bool
        Whether it was only tried: nothing was pushed or moved.
    made : str
        UTC.
    version, sha256 : str
        The new model, and the hash of its pickle.
    production : str, optional
        The version in production before.
    data_sha256 : str
        Of the rows.
    rules : dict
        The thresholds that held.
    evidence_id : str
        A hash of all that the verdict depends on.
    evidence : Evidence, optional
        None where there was nothing to judge.
    """

    outcome: Outcome
    reason: str
    dry_run: bool
    made: str
    version: str
    sha256: str
    production: str | None
    data_sha256: str
    rules: dict[str, float | int]
    evidence_id: str
    evidence: Evidence | None = None

    @property
    def status(self) -> int:
        """The exit status: 3 where the new model stays candidate, else 0."""
        return 3 if self.outcome == "kept" else 0


def write_promotion(promotion: Promotion, folder: Path) -> None:
    """Write ``promotion.json`` into a folder, in one step."""
    text = msgspec.json.format(msgspec.json.encode(promotion), indent=1)
    write_atomic(folder / FILE, text + b"\n")
