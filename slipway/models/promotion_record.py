"""The result of ``slipway retrain``: ``promotion.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from slipway.core.files import write_atomic

Outcome = Literal["promoted", "kept", "nothing new"]
FILE = "promotion.json"


class HoldoutScores(msgspec.Struct, frozen=True):
    """Scores of one model on the held-out rows.

    Attributes
    ----------
    log_loss : float
    calibration_error : float
        Expected calibration error over ten intervals, see ``slipway.models.manifest.Scores``.
    roc_auc : float, optional
        None if the rows have only one class.
    """

    log_loss: float
    calibration_error: float
    roc_auc: float | None


class Difference(msgspec.Struct, frozen=True):
    """The new model's score minus another's, and the upper end of a one-sided interval."""

    value: float
    high: float


class ModelComparison(msgspec.Struct, frozen=True):
    """The differences between the new model and another one, on the same rows."""

    log_loss: Difference
    calibration_error: Difference


class Check(msgspec.Struct, frozen=True):
    """A rule, the measured value, the required value, and whether the rule is met."""

    rule: str
    found: str
    asked: str
    passed: bool


class Evidence(msgspec.Struct, frozen=True):
    """The evidence from the held-out rows.

    Attributes
    ----------
    rows, positive, groups : int
        The numbers of rows, of rows of the positive class, and of groups.
    grouped_by : str
        The column whose groups were resampled; empty if single rows were resampled.
    scores : dict of str to HoldoutScores
        By model: ``new``, ``production`` and ``base rate``, as far as they can predict the rows.
    compared : dict of str to ModelComparison
        Comparisons with ``production`` and ``base rate``.
    checks : tuple of Check
    notes : tuple of str
        Limits of the evidence.
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
    """One run of ``slipway retrain``.

    Attributes
    ----------
    outcome : {"promoted", "kept", "nothing new"}
    reason : str
    dry_run : bool
        Whether it was a dry run, without changes to the registry.
    made : str
        The time in UTC.
    version, sha256 : str
        The new model, and the hash of its pickle.
    production : str, optional
        The version that was in production before the run.
    data_sha256 : str
        The hash of the rows.
    rules : dict
        The thresholds of the rules.
    evidence_id : str
        A hash of everything that the decision depends on.
    evidence : Evidence, optional
        None if the models were not compared.
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
        """The exit status: 3 if the new model remains a candidate, otherwise 0."""
        return 3 if self.outcome == "kept" else 0


def write_promotion(promotion: Promotion, folder: Path) -> None:
    """Write ``promotion.json`` into a folder atomically."""
    text = msgspec.json.format(msgspec.json.encode(promotion), indent=1)
    write_atomic(folder / FILE, text + b"\n")
