"""A model version in memory: load it, check it, and predict with its scorecard or pickle."""

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
# Set by Gunicorn's master while it preloads the app for its workers.
BEFORE_FORK = "_SLIPWAY_BEFORE_FORK"
# Products of 32-bit floats depend on the position of a row in its batch.
NARROW_TOLERANCE = 1e-5
VALUE_TOLERANCE = 1e-9


class Scorer(Protocol):
    """A function from checked records to predictions."""

    def __call__(self, records: Sequence[Record], /) -> list[Answer]:
        """Score records of values in the features' order."""


class Predictor:
    """A model version that predicts records.

    Parameters
    ----------
    manifest : Manifest
    engine : {"scorecard", "pickle"}
    score : callable
        From records to predictions: the probability or score of the positive class, those of
        all classes, or a value; NaN for a missing prediction.

    Attributes
    ----------
    labels : Labels
        The labels, and the rule that chooses one for a prediction.
    """

    def __init__(self, manifest: Manifest, engine: ServingEngine, score: Scorer) -> None:
        self.manifest = manifest
        self.engine = engine
        self.score = score
        self.target = manifest.signature.target
        self.task = self.target.task
        self.labels = Labels(self.target, manifest.threshold)

    def label(self, answer: Answer) -> str:
        """Return the label of a prediction."""
        return self.labels.name(answer)

    @property
    def engine_reason(self) -> str:
        """The reason for using the pickle engine; empty for the scorecard engine."""
        if self.engine == "scorecard":
            return ""
        return self.manifest.reason or "set by SLIPWAY_ENGINE"

    def explain(self, record: Record) -> list[tuple[float, dict[str, float]]]:
        """Return the intercept and the feature contributions of each sum of the scorecard.

        Raises
        ------
        BadInput
            The model has no scorecard.
        """
        scorecard = self.manifest.scorecard
        if scorecard is None:
            message = (
                "predictions of this model cannot be explained: not a sum of one-feature terms"
            )
            raise BadInput(message, code="not_explainable")
        return [(total.intercept, total.explain(record)) for total in scorecard.sums]

    def replay(self) -> str | None:
        """Predict the golden rows again; return a message on the first difference, or None."""
        rows = self.manifest.golden
        records = []
        for number, row in enumerate(rows, start=1):
            record, errors, _ = self.manifest.signature.check(row.record)
            if errors:
                return f"golden row {number} is rejected: {errors[0].field} {errors[0].message}"
            records.append(record)
        answers = self.score(records) if records else []
        for number, (row, answer) in enumerate(zip(rows, answers, strict=True), start=1):
            if not is_close(self, answer, row.answer):
                actual = without_label(answer)
                return f"golden row {number} gives {actual!r} instead of {row.answer!r}"
            label = self.label(answer) if self.target.classes else ""
            if label != self.expected_label(row, label):
                return f"golden row {number} gets the label {label!r} instead of {row.label!r}"
        return None

    def expected_label(self, row: GoldenRow, label: str) -> str:
        """Return the expected label of a golden row that now has a given label."""
        if row.label is None or self.labels.threshold is not None:
            return label
        implied = self.labels.names[self.labels.implied_index(row.answer)]
        # On another processor the last bit can differ, which decides a tie.
        return label if row.label == implied and self.labels.is_tied(row.answer) else row.label


def load_predictor(
    path: Path, engine: ServingEngine, *, allow_version_skew: bool = False
) -> Predictor:
    """Load a model version, and check that it reproduces the golden rows.

    The hash of the pickle is always checked against the manifest. The pickle itself is loaded
    only if the pipeline must predict.

    Parameters
    ----------
    path : Path
        The pickle, next to its manifest.
    engine : {"scorecard", "pickle"}
    allow_version_skew : bool
        Whether to accept a pickle of other library versions if it reproduces the golden rows.

    Returns
    -------
    Predictor

    Raises
    ------
    ModelError
        A file is missing or changed, library versions differ, or a golden row differs.
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
    """Read a pickle; if the operator allows own modules, make those next to it importable.

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
        Required if the engine is ``"pickle"`` or the manifest has no scorecard.

    Returns
    -------
    Predictor

    Raises
    ------
    ModelError
        The prediction of a golden row differs.
    """
    follows_predict = Labels(manifest.signature.target, manifest.threshold).threshold is None
    if engine == "scorecard" and manifest.scorecard is not None:
        scorer: Scorer = manifest.scorecard.compile_answers(labels=follows_predict)
        model = Predictor(manifest, "scorecard", scorer)
    else:
        pipeline = limit_to_one_thread(pipeline)
        scorer = PipelineScorer(pipeline, manifest.signature, labels=follows_predict)
        model = Predictor(manifest, "pickle", scorer)
    # After the fork, Gunicorn's workers replay the golden rows themselves.
    before_fork = BEFORE_FORK in os.environ and pipeline is not None
    if before_fork and uses_polars(pipeline, manifest.signature):
        return model
    fault = model.replay()
    if fault:
        raise ModelError(fault)
    return model


def prediction_tolerance(signature: Signature) -> float:
    """Return the largest acceptable difference of two predictions for the same record."""
    return NARROW_TOLERANCE if any(f.is_narrow_float for f in signature.features) else TOLERANCE


def is_close(model: Predictor, answer: Answer, expected: Answer) -> bool:
    """Whether a prediction equals that of a golden row, up to rounding errors."""
    tolerance = prediction_tolerance(model.manifest.signature)
    if model.target.is_unbounded:
        # A small sum of large terms has the rounding error of the terms.
        sizes = (abs(number) for row in model.manifest.golden for number in _to_tuple(row.answer))
        tolerance = max(tolerance, VALUE_TOLERANCE) * max(sizes, default=1)
    pairs = zip(_to_tuple(answer), _to_tuple(expected), strict=True)
    return all(math.isclose(a, b, rel_tol=0.0, abs_tol=tolerance) for a, b in pairs)


def _to_tuple(answer: Answer) -> tuple[float, ...]:
    return answer if isinstance(answer, tuple) else (answer,)
