"""What is told of an answer: its label and probability, or its value, and what led to it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from slipway.core.errors import FieldError, InputWarning
from slipway.models.features import Record
from slipway.models.predictor import Predictor

NO_ANSWER = FieldError(
    None,
    None,
    "out_of_range",
    "the model has no answer for these values together; some may be too large",
)


class Prediction(msgspec.Struct, frozen=True, gc=False):
    """The answer for one record.

    Attributes
    ----------
    label : str
        Left out where the answer is a value.
    probability : float
        Of the positive class of two, of the label where there are more. Left out where the
        model has no probabilities.
    threshold : float
        A probability from here on gets the positive label; left out where the model has none.
    probabilities : dict of str to float
        Of each class, where there are more than two.
    value : float
        The answer of a regression.
    model_version : str
    warnings : list of InputWarning
        Left out where there is nothing to warn of.
    log_odds, score, intercept, contributions
        Only when an explanation is asked for: the score is the intercept and all the
        contributions added up, and is called ``log_odds`` where it is that. Where there are
        more than two classes, each of them has its own. A model of two classes without
        probabilities always returns its score.
    interval : tuple of float
        Only when it is asked for: between which probabilities, see ``docs/interval.md``.
    scores : dict of str to float
        Of each class, where a model of more than two has scores in place of probabilities.
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


class Failure(msgspec.Struct, frozen=True):
    """What stands in an answer's array in place of a record that was refused."""

    errors: list[FieldError]


def prediction_builder(model: Predictor) -> Callable[[Any], Prediction | None]:
    """Build the function from the model's answer to what is told of it.

    Parameters
    ----------
    model : Predictor

    Returns
    -------
    callable
        It gives None where the model has no answer.
    """
    if model.task == "regression":
        return _of_value(model)
    if model.target.measure == "label":
        return _of_label(model)
    if model.task == "multiclass":
        return _of_classes(model)
    if model.target.measure == "decision":
        return _of_score(model)
    return _of_two(model) if model.labels.threshold is None else _of_threshold(model)


def _of_threshold(model: Predictor) -> Callable[[float], Prediction | None]:
    """Dress the probability of the positive class by the owner's threshold."""
    version, threshold = model.manifest.version, model.labels.positive_from
    negative, positive = model.labels.names

    # Every single prediction comes by here: what does not change is looked up above.
    def dress(probability: float) -> Prediction | None:
        if probability >= threshold:
            return Prediction(positive, probability, threshold, UNSET, UNSET, version)
        if probability < threshold:
            return Prediction(negative, probability, threshold, UNSET, UNSET, version)
        return None

    return dress


def _of_two(model: Predictor) -> Callable[[float], Prediction | None]:
    """Dress the probability of the positive class by the label that the answer has."""
    version, place, names = model.manifest.version, model.labels.label_index, model.labels.names
    negative, positive = names

    def dress(probability: float) -> Prediction | None:
        if type(probability) is float:
            if probability > 0.5:
                return Prediction(positive, probability, UNSET, UNSET, UNSET, version)
            if probability < 0.5:
                return Prediction(negative, probability, UNSET, UNSET, UNSET, version)
            if probability != 0.5:
                return None
        label = names[place(probability)]
        return Prediction(label, float(probability), UNSET, UNSET, UNSET, version)

    return dress


def _of_score(model: Predictor) -> Callable[[float], Prediction | None]:
    """Dress the score of the positive class, where there is no probability."""
    version, name = model.manifest.version, model.labels.name

    def dress(score: float) -> Prediction | None:
        if not math.isfinite(score):
            return None
        label = name(score)
        return Prediction(label, UNSET, UNSET, UNSET, UNSET, version, score=float(score))

    return dress


def _of_classes(model: Predictor) -> Callable[[tuple[float, ...]], Prediction | None]:
    """Dress the probabilities, or the scores, of more than two classes."""
    version, classes, place = model.manifest.version, model.target.classes, model.labels.label_index
    has_scores = model.target.measure == "decision"

    def dress(answer: tuple[float, ...]) -> Prediction | None:
        if not all(map(math.isfinite, answer)):
            return None
        chosen = place(answer)
        numbers, label = dict(zip(classes, answer, strict=True)), classes[chosen]
        if has_scores:
            return Prediction(label, UNSET, UNSET, UNSET, UNSET, version, scores=numbers)
        return Prediction(label, answer[chosen], UNSET, numbers, UNSET, version)

    return dress


def _of_label(model: Predictor) -> Callable[[float], Prediction | None]:
    """Dress the label of a model that has no number for it."""
    version, names = model.manifest.version, model.labels.names

    def dress(place: float) -> Prediction | None:
        if math.isnan(place):
            return None
        return Prediction(names[int(place)], UNSET, UNSET, UNSET, UNSET, version)

    return dress


def _of_value(model: Predictor) -> Callable[[float], Prediction | None]:
    """Dress the value of a regression."""
    version = model.manifest.version

    def dress(value: float) -> Prediction | None:
        if not math.isfinite(value):
            return None
        return Prediction(UNSET, UNSET, UNSET, UNSET, value, version)

    return dress


def score_name(model: Predictor) -> str:
    """Give the name of the sum that an explanation is of."""
    scorecard = model.manifest.scorecard
    return "log_odds" if scorecard is not None and scorecard.is_log_odds else "score"


def explained(model: Predictor, record: Record) -> dict[str, Any] | None:
    """Say what each feature contributed to the score, or to the score of each class.

    Parameters
    ----------
    model : Predictor
    record : tuple
        Checked values in the features' order.

    Returns
    -------
    dict or None
        The fields of a prediction that explain it; None where a number is too large to be told.

    Raises
    ------
    BadInput
        The model is not a sum of one-feature terms.
    """
    sums = model.explain(record)
    scores = [sum(adds.values(), start=intercept) for intercept, adds in sums]
    if not all(map(math.isfinite, scores)):
        return None
    intercepts, contributions = zip(*sums, strict=True)
    told = {score_name(model): scores, "intercept": intercepts, "contributions": contributions}
    if model.target.measure == "decision":
        # The prediction has its score already, with or without an explanation.
        del told[score_name(model)]
    if model.task == "multiclass":
        classes = model.target.classes
        return {name: dict(zip(classes, each, strict=True)) for name, each in told.items()}
    return {name: each[0] for name, each in told.items()}
