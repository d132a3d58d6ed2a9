"""Hold a scorecard against the model that it was compiled from."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd

from slipway.compiler import (
    NotAScorecard,
    answered_ranges,
    centre,
    compile_model,
    differing_step,
)
from slipway.errors import SlipwayError
from slipway.manifest import Manifest
from slipway.model import TOLERANCE, Model
from slipway.pipeline import PipelineScorer, frame
from slipway.scorecard import Answer, Scorecard
from slipway.signature import Record, Signature
from slipway.training.probes import probe_records

MOST_COMPARED = 2_000
# Of records that have no answer, each of which takes the model a call of its own.
MOST_REFUSED = 20
# Columns of 32-bit floats are rounded in training, and not here.
FRAME_TOLERANCE = 1e-5


def compiled(
    model: Any, signature: Signature, X: pd.DataFrame | None, records: list[Record]
) -> tuple[Scorecard | None, str]:
    """Compile the scorecard and hold it against the model on records.

    Returns
    -------
    scorecard : Scorecard or None
        None where the model is no such sum, or where an answer differs.
    reason : str
        Why there is none.
    """
    try:
        scorecard = compile_model(model, signature)
    except NotAScorecard as error:
        return None, str(error)
    if X is not None:
        scorecard = centre(scorecard, X)
    # Training rows seldom hold what a client can send.
    records = [*records, *_shown(scorecard, probe_records(signature, scorecard, records))]
    ours = np.array(scorecard.answerer()(records))
    theirs = _theirs(model, signature, records, _refused(ours))
    allowed = TOLERANCE * _scale(scorecard, signature, records, theirs)
    # Where the model has no answer, the scorecard must have none.
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    with np.errstate(invalid="ignore"):
        differs = ~((np.abs(ours - theirs) <= allowed) | same)
    if differs.any():
        differs[_out_of_range(model, signature, records)] = False
    if not differs.any():
        return scorecard, ""
    return None, _difference(model, signature, records, ours, theirs, differs)


def _out_of_range(model: Any, signature: Signature, records: list[Record]) -> Any:
    """Return which records hold a number that overflows in the pipeline: the service rejects it."""
    ranges = answered_ranges(model, signature)
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
    refused = _refused(np.array(scorecard.answerer()(probes)))
    kept = np.flatnonzero(refused)
    kept = kept[:: 1 + len(kept) // MOST_REFUSED]
    return [probes[i] for i in sorted({*np.flatnonzero(~refused), *kept})]


def _theirs(model: Any, signature: Signature, records: list[Record], refused: Any) -> Any:
    """Return the model's own answers; what it probably raises for is asked one by one."""
    scorer = PipelineScorer(model, signature)
    answers: list[Answer] = [0.0] * len(records)
    usual = np.flatnonzero(~refused).tolist()
    with warnings.catch_warnings():
        # A logarithm of a negative number is asked on purpose.
        warnings.simplefilter("ignore")
        for i, answer in zip(usual, scorer([records[i] for i in usual]), strict=True):
            answers[i] = answer
        for i in np.flatnonzero(refused).tolist():
            answers[i] = scorer([records[i]])[0]
    return np.array(answers)


def _scale(scorecard: Scorecard, signature: Signature, records: list[Record], theirs: Any) -> Any:
    """Return how large the numbers are that a model adds up: they share the last digits."""
    if signature.target.task != "regression":
        return 1.0
    total = scorecard.sums[0]
    lookups = [term.lookup() for term in total.terms]
    added = [
        sum(abs(points(value)) for points, value in zip(lookups, record, strict=True))
        for record in records
    ]
    size = np.array(added) + abs(total.intercept)
    return np.nan_to_num(np.maximum(1.0, np.maximum(size, np.abs(theirs))), nan=1.0)


def _difference(
    model: Any, signature: Signature, records: list[Record], ours: Any, theirs: Any, differs: Any
) -> str:
    """Say by how much a scorecard differs from its model, and from which step on."""
    rows = np.flatnonzero(differs if differs.ndim == 1 else differs.any(axis=1))
    step = differing_step(model, signature, frame(signature, [records[row] for row in rows[:100]]))
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
    some = X[:MOST_COMPARED]
    target = manifest.signature.target
    try:
        labels = model.predict(some)
        theirs = model.predict_proba(some) if target.classes else np.ravel(labels)
    except (AttributeError, TypeError, ValueError) as error:
        raise SlipwayError(f"the model refuses the rows themselves: {error}") from error
    if target.positive is not None:
        theirs = theirs[:, target.classes.index(target.positive)]
    served = Model(manifest, "pickle", PipelineScorer(model, manifest.signature))
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


def _compare_labels(served: Model, answers: list[Answer], labels: Any) -> None:
    """Warn where a model's own labels do not follow from its probabilities, as with ``SVC``."""
    pairs = zip(answers, labels, strict=True)
    others = sum(served.label(answer) != str(label) for answer, label in pairs)
    if others:
        message = f"on {others} rows the model's predict does not follow from its probabilities"
        warnings.warn(f"{message}; the service gives the most probable class", stacklevel=2)
