"""Hold a scorecard against the model that it was compiled from."""

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
from slipway.training.packaging.classes import has_own_border, label_from
from slipway.training.packaging.odd_records import probe_records

MOST_COMPARED = 2_000
# Of records that have no answer, each of which takes the model a call of its own.
MOST_REFUSED = 20
# The rows themselves and the same rows out of records make the same frame, up to the order in
# which a product of matrices adds.
FRAME_TOLERANCE = 1e-12


def compile_checked(
    model: Any,
    signature: Signature,
    X: pd.DataFrame | None,
    records: list[Record],
    *,
    labels: bool = True,
) -> tuple[Scorecard | None, str]:
    """Compile the scorecard and hold it against the model on records.

    Parameters
    ----------
    model : estimator
    signature : Signature
    X : DataFrame, optional
    records : list of tuple
    labels : bool
        Whether the labels are those of ``predict``, and not those of the owner's threshold.

    Returns
    -------
    scorecard : Scorecard or None
        None where the model is no such sum, or where an answer differs.
    reason : str
        Why there is none.
    """
    try:
        scorecard = compile_model(model, signature)
        if labels and has_own_border(model):
            raise NotAScorecard("no rule for a threshold of the decision function")
    except NotAScorecard as error:
        return None, str(error)
    if X is not None:
        scorecard = centre(scorecard, X)
    if signature.target.classes:
        scorecard = msgspec.structs.replace(scorecard, label_from=label_from(model))
    # Training rows seldom hold what a client can send.
    records = [*records, *_shown(scorecard, probe_records(signature, scorecard, records))]
    given = scorecard.compile_answers(labels=labels)(records)
    ours = np.array(given)
    due = _theirs(PipelineScorer(model, signature, labels=labels), records, _refused(ours))
    theirs = np.array(due)
    allowed = TOLERANCE * _scale(scorecard, signature, records, theirs)
    # Where the model has no answer, the scorecard must have none.
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    with np.errstate(invalid="ignore"):
        differs = ~((np.abs(ours - theirs) <= allowed) | same)
    if differs.any():
        differs[_out_of_range(model, signature, records)] = False
    if differs.any():
        return None, _difference(model, signature, records, ours, theirs, differs)
    by_model = labels and bool(signature.target.classes)
    others = _other_labels(Labels(signature.target), given, due) if by_model else 0
    if others:
        return None, f"its scorecard gives other labels than its predict on {others} rows"
    return scorecard, ""


def _other_labels(labels: Labels, ours: list[Answer], theirs: list[Answer]) -> int:
    """Count the answers that have another label, and are not tied but for the last bits."""
    pairs = zip(ours, theirs, strict=True)
    return sum(
        not np.isnan([a, b]).any()
        and labels.label_index(a) != labels.label_index(b)
        and not _by_chance(labels, b)
        for a, b in pairs
    )


def _by_chance(labels: Labels, answer: Answer) -> bool:
    """Whether the last bit of a number decides the label."""
    return labels.is_tied(answer) and labels.label_index(answer) == labels.implied_index(answer)


def _out_of_range(model: Any, signature: Signature, records: list[Record]) -> Any:
    """Return which records hold a number that overflows in the pipeline: the service rejects it."""
    ranges = find_valid_ranges(model, signature)
    found = np.zeros(len(records), dtype=bool)
    for i, name in enumerate(signature.names):
        if name in ranges:
            low, high = ranges[name]
            numbers: list[Any] = [low if record[i] is None else record[i] for record in records]
            found |= np.array([not low <= number <= high for number in numbers])
    return found


def _refused(answers: Any) -> Any:
    """Return which records have no answer."""
    found = np.isnan(answers)
    return found if found.ndim == 1 else found.any(axis=1)


