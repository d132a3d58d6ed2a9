"""Probe a fitted model with missing and unseen values, fractions and infinities."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from slipway.models.features import Answer, Feature, Record, Value
from slipway.models.pipeline_engine import PipelineScorer
from slipway.models.signature import Signature

_ODD_TEXTS = ("27.10.2021", "10/27/2021", "2021-10-27T10:00:00Z", "not a date", "0")
Change = Callable[[Feature], Value]


class ModelProbe:
    """A model and a few ordinary records, in which one value is changed at a time.

    Parameters
    ----------
    model : estimator
    signature : Signature
    records : sequence of tuple
        Ordinary records. The model accepts a value if it predicts any of them with it.
    """

    def __init__(self, model: Any, signature: Signature, records: Sequence[Record]) -> None:
        self._model = model
        self._signature = signature
        self._records = list(records)

    def find_accepted(self, change: Change, places: Sequence[int]) -> dict[int, bool]:
        """Return for each of some features whether the model accepts a changed value."""
        accepted = dict.fromkeys(places, False)
        for record in self._records:
            pending = [i for i in places if not accepted[i]]
            changed = [self._change_value(record, i, change) for i in pending]
            for i, answer in zip(pending, self._predict(changed), strict=True):
                accepted[i] = has_prediction(answer)
        return accepted

    def find_reason(self, change: Change, i: int) -> str:
        """Return what the model raises for a changed value."""
        record = self._change_value(self._records[0], i, change)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            line = PipelineScorer(self._model, self._signature).failure_reason(record)
        return f"the pipeline raises: {line}" if line else "the pipeline has no prediction for it"

    def _change_value(self, record: Record, i: int, change: Change) -> Record:
        return (*record[:i], change(self._signature.features[i]), *record[i + 1 :])

    def _predict(self, records: list[Record]) -> list[Answer]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return PipelineScorer(self._model, self._signature)(records)


def has_prediction(answer: Answer) -> bool:
    """Return whether a model made a prediction."""
    return not math.isnan(answer[0] if isinstance(answer, tuple) else answer)


def infer_by_probing(model: Any, signature: Signature, records: Sequence[Record]) -> Signature:
    """Infer from the model's behavior what training rows do not show.

    Parameters
    ----------
    model : estimator
    signature : Signature
        The inferred signature: every feature nullable, whole numbers as integers.
    records : sequence of tuple
        Ordinary records.

    Returns
    -------
    Signature
        A feature is required, closed or whole only if the model raises otherwise, and
        ``reasons`` has the error.
    """
    probes = ModelProbe(model, signature, records)
    features = list(signature.features)
    for settle in (_settle_missing, _settle_unseen, _settle_fractions, _settle_infinities):
        settle(probes, features)
    return msgspec.structs.replace(signature, features=tuple(features))


def needs_rows_alone(model: Any, signature: Signature, records: Sequence[Record]) -> bool:
    """Return whether an unreadable text changes the model's predictions for other rows.

    ``pandas.to_datetime``, for example, uses the format of the first text for all texts.
    """
    places = [i for i, feature in enumerate(signature.features) if feature.kind == "text"]
    if not places:
        return False
    scorer = PipelineScorer(model, signature)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        alone = [scorer([record])[0] for record in records]
        for i in places:
            for text in _ODD_TEXTS:
                odd_record = (*records[0][:i], text, *records[0][i + 1 :])
                in_batch = scorer([odd_record, *records])
                if not np.allclose(in_batch[1:], alone, rtol=1e-9, atol=1e-9, equal_nan=True):
                    return True
    return False


def _settle_missing(probes: ModelProbe, features: list[Feature]) -> None:
    """Require a feature if the model raises for a missing value."""
    accepted = probes.find_accepted(_missing, [i for i, f in enumerate(features) if f.nullable])
    for i, is_accepted in accepted.items():
        if not is_accepted:
            reasons = features[i].reasons | {"required": probes.find_reason(_missing, i)}
            features[i] = _replace(features[i], nullable=False, complete=False, reasons=reasons)


def _settle_unseen(probes: ModelProbe, features: list[Feature]) -> None:
    """Close a list of values if the model raises for any other value."""
    accepted = probes.find_accepted(
        make_unseen_value, [i for i, f in enumerate(features) if f.categories]
    )
    for i, is_accepted in accepted.items():
        if not is_accepted:
            reasons = features[i].reasons | {"closed": "the pipeline raises for any other value"}
            features[i] = _replace(features[i], closed=True, reasons=reasons)


def _settle_fractions(probes: ModelProbe, features: list[Feature]) -> None:
    """Accept fractions for a column of whole numbers if the model does."""
    whole = [i for i, f in enumerate(features) if f.kind == "integer"]
    for i, is_accepted in probes.find_accepted(_fraction, whole).items():
        if is_accepted:
            features[i] = _replace(features[i], kind="number", whole=True)
        else:
            reasons = features[i].reasons | {"whole": probes.find_reason(_fraction, i)}
            features[i] = _replace(features[i], reasons=reasons)


def _settle_infinities(probes: ModelProbe, features: list[Feature]) -> None:
    """Accept infinities if the model accepts both."""
    numbers = [i for i, f in enumerate(features) if f.kind == "number"]
    for sign in (math.inf, -math.inf):
        accepted = probes.find_accepted(lambda _, value=sign: value, numbers)  # type: ignore[misc]
        numbers = [i for i in numbers if accepted[i]]
    for i in numbers:
        features[i] = _replace(features[i], infinite=True)


def _replace(feature: Feature, **changes: Any) -> Feature:
    return msgspec.structs.replace(feature, **changes)


def _missing(_: Feature) -> Value:
    return None


def make_unseen_value(feature: Feature) -> Value:
    """Return a value that is not among a feature's known values."""
    if feature.kind == "flag":
        return not feature.categories[0]
    if feature.kind == "category":
        return "a value that training has not seen"
    highest = max(float(value) for value in feature.categories)
    return int(highest) + 1 if feature.kind == "integer" else highest + 1.5


def _fraction(feature: Feature) -> Value:
    return float(feature.example or 0) + 0.5
