"""The manifest of a model version, ``model.json``: all there is to know but the pickle."""

from __future__ import annotations

from pathlib import Path

import msgspec

from slipway.core.errors import ModelError
from slipway.models.artifacts import manifest_path
from slipway.models.features import Answer, Value
from slipway.models.scorecard import Scorecard
from slipway.models.signature import Signature


class Scores(msgspec.Struct, frozen=True):
    """How good one model is on one set of rows.

    Attributes
    ----------
    roc_auc, pr_auc : float
        Areas under the ROC and the precision-recall curve.
    log_loss, brier : float
        Mean negative log-likelihood, and mean squared error of the probability.
    calibration_error : float
        Expected calibration error over ten intervals of equal width: the mean distance of
        predicted and observed rate, weighted by rows (Naeini et al., AAAI 2015).
    """

    roc_auc: float
    pr_auc: float
    log_loss: float
    brier: float
    calibration_error: float


class CalibrationBin(msgspec.Struct, frozen=True):
    """One interval of predicted probability: how many rows, predicted and observed rate."""

    rows: int
    predicted: float
    observed: float


class Slice(msgspec.Struct, frozen=True):
    """The rows with one value of one feature; ``roc_auc`` is None where only one class is."""

    feature: str
    value: str
    rows: int
    observed: float
    predicted: float
    roc_auc: float | None


class Evaluation(msgspec.Struct, frozen=True):
    """One way of parting the rows, and what came of it.

    Attributes
    ----------
    description : str
        How the rows were parted.
    rows_fit, rows_test : int
    base_rate : float
        The share of the positive class among the test rows.
    scores : dict of str to Scores
        By model: the shipped kind, the base rate alone, and gradient boosting.
    calibration : tuple of CalibrationBin
    roc, precision_recall : tuple of (float, float)
        Points of the curves: (false, true positive rate) and (recall, precision).
    slices : tuple of Slice
    """

    description: str
    rows_fit: int
    rows_test: int
    base_rate: float
    scores: dict[str, Scores]
    calibration: tuple[CalibrationBin, ...]
    roc: tuple[tuple[float, float], ...]
    precision_recall: tuple[tuple[float, float], ...]
    slices: tuple[Slice, ...]


class LearningPoint(msgspec.Struct, frozen=True):
    """How good models are that were fitted on random samples of one size.

    Attributes
    ----------
    rows, fits : int
        The size, and how many samples of it were drawn, with a fit on each.
    roc_auc, log_loss : float
        Means over the fits.
    roc_auc_sd, log_loss_sd : float, optional
        Standard deviations between the fits; None of a single one.
    """

    rows: int
    fits: int
    roc_auc: float
    log_loss: float
    roc_auc_sd: float | None = None
    log_loss_sd: float | None = None


class LearningCurve(msgspec.Struct, frozen=True):
    """Scores by the number of training rows; see ``training/evaluation/learning_curve.py``.

    Attributes
    ----------
    points : tuple of LearningPoint
        From the smallest size to all rows.
    rows_test : int
        How many of the rows held out they were all tested on.
    recommended : int
        The size of the smallest sample that is good enough, by the rule.
    tolerance : float
        How much more log loss than the best is good enough.
    rule : str
        How size and tolerance were found, in words.
    left_out : dict of str to str
        Why there is no point, by the size of which there is none.
    """

    points: tuple[LearningPoint, ...]
    rows_test: int
    recommended: int
    tolerance: float
    rule: str
    left_out: dict[str, str] = {}


class Training(msgspec.Struct, frozen=True):
    """Where the rows came from, and what made the model of them.

    Attributes
    ----------
    source, query_sha256, data_sha256 : str
        The data's origin, and the hashes of the query and of the rows it gave.
    rows_read, rows_fit, rows_test : int
        ``rows_read`` is the sum of all the other counts.
    left_out : dict of str to int
        Rows that were not used, by reason.
    seconds : float
    engine : str
        Where the rows were during the fit: ``memory``, ``chunks`` or ``spark``.
    command, commit : str
        What was typed to make it, and the git commit of the code, with a plus where files
        had been changed since. Empty where that is not known.
    learning_curve : LearningCurve, optional
        None where nobody asked for it.
    """

    source: str
    query_sha256: str
    data_sha256: str
    rows_read: int
    rows_fit: int
    rows_test: int
    left_out: dict[str, int]
    seconds: float
    engine: str = "memory"
    command: str = ""
    commit: str = ""
    learning_curve: LearningCurve | None = None


class GoldenRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """An input with the pipeline's own answer.

    Attributes
    ----------
    record : dict
    answer : float or tuple of float
        Of a classifier that has labels only: the label's place, the positive class being 1 of
        two, else the place in the target's classes.
    label : str, optional
        The label that the pipeline's ``predict`` returns; older manifests have none.
    """

    record: dict[str, Value]
    answer: Answer
    label: str | None = None


class Covariance(msgspec.Struct, frozen=True):
    """The file beside the pickle with the covariance of the parameters, see ``interval.py``.

    Attributes
    ----------
    sha256 : str
    columns : int
        Of the design, with the intercept.
    """

    sha256: str
    columns: int


class Manifest(msgspec.Struct, frozen=True):
    """One model version.

    Attributes
    ----------
    name, title, version, created, sha256 : str
        ``version`` is the UTC time and the start of the pickle's ``sha256``.
    estimator : str
        The pipeline's last step.
    signature : Signature
    scorecard : Scorecard, optional
        None where the pipeline is not a sum of one-feature terms.
    reason : str
        Why there is no scorecard.
    threshold : float, optional
        A probability from here on gets the positive label. Without one, the label is the most
        probable class, the first of those that are equal, as with scikit-learn's ``predict``.
    base_rate : float, optional
        The share of the positive class among the training rows.
    evaluations : dict of str to Evaluation
        ``holdout`` is of this very model; ``time`` of one fitted on the earlier rows.
    golden : tuple of GoldenRow
    training : Training
    libraries : dict of str to str
    covariance : Covariance, optional
        None where an interval would not be honest, or was never computed.
    """

    name: str
    title: str
    version: str
    created: str
    sha256: str
    estimator: str
    signature: Signature
    scorecard: Scorecard | None
    threshold: float | None
    base_rate: float | None
    evaluations: dict[str, Evaluation]
    golden: tuple[GoldenRow, ...]
    training: Training
    libraries: dict[str, str]
    reason: str = ""
    covariance: Covariance | None = None

    def __repr__(self) -> str:
        """Say in a line what a notebook's cell would else show on three pages."""
        engine = "scorecard" if self.scorecard else f"pickle, because {self.reason}"
        count = len(self.signature.features)
        return f"<Manifest of {self.name} {self.version}: {count} features, engine: {engine}>"


def write_manifest(manifest: Manifest, model: Path) -> None:
    """Write a manifest beside its pickle, in a form that people and ``git diff`` can read."""
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    manifest_path(model).write_bytes(text + b"\n")


def read_manifest(model: Path) -> Manifest:
    """Read the manifest that stands beside a pickle.

    Raises
    ------
    ModelError
        It is not there, or is not a manifest.
    """
    path = manifest_path(model)
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except OSError as error:
        raise ModelError(f"cannot read {path.name}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise ModelError(f"{path.name} is not a manifest: {error}") from error
