"""A model version in memory: load it, check it, and let its scorecard or its pickle answer."""

from __future__ import annotations

import hashlib
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from slipway.core.errors import BadInput, ModelError
from slipway.core.settings import ServingEngine
from slipway.models.features import Answer, Record
from slipway.models.labels import Labels, without_label
from slipway.models.manifest import GoldenRow, Manifest, read_manifest
from slipway.models.pipeline_engine import (
    PipelineScorer,
    limit_to_one_thread,
    unpickle,
    uses_polars,
)
from slipway.models.signature import Signature
from slipway.models.unpickling.pickles import SETTING

TOLERANCE = 1e-12
# Gunicorn's master sets it while it loads what its workers share.
BEFORE_FORK = "_SLIPWAY_BEFORE_FORK"
# Products of 32-bit floats depend on the place of a row in its batch.
NARROW_TOLERANCE = 1e-5
VALUE_TOLERANCE = 1e-9


class Scorer(Protocol):
    """What gives the answers for checked records."""

    def __call__(self, records: Sequence[Record], /) -> list[Answer]:
        """Score records of values in the features' order."""


class Predictor:
    """A model version that answers.

    Parameters
    ----------
    manifest : Manifest
    engine : {"scorecard", "pickle"}
    score : callable
        From records to answers: the probability or score of the positive class, or all the
        classes', or a value; NaN where the model has no answer.

    Attributes
    ----------
    labels : Labels
        The labels that answers get, and the rule that chooses them.
    """

    def __init__(self, manifest: Manifest, engine: ServingEngine, score: Scorer) -> None:
        self.manifest = manifest
        self.engine = engine
        self.score = score
        self.target = manifest.signature.target
        self.task = self.target.task
        self.labels = Labels(self.target, manifest.threshold)

    def label(self, answer: Answer) -> str:
        """Return the label of an answer that is a number, or several."""
        return self.labels.name(answer)

    @property
    def engine_reason(self) -> str:
        """Why it is the pickle that answers; empty where the scorecard does."""
        if self.engine == "scorecard":
            return ""
        return self.manifest.reason or "the service was asked to let it"

    def explain(self, record: Record) -> list[tuple[float, dict[str, float]]]:
        """Give the intercept and each feature's contribution, for every sum of the scorecard.

        Raises
        ------
        BadInput
            The pipeline is not a sum of one-feature terms.
        """
        scorecard = self.manifest.scorecard
        if scorecard is None:
            message = "this model is not a sum of one-feature terms and cannot be explained so"
            raise BadInput(message, code="not_explainable")
        return [(each.intercept, each.explain(record)) for each in scorecard.sums]

    def replay(self) -> str | None:
        """Answer the golden rows again; give what is wrong with the first that differs, or None."""
        rows = self.manifest.golden
        records = []
        for number, row in enumerate(rows, start=1):
            record, errors, _ = self.manifest.signature.check(row.record)
            if errors:
                return f"golden row {number} is refused: {errors[0].field} {errors[0].message}"
            records.append(record)
        due = [row.answer for row in rows]
        answers = self.score(records) if records else []
        for number, (answer, wanted) in enumerate(zip(answers, due, strict=True), start=1):
            if not is_close(self, answer, wanted):
                return (
                    f"golden row {number} gives {without_label(answer)!r} where {wanted!r} is due"
                )
            label = self.label(answer) if self.target.classes else ""
            if label != self.expected_label(rows[number - 1], label):
                return f"golden row {number} gets the label {label!r}, not that of the pipeline"
        return None

    def expected_label(self, row: GoldenRow, found: str) -> str:
        """Return the label that a golden row must get."""
        if row.label is None or self.labels.threshold is not None:
            return found
        implied = self.labels.names[self.labels.implied_index(row.answer)]
        # Another processor can turn the last bit, and with it a tie that nothing else decides.
        return found if row.label == implied and self.labels.is_tied(row.answer) else row.label