def _shown(scorecard: Scorecard, probes: list[Record]) -> list[Record]:
    """Leave out most of the records without an answer, each of which takes a call."""
    if not probes:
        return []
    refused = _refused(np.array(scorecard.compile_answers()(probes)))
    kept = np.flatnonzero(refused)
    kept = kept[:: 1 + len(kept) // MOST_REFUSED]
    return [probes[i] for i in sorted({*np.flatnonzero(~refused), *kept})]


def _theirs(scorer: PipelineScorer, records: list[Record], refused: Any) -> list[Answer]:
    """Return the model's own answers; what it probably raises for is asked one by one."""
    answers: list[Answer] = [0.0] * len(records)
    usual = np.flatnonzero(~refused).tolist()
    with warnings.catch_warnings():
        # A logarithm of a negative number is asked on purpose.
        warnings.simplefilter("ignore")
        for i, answer in zip(usual, scorer([records[i] for i in usual]), strict=True):
            answers[i] = answer
        for i in np.flatnonzero(refused).tolist():
            answers[i] = scorer([records[i]])[0]
    return answers


def _scale(scorecard: Scorecard, signature: Signature, records: list[Record], theirs: Any) -> Any:
    """Return how large the numbers are that a model adds up: they share the last digits."""
    if not signature.target.is_unbounded:
        return 1.0
    sizes = [_sizes(total, records) for total in scorecard.sums]
    size = sizes[0] if len(sizes) == 1 else np.column_stack(sizes)
    return np.nan_to_num(np.maximum(1.0, np.maximum(size, np.abs(theirs))), nan=1.0)


def _sizes(total: LinearPredictor, records: list[Record]) -> Any:
    """Return the sum of what a sum's terms add to each record, all of it taken as positive."""
    lookups = [term.compile_points() for term in total.terms]
    added = [
        sum(abs(points(value)) for points, value in zip(lookups, record, strict=True))
        for record in records
    ]
    return np.array(added) + abs(total.intercept)


def _difference(
    model: Any, signature: Signature, records: list[Record], ours: Any, theirs: Any, differs: Any
) -> str:
    """Say by how much a scorecard differs from its model, and from which step on."""
    rows = np.flatnonzero(differs if differs.ndim == 1 else differs.any(axis=1))
    step = find_differing_step(
        model, signature, build_frame(signature, [records[row] for row in rows[:100]])
    )
    gap = np.abs(ours - theirs)[differs]
    if np.isnan(gap).any():
        return f"it and its scorecard refuse other rows ({len(rows)}), first after {step}"
    message = f"its scorecard differs from it by {gap.max():.1e} on {len(rows)} rows"
    return f"{message}, first after {step}"


def check_rows(model: Any, manifest: Manifest, X: Any, records: list[Record]) -> None:
    """Hold the answers to checked records against those to the rows as they were given.

    A column may have had a type in training that a record cannot bring back.

    Parameters
    ----------
    model : estimator
    manifest : Manifest
    X : DataFrame or array-like of shape (n_samples, n_features)
        The rows, as ``fit`` took them.
    records : list of tuple
        The same rows as records.

    Raises
    ------
    SlipwayError
        The model refuses the rows, or gives them other answers.
    """
    target = manifest.signature.target
    try:
        labels = model.predict(X)
        theirs = np.array(Responder(model, target, labels=False)(X))
    except SlipwayError:
        raise
    except Exception as error:  # a step of one's own can raise anything
        raise SlipwayError(f"the model refuses the rows themselves: {error}") from error
    served = Predictor(manifest, "pickle", PipelineScorer(model, manifest.signature))
    answers = served.score(records[:MOST_COMPARED])
    size = np.maximum(1.0, np.abs(theirs))
    differs = ~(np.abs(np.array(answers) - theirs) <= FRAME_TOLERANCE * size)
    if differs.any():
        row = int(np.argwhere(differs)[0][0])
        raise SlipwayError(
            f"as JSON carries it, row {row} gets {answers[row]!r} where the model itself gives "
            f"{theirs[row]!r}: the type of a column is lost on the way"
        )
    if target.classes:
        _compare_labels(served, answers, labels)


def _compare_labels(served: Predictor, answers: list[Answer], labels: Any) -> None:
    """Hold the labels of the answers against those that ``predict`` returns.

    Raises
    ------
    SlipwayError
        One differs, and not by the last bit of a number.
    """
    texts = map(str, np.ravel(labels).tolist())
    for row, (answer, label) in enumerate(zip(answers, texts, strict=True)):
        given = served.label(answer)
        if given != label and not _by_chance(served.labels, answer):
            raise SlipwayError(
                f"as JSON carries it, row {row} gets the label {given!r} where the model's "
                f"predict returns {label!r}: the type of a column is lost on the way"
            )
