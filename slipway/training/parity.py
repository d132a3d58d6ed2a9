"""Hold a scorecard against the model that it was compiled from."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pandas as pd

from slipway.compiler import NotAScorecard, centre, compile_model, differing_step
from slipway.errors import SlipwayError
from slipway.manifest import Manifest
from slipway.model import TOLERANCE, Model
from slipway.models.frames import frame
from slipway.models.labels import Labels
from slipway.models.responses import Responder
from slipway.pipeline import PipelineScorer
from slipway.scorecard import Answer, Scorecard
from slipway.signature import Record, Signature
from slipway.training.packaging.classes import has_own_border, label_from

MOST_COMPARED = 2_000
# The rows themselves and the same rows out of records make the same frame, up to the order in
# which a product of matrices adds.
FRAME_TOLERANCE = 1e-12


def compiled(
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
    # A sum of large terms can leave a small value: the last bits are then those of the terms.
    scale, has_scale = 1.0, signature.target.unbounded
    if has_scale:
        scale = max(1.0, *(abs(each.intercept) for each in scorecard.sums))
    if X is not None:
        scorecard = centre(scorecard, X)
    if signature.target.classes:
        scorecard = msgspec.structs.replace(scorecard, label_from=label_from(model))
    due = PipelineScorer(model, signature, labels=labels)(records)
    given = scorecard.answerer(labels=labels)(records)
    theirs, ours = np.array(due), np.array(given)
    if has_scale:
        scale = np.maximum(scale, np.abs(theirs))
    # Where the model has no answer, the scorecard must have none.
    differs = ~(np.abs(ours - theirs) <= TOLERANCE * scale) & ~(np.isnan(ours) & np.isnan(theirs))
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
        not np.isnan(a).any() and labels.place(a) != labels.place(b) and not _by_chance(labels, b)
        for a, b in pairs
    )


def _by_chance(labels: Labels, answer: Answer) -> bool:
    """Whether the last bit of a number decides the label."""
    return labels.is_tied(answer) and labels.place(answer) == labels.implied(answer)


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
        theirs = np.array(Responder(model, target, labels=False)(X))
    except SlipwayError:
        raise
    except Exception as error:  # a step of one's own can raise anything
        raise SlipwayError(f"the model refuses the rows themselves: {error}") from error
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
