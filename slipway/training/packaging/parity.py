"""Compare a scorecard, and the served predictions, with the fitted model."""

from __future__ import annotations

import warnings
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from slipway.compiler import (
    NotAScorecard,
    centre,
    compile_model,
    find_differing_step,
    find_valid_ranges,
)
from slipway.core.errors import SlipwayError
from slipway.models.features import Answer, Record
from slipway.models.frames import build_frame
from slipway.models.labels import Labels
from slipway.models.manifest import Manifest
from slipway.models.pipeline_engine import PipelineScorer
from slipway.models.predictor import TOLERANCE, Predictor
from slipway.models.responses import Responder
from slipway.models.scorecard import LinearPredictor, Scorecard
from slipway.models.signature import Signature
from slipway.training.packaging.classes import find_label_source, has_custom_threshold
from slipway.training.packaging.odd_records import make_probe_records

MAX_COMPARED_ROWS = 2_000
# Records without a prediction; the model needs a separate call for each of them.
MAX_REJECTED_PROBES = 20
# The original rows and the rows rebuilt from records differ only by the order in which matrix
# products add.
FRAME_TOLERANCE = 1e-12


def compile_checked(
    model: Any,
    signature: Signature,
    X: pd.DataFrame | None,
    records: list[Record],
    *,
    labels: bool = True,
) -> tuple[Scorecard | None, str]:
    """Compile the scorecard and compare it with the model on records.

    Parameters
    ----------
    model : estimator
    signature : Signature
    X : DataFrame, optional
    records : list of tuple
    labels : bool
        Whether ``predict`` chooses the labels, and not the owner's threshold.

    Returns
    -------
    scorecard : Scorecard or None
        None if the model cannot be compiled, or if a prediction differs.
    reason : str
        Why the scorecard is None.
    """
    try:
        scorecard = compile_model(model, signature)
        if labels and has_custom_threshold(model):
            raise NotAScorecard("no rule for a threshold of the decision function")
    except NotAScorecard as error:
        return None, str(error)
    if X is not None:
        scorecard = centre(scorecard, X)
    if signature.target.classes:
        scorecard = msgspec.structs.replace(scorecard, label_from=find_label_source(model))
    reason = _compare_with_model(scorecard, model, signature, records, labels=labels)
    return (None, reason) if reason else (scorecard, "")


def _compare_with_model(
    scorecard: Scorecard, model: Any, signature: Signature, records: list[Record], *, labels: bool
) -> str:
    """Return how a scorecard differs from the model on records, or an empty text."""
    # Clients can send values that training rows rarely contain.
    probes = make_probe_records(signature, scorecard, records)
    records = [*records, *_drop_most_rejected(scorecard, probes)]
    answers = scorecard.compile_answers(labels=labels)(records)
    actual = np.array(answers)
    scorer = PipelineScorer(model, signature, labels=labels)
    model_answers = _predict_with_model(scorer, records, _has_no_prediction(actual))
    expected = np.array(model_answers)
    allowed = TOLERANCE * _magnitudes(scorecard, signature, records, expected)
    # The scorecard must have no prediction where the model has none.
    same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
    with np.errstate(invalid="ignore"):
        differs = ~((np.abs(actual - expected) <= allowed) | same)
    if differs.any():
        differs[_is_out_of_range(model, signature, records)] = False
    if differs.any():
        return _describe_difference(model, signature, records, actual - expected, differs)
    if labels and signature.target.classes:
        count = _count_other_labels(Labels(signature.target), answers, model_answers)
        if count:
            return f"its scorecard and its predict return different labels for {count} rows"
    return ""


def _count_other_labels(labels: Labels, actual: list[Answer], expected: list[Answer]) -> int:
    """Count the predictions with a different label, except ties up to rounding."""
    return sum(
        not np.isnan([a, b]).any()
        and labels.label_index(a) != labels.label_index(b)
        and not _is_tie(labels, b)
        for a, b in zip(actual, expected, strict=True)
    )


def _is_tie(labels: Labels, answer: Answer) -> bool:
    """Return whether rounding decides the label of a prediction."""
    return labels.is_tied(answer) and labels.label_index(answer) == labels.implied_index(answer)


def _is_out_of_range(model: Any, signature: Signature, records: list[Record]) -> Any:
    """Return which records hold a number that overflows in the pipeline: the service rejects it."""
    ranges = find_valid_ranges(model, signature)
    outside = np.zeros(len(records), dtype=bool)
    for i, name in enumerate(signature.names):
        if name in ranges:
            low, high = ranges[name]
            numbers: list[Any] = [low if record[i] is None else record[i] for record in records]
            outside |= np.array([not low <= number <= high for number in numbers])
    return outside


def _has_no_prediction(answers: Any) -> Any:
    """Return which records have no prediction."""
    missing = np.isnan(answers)
    return missing if missing.ndim == 1 else missing.any(axis=1)


