"""What a report says beyond what the manifest does: sums that add up, and comparisons."""

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

MOST_CHANGES = 12


@dataclass(frozen=True)
class Evaluated:
    """An evaluation, with the scores of the version before where that has them.

    Attributes
    ----------
    key : str
    evaluation : Evaluation
    scores : dict of str to Scores
        ``before`` stands behind ``model``.
    same_rows : bool
        Whether both were tested on the same rows, as far as the manifests tell.
    """

    key: str
    evaluation: Evaluation
    scores: dict[str, Scores]
    same_rows: bool


@dataclass(frozen=True)
class Compared:
    """What has changed since the version before.

    Attributes
    ----------
    previous : Manifest
    difference : Difference
    """

    previous: Manifest
    difference: Difference

    @property
    def terms(self) -> Sequence[tuple[str, str, str, float | None, float | None]]:
        """The largest changes of terms: feature, class, place, before and after."""
        terms = self.difference.terms or ()
        return [(t.feature, t.label, t.where, t.before, t.after) for t in terms[:MOST_CHANGES]]

    @property
    def further_terms(self) -> int:
        """How many more terms have changed."""
        return max(len(self.difference.terms or ()) - MOST_CHANGES, 0)


def counts(training: Training) -> list[tuple[str, int]]:
    """Give what became of the rows read; the counts add up to them."""
    told = [("fitted on", training.rows_fit), ("held out, to test on", training.rows_test)]
    told += [(f"left out: {reason}", count) for reason, count in training.left_out.items()]
    rest = training.rows_read - sum(count for _, count in told)
    return [*told, ("not accounted for", rest)] if rest else told


def label_rule(manifest: Manifest) -> str:
    """Say how an answer becomes a label; empty where there is none."""
    target, threshold = manifest.signature.target, manifest.threshold
    if target.task == "regression":
        return ""
    if target.measure != "probability":
        return "The label is what the pipeline's predict returns; the model has no probabilities."
    if threshold is None:
        return "The label is the most probable class; of equal ones, the one of predict."
    rule = f"A probability of {threshold:g} or more gets the label “{target.positive}”"
    return f"{rule}{_other(target)}."


def _other(target: Target) -> str:
    """Name the class of the lower probabilities."""
    others = [each for each in target.classes if each != target.positive]
    return f", a lower one “{others[0]}”" if len(others) == 1 else ""


def evaluated(manifest: Manifest, previous: Manifest | None) -> list[Evaluated]:
    """Put the scores of the version before beside those of this one."""
    before = {} if previous is None else previous.evaluations
    made = []
    for key, each in manifest.evaluations.items():
        scores, old = dict(each.scores), before.get(key)
        same_rows = True
        if previous is not None and old is not None and "model" in old.scores:
            scores = _beside(scores, old.scores["model"])
            same_rows = _same_rows(manifest, each, previous, old)
        made.append(Evaluated(key, each, scores, same_rows))
    return made


def _beside(scores: dict[str, Scores], before: Scores) -> dict[str, Scores]:
    """Put a version's scores behind those of this model."""
    first = {name: its for name, its in scores.items() if name == "model"}
    return first | {"before": before} | scores


def _same_rows(a: Manifest, one: Evaluation, b: Manifest, other: Evaluation) -> bool:
    """Whether two versions were tested on the same rows, as far as can be told."""
    data = a.training.data_sha256 == b.training.data_sha256 != ""
    same = (one.description, one.rows_test) == (other.description, other.rows_test)
    return data and same


def compared(manifest: Manifest, previous: Manifest | None) -> Compared | None:
    """Compare with the version before, where there is another one."""
    if previous is None or previous.sha256 == manifest.sha256:
        return None
    return Compared(previous, compare(previous, manifest))


def read_uncertainty(manifest: Manifest, model: Path) -> tuple[Uncertainty | None, str]:
    """Read the covariance beside a pickle, or say why there are no intervals."""
    if manifest.scorecard is None:
        return None, ""
    if manifest.covariance is None:
        return None, "the version has no covariance of its parameters"
    try:
        return Uncertainty.read(covariance_path(model), manifest.covariance.sha256), ""
    except ModelError as error:
        return None, error.message
