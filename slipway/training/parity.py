"""Hold a scorecard against the model that it was compiled from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from slipway.compiler import NotAScorecard, centre, compile_model, differing_step
from slipway.model import TOLERANCE, frame, pipeline_scorer
from slipway.scorecard import Scorecard
from slipway.signature import Record, Signature


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
    theirs = np.array(pipeline_scorer(model, signature)(records))
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
    except ValueError as error:
        step = f"a step that refuses a row: {error}"
    return f"its scorecard differs from it by {worst:.1e} on {len(rows)} rows, first after {step}"