def _drop_most_rejected(scorecard: Scorecard, probes: list[Record]) -> list[Record]:
    """Drop most of the records without a prediction, since each of them needs a separate call."""
    if not probes:
        return []
    rejected = _has_no_prediction(np.array(scorecard.compile_answers()(probes)))
    kept = np.flatnonzero(rejected)
    kept = kept[:: 1 + len(kept) // MAX_REJECTED_PROBES]
    return [probes[i] for i in sorted({*np.flatnonzero(~rejected), *kept})]


def _predict_with_model(
    scorer: PipelineScorer, records: list[Record], rejected: Any
) -> list[Answer]:
    """Return the model's own predictions; predict records that it may reject one by one."""
    answers: list[Answer] = [0.0] * len(records)
    accepted = np.flatnonzero(~rejected).tolist()
    with warnings.catch_warnings():
        # Some probes deliberately take the logarithm of a negative number.
        warnings.simplefilter("ignore")
        for i, answer in zip(accepted, scorer([records[i] for i in accepted]), strict=True):
            answers[i] = answer
        for i in np.flatnonzero(rejected).tolist():
            answers[i] = scorer([records[i]])[0]
    return answers


def _magnitudes(
    scorecard: Scorecard, signature: Signature, records: list[Record], expected: Any
) -> Any:
    """Return the magnitude of the numbers that a model adds up, which scales the tolerance."""
    if not signature.target.is_unbounded:
        return 1.0
    columns = [_sum_magnitudes(predictor, records) for predictor in scorecard.sums]
    sizes = columns[0] if len(columns) == 1 else np.column_stack(columns)
    return np.nan_to_num(np.maximum(1.0, np.maximum(sizes, np.abs(expected))), nan=1.0)


def _sum_magnitudes(predictor: LinearPredictor, records: list[Record]) -> Any:
    """Return the sum of the absolute values of a predictor's terms for each record."""
    lookups = [term.compile_points() for term in predictor.terms]
    sums = [
        sum(abs(points(value)) for points, value in zip(lookups, record, strict=True))
        for record in records
    ]
    return np.array(sums) + abs(predictor.intercept)


def _describe_difference(
    model: Any, signature: Signature, records: list[Record], difference: Any, differs: Any
) -> str:
    """Return how much a scorecard differs from its model, and the first step that differs."""
    rows = np.flatnonzero(differs if differs.ndim == 1 else differs.any(axis=1))
    step = find_differing_step(
        model, signature, build_frame(signature, [records[row] for row in rows[:100]])
    )
    sizes = np.abs(difference)[differs]
    if np.isnan(sizes).any():
        return f"model and scorecard reject different rows ({len(rows)}), first after {step}"
    message = f"its scorecard differs from it by {sizes.max():.1e} on {len(rows)} rows"
    return f"{message}, first after {step}"


def check_rows(model: Any, manifest: Manifest, X: Any, records: list[Record]) -> None:
    """Compare the predictions for records with those for the original rows.

    A record may not preserve the type that a column had in training.

    Parameters
    ----------
    model : estimator
    manifest : Manifest
    X : DataFrame or array-like of shape (n_samples, n_features)
        The rows, as given to ``fit``.
    records : list of tuple
        The same rows as records.

    Raises
    ------
    SlipwayError
        The model rejects the rows, or its predictions for them differ.
    """
    target = manifest.signature.target
    try:
        labels = model.predict(X)
        expected = np.array(Responder(model, target, labels=False)(X))
    except SlipwayError:
        raise
    except Exception as error:  # a custom step can raise any error
        raise SlipwayError(f"the model cannot predict the given rows: {error}") from error
    served = Predictor(manifest, "pickle", PipelineScorer(model, manifest.signature))
    answers = served.score(records[:MAX_COMPARED_ROWS])
    scale = np.maximum(1.0, np.abs(expected))
    differs = ~(np.abs(np.array(answers) - expected) <= FRAME_TOLERANCE * scale)
    if differs.any():
        row = int(np.argwhere(differs)[0][0])
        raise SlipwayError(
            f"row {row} sent as JSON gets {answers[row]!r}, but the model itself predicts "
            f"{expected[row]!r}: JSON does not preserve the type of a column"
        )
    if target.classes:
        _compare_labels(served, answers, labels)


def _compare_labels(served: Predictor, answers: list[Answer], labels: Any) -> None:
    """Compare the labels of predictions with those that ``predict`` returns.

    Raises
    ------
    SlipwayError
        A label differs, and not because of rounding.
    """
    texts = map(str, np.ravel(labels).tolist())
    for row, (answer, expected) in enumerate(zip(answers, texts, strict=True)):
        label = served.label(answer)
        if label != expected and not _is_tie(served.labels, answer):
            raise SlipwayError(
                f"row {row} sent as JSON gets the label {label!r}, but the model's predict "
                f"returns {expected!r}: JSON does not preserve the type of a column"
            )
