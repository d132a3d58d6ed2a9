"""Hold a scorecard against the model that it was compiled from."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd

from slipway.compiler import NotAScorecard, centre, compile_model, differing_step
from slipway.errors import SlipwayError
from slipway.manifest import Manifest
from slipway.model import TOLERANCE, Model
from slipway.models.frames import frame
from slipway.pipeline import PipelineScorer
from slipway.scorecard import Answer, Scorecard
from slipway.signature import Record, Signature

MOST_COMPARED = 2_000
# The rows themselves and the same rows out of records make the same frame, up to the order in
# which a product of matrices adds.
FRAME_TOLERANCE = 1e-12


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
    # A sum of large terms can leave a small value: the last bits are then those of the terms.
    scale = 1.0
    if signature.target.task == "regression":
        scale = max(1.0, abs(scorecard.sums[0].intercept))
    if X is not None:
        scorecard = centre(scorecard, X)
    theirs = np.array(PipelineScorer(model, signature)(records))
    ours = np.array(scorecard.answerer()(records))
    if signature.target.task == "regression":
        scale = np.maximum(scale, np.abs(theirs))
    # Where the model has no answer, the scorecard must have none.
    differs = ~(np.abs(ours - theirs) <= TOLERANCE * scale) & ~(np.isnan(ours) & np.isnan(theirs))
    if not differs.any():
        return scorecard, ""
    return None, _difference(model, signature, records, ours, theirs, differs)


def _difference(
    model: Any, signature: Signature, records: list[Record], ours: Any, theirs: Any, differs: Any
) -> str:
    """Say by how much a scorecard differs from its model, and from which step on."""
    rows = np.flatnonzero(differs if differs.ndim == 1 else differs.any(axis=1))
    worst = np.abs(ours - theirs)[differs].max()
    X = frame(signature, [records[row] for row in rows[:100]])
    try:
        step = differing_step(model, signature, X)
    except (TypeError, ValueError) as error:
        step = f"a step that refuses a row: {error}"
    return f"its scorecard differs from it by {worst:.1e} on {len(rows)} rows, first after {step}"


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
        theirs = model.predict_proba(X) if target.classes else np.ravel(labels)
    except Exception as error:  # a step of one's own can raise anything
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
