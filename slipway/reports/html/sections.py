"""Contents of a report that the manifest does not contain: row counts and comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slipway.core.errors import ModelError
from slipway.models.artifacts import covariance_path
from slipway.models.features import Target
from slipway.models.intervals import Uncertainty
from slipway.models.manifest import Evaluation, Manifest, Scores, Training
from slipway.reports.model_diff import Difference, compare

MAX_CHANGES = 12


@dataclass(frozen=True)
class EvaluationSection:
    """An evaluation, with the scores of the previous version if it has them.

    Attributes
    ----------
    key : str
    evaluation : Evaluation
    scores : dict of str to Scores
        ``before`` comes after ``model``.
    same_rows : bool
        Whether both versions were tested on the same rows, according to the manifests.
    """

    key: str
    evaluation: Evaluation
    scores: dict[str, Scores]
    same_rows: bool


@dataclass(frozen=True)
class ComparisonSection:
    """The changes since the previous version.

    Attributes
    ----------
    previous : Manifest
    difference : Difference
    """

    previous: Manifest
    difference: Difference

    @property
    def terms(self) -> Sequence[tuple[str, str, str, float | None, float | None]]:
        """The largest changes of terms: feature, class, value, before and after."""
        terms = self.difference.terms or ()
        return [(t.feature, t.label, t.where, t.before, t.after) for t in terms[:MAX_CHANGES]]

    @property
    def further_terms(self) -> int:
        """The number of other terms that have changed."""
        return max(len(self.difference.terms or ()) - MAX_CHANGES, 0)


def count_rows(training: Training) -> list[tuple[str, int]]:
    """Return the use of the rows read, with counts that add up to all rows."""
    uses = [("used for fitting", training.rows_fit), ("held out for testing", training.rows_test)]
    uses += [(f"left out: {reason}", count) for reason, count in training.left_out.items()]
    rest = training.rows_read - sum(count for _, count in uses)
    return [*uses, ("not accounted for", rest)] if rest else uses


def label_rule(manifest: Manifest) -> str:
    """Describe how a prediction becomes a label; empty for a regression."""
    target, threshold = manifest.signature.target, manifest.threshold
    if target.task == "regression":
        return ""
    if target.measure != "probability":
        return "The label is the result of the pipeline's predict; the model has no probabilities."
    if threshold is None:
        return "The label is the most probable class. A tie goes to the class that predict returns."
    rule = f"A probability of {threshold:g} or more gets the label “{target.positive}”"
    return f"{rule}{_describe_other_class(target)}."


def _describe_other_class(target: Target) -> str:
    """Describe the class of lower probabilities."""
    others = [name for name in target.classes if name != target.positive]
    return f", a lower probability “{others[0]}”" if len(others) == 1 else ""


def build_evaluations(manifest: Manifest, previous: Manifest | None) -> list[EvaluationSection]:
    """Return the evaluations, with the scores of the previous version next to this one's."""
    before = {} if previous is None else previous.evaluations
    evaluations = []
    for key, evaluation in manifest.evaluations.items():
        scores, old = dict(evaluation.scores), before.get(key)
        same_rows = True
        if previous is not None and old is not None and "model" in old.scores:
            scores = _insert_previous(scores, old.scores["model"])
            same_rows = _has_same_rows(manifest, evaluation, previous, old)
        evaluations.append(EvaluationSection(key, evaluation, scores, same_rows))
    return evaluations


def _insert_previous(scores: dict[str, Scores], before: Scores) -> dict[str, Scores]:
    """Insert the scores of the previous version after those of this model."""
    own = {name: values for name, values in scores.items() if name == "model"}
    return own | {"before": before} | scores


def _has_same_rows(a: Manifest, one: Evaluation, b: Manifest, other: Evaluation) -> bool:
    """Return whether two versions were tested on the same rows, as far as the manifests show."""
    data = a.training.data_sha256 == b.training.data_sha256 != ""
    same = (one.description, one.rows_test) == (other.description, other.rows_test)
    return data and same


def build_comparison(manifest: Manifest, previous: Manifest | None) -> ComparisonSection | None:
    """Compare with the previous version; None without one, or for the same file."""
    if previous is None or previous.sha256 == manifest.sha256:
        return None
    return ComparisonSection(previous, compare(previous, manifest))


def read_uncertainty(manifest: Manifest, model: Path) -> tuple[Uncertainty | None, str]:
    """Read the covariance next to a pickle; without one, return the reason."""
    if manifest.scorecard is None:
        return None, ""
    if manifest.covariance is None:
        return None, "the version has no covariance of its parameters"
    try:
        return Uncertainty.read(covariance_path(model), manifest.covariance.sha256), ""
    except ModelError as error:
        return None, error.message