def load_predictor(
    path: Path, engine: ServingEngine, *, allow_version_skew: bool = False
) -> Predictor:
    """Load a model version, and check that it predicts as its pipeline did.

    The pickle is hashed in any case, because the manifest describes that very file, but it is
    opened only when the pipeline must predict.

    Parameters
    ----------
    path : Path
        The pickle; its manifest stands beside it.
    engine : {"scorecard", "pickle"}
    allow_version_skew : bool
        Whether a pickle of another version of its library may predict, if it reproduces the
        golden rows.

    Returns
    -------
    Predictor

    Raises
    ------
    ModelError
        A file is missing or changed, the versions differ, or a golden row has another prediction.
    """
    content = read_pickle(path)
    manifest = read_manifest(path)
    if hashlib.sha256(content).hexdigest() != manifest.sha256:
        raise ModelError(f"{path.name} is not the file its manifest describes: sha256 differs")
    pipeline = None
    if engine == "pickle" or manifest.scorecard is None:
        pipeline = unpickle(content, manifest, allow_version_skew)
    return build_checked_predictor(manifest, engine, pipeline)


def read_pickle(path: Path) -> bytes:
    """Read a pickle, and let it import the modules beside it that the operator allows.

    Raises
    ------
    ModelError
        The file cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {path.name}: {error.strerror}") from error
    folder = str(path.parent.resolve())
    if os.environ.get(SETTING) and folder not in sys.path:
        sys.path.append(folder)
    return content


def build_checked_predictor(
    manifest: Manifest, engine: ServingEngine, pipeline: Any = None
) -> Predictor:
    """Build the predictor of a version, and replay its golden rows.

    Parameters
    ----------
    manifest : Manifest
    engine : {"scorecard", "pickle"}
    pipeline : estimator, optional
        Needed where the engine is ``"pickle"`` or the manifest has no scorecard.

    Returns
    -------
    Predictor

    Raises
    ------
    ModelError
        A golden row has another prediction.
    """
    by_model = Labels(manifest.signature.target, manifest.threshold).threshold is None
    if engine == "scorecard" and manifest.scorecard is not None:
        model = Predictor(
            manifest, "scorecard", manifest.scorecard.compile_answers(labels=by_model)
        )
    else:
        pipeline = limit_to_one_thread(pipeline)
        scorer = PipelineScorer(pipeline, manifest.signature, labels=by_model)
        model = Predictor(manifest, "pickle", scorer)
    # Gunicorn's workers replay the golden rows themselves after the fork.
    later = BEFORE_FORK in os.environ and pipeline is not None
    if later and uses_polars(pipeline, manifest.signature):
        return model
    wrong = model.replay()
    if wrong:
        raise ModelError(wrong)
    return model


def prediction_tolerance(signature: Signature) -> float:
    """Return how far two answers for the same record may be apart."""
    return NARROW_TOLERANCE if any(f.is_narrow_float for f in signature.features) else TOLERANCE


def is_close(model: Predictor, answer: Answer, wanted: Answer) -> bool:
    """Whether an answer is that of a golden row, but for its last bits."""
    tolerance = prediction_tolerance(model.manifest.signature)
    if model.target.is_unbounded:
        # A sum of large terms can leave a small value: the last bits are those of the terms.
        due = (abs(number) for row in model.manifest.golden for number in _flat(row.answer))
        tolerance = max(tolerance, VALUE_TOLERANCE) * max(due, default=1)
    return _close(answer, wanted, tolerance)


def _flat(answer: Answer) -> tuple[float, ...]:
    return answer if isinstance(answer, tuple) else (answer,)


def _close(answer: Answer, wanted: Answer, tolerance: float) -> bool:
    """Whether two answers are the same but for their last bits."""
    pairs = zip(_flat(answer), _flat(wanted), strict=True)
    return all(math.isclose(a, b, rel_tol=0.0, abs_tol=tolerance) for a, b in pairs)
