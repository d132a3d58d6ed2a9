"""Ask a fitted model what it takes: a gap, an unseen value, a fraction, an infinity."""

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


class Probes:
    """A model and a few ordinary records, one value of which is changed at a time.

    Parameters
    ----------
    model : estimator
    signature : Signature
    records : sequence of tuple
        Ordinary records. A value counts as answered if it is in any of them.
    """

    def __init__(self, model: Any, signature: Signature, records: Sequence[Record]) -> None:
        self._model = model
        self._signature = signature
        self._records = list(records)

    def answered(self, change: Change, places: Sequence[int]) -> dict[int, bool]:
        """Return for each of some features whether the model answers a changed value."""
        found = dict.fromkeys(places, False)
        for record in self._records:
            left = [i for i in places if not found[i]]
            changed = [self._changed(record, i, change) for i in left]
            for i, answer in zip(left, self._ask(changed), strict=True):
                found[i] = has_answer(answer)
        return found

    def reason(self, change: Change, i: int) -> str:
        """Return what the model raises for a changed value."""
        record = self._changed(self._records[0], i, change)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            line = PipelineScorer(self._model, self._signature).failure_reason(record)
        return f"the pipeline raises: {line}" if line else "the pipeline has no prediction for it"

    def _changed(self, record: Record, i: int, change: Change) -> Record:
        return (*record[:i], change(self._signature.features[i]), *record[i + 1 :])

    def _ask(self, records: list[Record]) -> list[Answer]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return PipelineScorer(self._model, self._signature)(records)


def has_answer(answer: Answer) -> bool:
    """Whether a model answered."""
    return not math.isnan(answer[0] if isinstance(answer, tuple) else answer)


def settled(model: Any, signature: Signature, records: Sequence[Record]) -> Signature:
    """Settle by asking the model what no training row can tell.

    Parameters
    ----------
    model : estimator
    signature : Signature
        As inferred: every feature nullable, integers for whole numbers.
    records : sequence of tuple
        Ordinary records.

    Returns
    -------
    Signature
        In which a feature is required, closed or whole only where the model raises otherwise,
        with the reason.
    """
    probes = Probes(model, signature, records)
    features = list(signature.features)
    for rule in (_settle_missing, _settle_unseen, _settle_fractions, _settle_infinities):
        rule(probes, features)
    return msgspec.structs.replace(signature, features=tuple(features))


def needs_rows_alone(model: Any, signature: Signature, records: Sequence[Record]) -> bool:
    """Whether a text that a model cannot read changes its answers to the rows beside it.

    ``pandas.to_datetime``, for one, takes the format of the first text for all of them.
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
                odd = (*records[0][:i], text, *records[0][i + 1 :])
                together = scorer([odd, *records])
                if not np.allclose(together[1:], alone, rtol=1e-9, atol=1e-9, equal_nan=True):
                    return True
    return False


def _settle_missing(probes: Probes, features: list[Feature]) -> None:
    """Require a feature where the model raises for a missing value."""
    found = probes.answered(_missing, [i for i, f in enumerate(features) if f.nullable])
    for i, answered in found.items():
        if not answered:
            reasons = features[i].reasons | {"required": probes.reason(_missing, i)}
            features[i] = _with(features[i], nullable=False, complete=False, reasons=reasons)


def _settle_unseen(probes: Probes, features: list[Feature]) -> None:
    """Close a list of values where the model raises for any other."""
    found = probes.answered(unseen_value, [i for i, f in enumerate(features) if f.categories])
    for i, answered in found.items():
        if not answered:
            reasons = features[i].reasons | {"closed": "the pipeline raises for any other value"}
            features[i] = _with(features[i], closed=True, reasons=reasons)


def _settle_fractions(probes: Probes, features: list[Feature]) -> None:
    """Take fractions for a column of whole numbers where the model answers them."""
    whole = [i for i, f in enumerate(features) if f.kind == "integer"]
    for i, answered in probes.answered(_fraction, whole).items():
        if answered:
            features[i] = _with(features[i], kind="number", whole=True)
        else:
            reasons = features[i].reasons | {"whole": probes.reason(_fraction, i)}
            features[i] = _with(features[i], reasons=reasons)


def _settle_infinities(probes: Probes, features: list[Feature]) -> None:
    """Take infinities where the model answers both."""
    numbers = [i for i, f in enumerate(features) if f.kind == "number"]
    for sign in (math.inf, -math.inf):
        found = probes.answered(lambda _, value=sign: value, numbers)  # type: ignore[misc]
        numbers = [i for i in numbers if found[i]]
    for i in numbers:
        features[i] = _with(features[i], infinite=True)


def _with(feature: Feature, **changes: Any) -> Feature:
    return msgspec.structs.replace(feature, **changes)


def _missing(_: Feature) -> Value:
    return None


def unseen_value(feature: Feature) -> Value:
    """Return a value that is none of a feature's known ones."""
    if feature.kind == "flag":
        return not feature.categories[0]
    if feature.kind == "category":
        return "a value that training has not seen"
    highest = max(float(each) for each in feature.categories)
    return int(highest) + 1 if feature.kind == "integer" else highest + 1.5


def _fraction(feature: Feature) -> Value:
    return float(feature.example or 0) + 0.5
