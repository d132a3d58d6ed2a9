"""A model version in memory: load it, check it, and let its scorecard or its pickle answer."""

from __future__ import annotations

import hashlib
import math
import pickle
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from slipway.config import Engine
from slipway.errors import BadInput, ModelError
from slipway.manifest import Manifest, read_manifest
from slipway.scorecard import Scorecard, probability
from slipway.signature import Record, Signature

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

TOLERANCE = 1e-12


class Scorer(Protocol):
    """What gives the probability of the positive class for checked records."""

    def __call__(self, records: Sequence[Record]) -> list[float]:
        """Score records of values in the features' order."""


class Model:
    """A model version that answers.

    Parameters
    ----------
    manifest : Manifest
    engine : {"scorecard", "pickle"}
    score : callable
        From records to the probabilities of the positive class.
    """

    def __init__(self, manifest: Manifest, engine: Engine, score: Scorer) -> None:
        self.manifest = manifest
        self.engine = engine
        self.score = score
        classes = manifest.signature.target.classes
        self.positive = manifest.signature.target.positive
        self.negative = classes[1 - classes.index(self.positive)]

    def label(self, probability: float) -> str:
        """Give the label for a probability of the positive class."""
        return self.positive if probability >= self.manifest.threshold else self.negative

    def explain(self, record: Record) -> tuple[float, dict[str, float]]:
        """Give the intercept and each feature's contribution to the log-odds.

        Raises
        ------
        BadInput
            The pipeline is not a sum of one-feature terms.
        """
        scorecard = self.manifest.scorecard
        if scorecard is None:
            message = "this model is not a sum of one-feature terms and cannot be explained so"
            raise BadInput(message, code="not_explainable")
        return scorecard.intercept, scorecard.explain(record)

    def replay(self) -> str | None:
        """Answer the golden rows again; give what is wrong with the first that differs, or None."""
        rows = self.manifest.golden
        records = []
        for number, row in enumerate(rows, start=1):
            record, errors, _ = self.manifest.signature.check(row.record)
            if errors:
                return f"golden row {number} is refused: {errors[0].field} {errors[0].message}"
            records.append(record)
        for number, (row, answer) in enumerate(
            zip(rows, self.score(records), strict=True), start=1
        ):
            if not math.isclose(answer, row.probability, rel_tol=0.0, abs_tol=TOLERANCE):
                return f"golden row {number} gives {answer!r} where {row.probability!r} is due"
        return None


def load_model(path: Path, engine: Engine) -> Model:
    """Load a model version, and check that it answers as its pipeline did.

    The pickle is hashed in any case, because the manifest speaks of that very file, but it is
    opened only for the pickle engine.

    Parameters
    ----------
    path : Path
        The pickle; its manifest stands beside it.
    engine : {"scorecard", "pickle"}

    Returns
    -------
    Model

    Raises
    ------
    ModelError
        A file is missing or changed, the versions differ, or a golden row is answered wrongly.
    """
    manifest = read_manifest(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {path.name}: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != manifest.sha256:
        raise ModelError(f"{path.name} is not the file its manifest describes: sha256 differs")
    if engine == "scorecard" and manifest.scorecard is not None:
        model = Model(manifest, "scorecard", scorecard_scorer(manifest.scorecard))
    else:
        pipeline = unpickle(content, manifest)
        model = Model(manifest, "pickle", pipeline_scorer(pipeline, manifest.signature))
    wrong = model.replay()
    if wrong:
        raise ModelError(wrong)
    return model


def unpickle(content: bytes, manifest: Manifest) -> Pipeline:
    """Open a pickle whose hash was checked.

    Raises
    ------
    ModelError
        It was made by another scikit-learn, which gives no promise that it means the same.
    """
    import sklearn

    made_by = manifest.libraries["scikit-learn"]
    if sklearn.__version__ != made_by:
        raise ModelError(
            f"the pickle was made by scikit-learn {made_by}, here is {sklearn.__version__}: "
            f"pip install scikit-learn=={made_by}, or train again"
        )
    pipeline: Pipeline = pickle.loads(content)  # noqa: S301 - its hash was checked
    return pipeline


def scorecard_scorer(scorecard: Scorecard) -> Scorer:
    """Let a scorecard answer; a feature at a time where there are many records."""
    log_odds_of_one = scorecard.scorer()
    log_odds_of_many = scorecard.column_scorer()

    def score(records: Sequence[Record]) -> list[float]:
        if len(records) == 1:
            return [probability(log_odds_of_one(records[0]))]
        return list(map(probability, log_odds_of_many(records)))

    return score


def pipeline_scorer(pipeline: Pipeline, signature: Signature) -> Scorer:
    """Let a fitted pipeline answer, all the records in one call."""
    positive = signature.target.classes.index(signature.target.positive)

    def score(records: Sequence[Record]) -> list[float]:
        with warnings.catch_warnings():
            # An unseen category is told to who sent it, not to the log.
            warnings.filterwarnings("ignore", "Found unknown categories", UserWarning)
            answers = pipeline.predict_proba(frame(signature, records))[:, positive]
        return cast(list[float], answers.tolist())

    return score


def frame(signature: Signature, records: Sequence[Record]) -> pd.DataFrame:
    """Build the frame that a pipeline takes.

    Parameters
    ----------
    signature : Signature
    records : sequence of tuple
        Checked values in the features' order.

    Returns
    -------
    DataFrame of shape (n_records, n_features)
        Each column of its feature's ``dtype``.
    """
    import pandas as pd

    columns: dict[str, Any] = {}
    for feature, values in zip(signature.features, zip(*records, strict=True), strict=True):
        columns[feature.name] = pd.Series(values, dtype=cast(Any, feature.dtype))
    return pd.DataFrame(columns)
