"""The prediction sent to the client: label and probability, or value, and its explanation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from slipway.core.errors import FieldError, InputWarning
from slipway.models.features import Record
from slipway.models.predictor import Predictor

# The encoder holds Python's lock for so many predictions at once.
ENCODED_AT_ONCE = 100
NO_ANSWER = FieldError(
    None,
    None,
    "out_of_range",
    "the model has no prediction for this combination of values; some may be too large",
)


class Prediction(msgspec.Struct, frozen=True, gc=False):
    """The prediction for one record. Fields that do not apply are left out.

    Attributes
    ----------
    label : str
        The label of a classifier.
    probability : float
        The probability of the positive class (binary) or of the label (multiclass).
    threshold : float
        The lowest probability of the positive label, if the model has a threshold.
    probabilities : dict of str to float
        The probability of each class (multiclass).
    value : float
        The prediction of a regression.
    model_version : str
    warnings : list of InputWarning
    log_odds, score, intercept, contributions
        The explanation, on request. The score is the sum of the intercept and all
        contributions; its name is ``log_odds`` for log-odds. A multiclass model has one of each
        per class. A binary model without probabilities always returns its score.
    interval : tuple of float
        The lower and upper end of the probability, on request, see ``docs/interval.md``.
    scores : dict of str to float
        The score of each class (multiclass without probabilities).
    """

    label: str | UnsetType
    probability: float | UnsetType
    threshold: float | UnsetType
    probabilities: dict[str, float] | UnsetType
    value: float | UnsetType
    model_version: str
    warnings: list[InputWarning] | UnsetType = UNSET
    log_odds: float | UnsetType = UNSET
    score: float | dict[str, float] | UnsetType = UNSET
    intercept: float | dict[str, float] | UnsetType = UNSET
    contributions: dict[str, Any] | UnsetType = UNSET
    interval: tuple[float, float] | UnsetType = UNSET
    scores: dict[str, float] | UnsetType = UNSET


class Failure(msgspec.Struct, frozen=True, gc=False):
    """Entry of an array of predictions for a rejected record."""

    errors: list[FieldError]


def prediction_builder(model: Predictor) -> Callable[[Any], Prediction | None]:
    """Build the function from a model's answer to the prediction sent to the client.

    Parameters
    ----------
    model : Predictor

    Returns
    -------
    callable
        Returns None if the model has no prediction.
    """
    if model.task == "regression":
        return _build_regression(model)
    if model.target.measure == "label":
        return _build_with_label(model)
    if model.task == "multiclass":
        return _build_multiclass(model)
    if model.target.measure == "decision":
        return _build_with_score(model)
    return _build_binary(model) if model.labels.threshold is None else _build_with_threshold(model)


def _build_with_threshold(model: Predictor) -> Callable[[float], Prediction | None]:
    """Build predictions from the positive probability and a threshold."""
    version, threshold = model.manifest.version, model.labels.positive_from
    negative, positive = model.labels.names

    # Hot path of single predictions: constants are looked up above.
    def build(probability: float) -> Prediction | None:
        if probability >= threshold:
            return Prediction(positive, probability, threshold, UNSET, UNSET, version)
        if probability < threshold:
            return Prediction(negative, probability, threshold, UNSET, UNSET, version)
        return None

    return build


def _build_binary(model: Predictor) -> Callable[[float], Prediction | None]:
    """Build predictions from the positive probability and the label that ``predict`` returns."""
    version, names = model.manifest.version, model.labels.names
    label_index, (negative, positive) = model.labels.label_index, names

    def build(probability: float) -> Prediction | None:
        if type(probability) is float:
            if probability > 0.5:
                return Prediction(positive, probability, UNSET, UNSET, UNSET, version)
            if probability < 0.5:
                return Prediction(negative, probability, UNSET, UNSET, UNSET, version)
            if probability != 0.5:
                return None
        label = names[label_index(probability)]
        return Prediction(label, float(probability), UNSET, UNSET, UNSET, version)

    return build


def _build_with_score(model: Predictor) -> Callable[[float], Prediction | None]:
    """Build predictions from the positive score of a model without probabilities."""
    version, name = model.manifest.version, model.labels.name

    def build(score: float) -> Prediction | None:
        if not math.isfinite(score):
            return None
        label = name(score)
        return Prediction(label, UNSET, UNSET, UNSET, UNSET, version, score=float(score))

    return build


def _build_multiclass(model: Predictor) -> Callable[[tuple[float, ...]], Prediction | None]:
    """Build predictions from the probabilities or the scores of more than two classes."""
    version, classes = model.manifest.version, model.target.classes
    label_index, has_scores = model.labels.label_index, model.target.measure == "decision"

    def build(answer: tuple[float, ...]) -> Prediction | None:
        if not all(map(math.isfinite, answer)):
            return None
        best = label_index(answer)
        numbers, label = dict(zip(classes, answer, strict=True)), classes[best]
        if has_scores:
            return Prediction(label, UNSET, UNSET, UNSET, UNSET, version, scores=numbers)
        return Prediction(label, answer[best], UNSET, numbers, UNSET, version)

    return build


def _build_with_label(model: Predictor) -> Callable[[float], Prediction | None]:
    """Build predictions from the index of a label, for a model that returns only labels."""
    version, names = model.manifest.version, model.labels.names

    def build(label_index: float) -> Prediction | None:
        if math.isnan(label_index):
            return None
        return Prediction(names[int(label_index)], UNSET, UNSET, UNSET, UNSET, version)

    return build


def _build_regression(model: Predictor) -> Callable[[float], Prediction | None]:
    """Build predictions from the value of a regression."""
    version = model.manifest.version

    def build(value: float) -> Prediction | None:
        if not math.isfinite(value):
            return None
        return Prediction(UNSET, UNSET, UNSET, UNSET, value, version)

    return build


def score_name(model: Predictor) -> str:
    """Return the name of the explained score."""
    scorecard = model.manifest.scorecard
    return "log_odds" if scorecard is not None and scorecard.is_log_odds else "score"


def explain_record(model: Predictor, record: Record) -> dict[str, Any] | None:
    """Return the contribution of each feature to the score, or to the score of each class.

    Parameters
    ----------
    model : Predictor
    record : tuple
        Checked values in the order of the features.

    Returns
    -------
    dict or None
        The fields of the explanation; None if a score overflows.

    Raises
    ------
    BadInput
        The model has no scorecard.
    """
    sums = model.explain(record)
    scores = [sum(adds.values(), start=intercept) for intercept, adds in sums]
    if not all(map(math.isfinite, scores)):
        return None
    intercepts, contributions = zip(*sums, strict=True)
    fields = {score_name(model): scores, "intercept": intercepts, "contributions": contributions}
    if model.target.measure == "decision":
        # The prediction always has its score.
        del fields[score_name(model)]
    if model.task == "multiclass":
        classes = model.target.classes
        return {name: dict(zip(classes, values, strict=True)) for name, values in fields.items()}
    return {name: values[0] for name, values in fields.items()}


def encode_array(entries: list[Prediction | Failure]) -> tuple[int, bytes]:
    """Return the status and the JSON of an array, with the row of each error.

    Parameters
    ----------
    entries : list of Prediction or Failure
        Changed: the failures get the numbers of their rows.

    Returns
    -------
    status : int
    body : bytes
    """
    failed = False
    for row, entry in enumerate(entries):
        if isinstance(entry, Failure):
            failed = True
            errors = [FieldError(e.field, row, e.code, e.message) for e in entry.errors]
            entries[row] = Failure(errors)
    return 207 if failed else 200, _encode_in_pieces(entries)


def _encode_in_pieces(entries: list[Prediction | Failure]) -> bytes:
    """Encode predictions in pieces, so that other threads run between them."""
    if len(entries) <= ENCODED_AT_ONCE:
        return msgspec.json.encode(entries)
    pieces = (
        msgspec.json.encode(entries[first : first + ENCODED_AT_ONCE])[1:-1]
        for first in range(0, len(entries), ENCODED_AT_ONCE)
    )
    return b"[%b]" % b",".join(pieces)
