"""The manifest of a model version, ``model.json``: everything except the pickle."""

from __future__ import annotations

from pathlib import Path

import msgspec

from slipway.core.errors import ModelError
from slipway.models.artifacts import manifest_path
from slipway.models.features import Answer, Value
from slipway.models.scorecard import Scorecard
from slipway.models.signature import Signature


class Scores(msgspec.Struct, frozen=True):
    """Scores of one model on one set of rows.

    Attributes
    ----------
    roc_auc, pr_auc : float
        Areas under the ROC and the precision-recall curve.
    log_loss, brier : float
        Mean negative log-likelihood, and mean squared error of the probability.
    calibration_error : float
        Expected calibration error over ten intervals of equal width: the mean distance between
        predicted and observed rate, weighted by rows (Naeini et al., AAAI 2015).
    """

    roc_auc: float
    pr_auc: float
    log_loss: float
    brier: float
    calibration_error: float


class CalibrationBin(msgspec.Struct, frozen=True):
    """One interval of predicted probability: its rows, predicted and observed rate."""

    rows: int
    predicted: float
    observed: float


class Slice(msgspec.Struct, frozen=True):
    """The rows with one value of one feature; ``roc_auc`` is None if they have one class."""

    feature: str
    value: str
    rows: int
    observed: float
    predicted: float
    roc_auc: float | None


class Evaluation(msgspec.Struct, frozen=True):
    """The evaluation of models on one split of the rows.

    Attributes
    ----------
    description : str
        How the rows were split.
    rows_fit, rows_test : int
    base_rate : float
        The fraction of the positive class in the test rows.
    scores : dict of str to Scores
        By model: the fitted kind of model, the base rate alone, and gradient boosting.
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
    """Scores of models that were fitted on random samples of one size.

    Attributes
    ----------
    rows, fits : int
        The sample size, and the number of samples, each with one fit.
    roc_auc, log_loss : float
        Means over the fits.
    roc_auc_sd, log_loss_sd : float, optional
        Standard deviations between the fits; None for a single fit.
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
        One for each size, from the smallest to all rows.
    rows_test : int
        The number of held-out rows on which all models were tested.
    recommended : int
        The smallest sample size that is good enough according to the rule.
    tolerance : float
        The largest acceptable difference from the best log loss.
    rule : str
        How the size and the tolerance were chosen, as text.
    left_out : dict of str to str
        The reasons for missing points, by sample size.
    """

    points: tuple[LearningPoint, ...]
    rows_test: int
    recommended: int
    tolerance: float
    rule: str
    left_out: dict[str, str] = {}


class Training(msgspec.Struct, frozen=True):
    """The origin of the training rows, and how the model was fitted.

    Attributes
    ----------
    source, query_sha256, data_sha256 : str
        The origin of the data, and the hashes of the query and of its rows.
    rows_read, rows_fit, rows_test : int
        ``rows_read`` is the sum of all other counts.
    left_out : dict of str to int
        Numbers of unused rows, by reason.
    seconds : float
        Duration of the training.
    engine : str
        The training engine: ``memory``, ``chunks`` or ``spark``.
    command, commit : str
        The command line, and the git commit of the code, with a plus sign if files had been
        changed since. Empty if unknown.
    learning_curve : LearningCurve, optional
        None if it was not requested.
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
    """An input with the prediction of the pipeline.

    Attributes
    ----------
    record : dict
    answer : float or tuple of float
        The prediction. For a classifier that returns only labels, the position of the label:
        1 for the positive one of two classes, otherwise the position in the target's classes.
    label : str, optional
        The label that the pipeline's ``predict`` returns; missing in older manifests.
    """

    record: dict[str, Value]
    answer: Answer
    label: str | None = None


class Covariance(msgspec.Struct, frozen=True):
    """The covariance file next to the pickle; see ``slipway.models.intervals``.

    Attributes
    ----------
    sha256 : str
    columns : int
        Columns of the design matrix, including the intercept.
    """

    sha256: str
    columns: int


class Manifest(msgspec.Struct, frozen=True):
    """The manifest of a model version.

    Attributes
    ----------
    name, title, version, created, sha256 : str
        ``version`` is the UTC time and the beginning of the pickle's ``sha256``.
    estimator : str
        The pipeline's last step.
    signature : Signature
    scorecard : Scorecard, optional
        None if the pipeline is not a sum of one-feature terms.
    reason : str
        The reason for a missing scorecard.
    threshold : float, optional
        The lowest probability labelled positive. Without a threshold, the label is the most
        probable class; the first class wins a tie, as in scikit-learn's ``predict``.
    base_rate : float, optional
        The fraction of the positive class in the training rows.
    evaluations : dict of str to Evaluation
        ``holdout`` evaluates this model; ``time`` evaluates one fitted on the earlier rows.
    golden : tuple of GoldenRow
    training : Training
    libraries : dict of str to str
    covariance : Covariance, optional
        None if an interval would be misleading, or was not computed.
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
        """Return a summary in one line, for notebooks."""
        engine = "scorecard" if self.scorecard else f"pickle, because {self.reason}"
        count = len(self.signature.features)
        return f"<Manifest of {self.name} {self.version}: {count} features, engine: {engine}>"


def write_manifest(manifest: Manifest, model: Path) -> None:
    """Write a manifest next to its pickle, indented for readers and ``git diff``."""
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    manifest_path(model).write_bytes(text + b"\n")


def read_manifest(model: Path) -> Manifest:
    """Read the manifest next to a pickle.

    Raises
    ------
    ModelError
        The file is missing, or is not a manifest.
    """
    path = manifest_path(model)
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except OSError as error:
        raise ModelError(f"cannot read {path.name}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise ModelError(f"{path.name} is not a manifest: {error}") from error
