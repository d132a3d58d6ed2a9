"""A model version in memory: load it, check it, and let its scorecard or its pickle answer."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import warnings
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

from slipway.config import Engine
from slipway.errors import BadInput, ModelError
from slipway.manifest import Manifest, manifest_path, read_manifest
from slipway.pickles import load_pickle
from slipway.scorecard import Answer
from slipway.signature import Record, Signature

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

TOLERANCE = 1e-12
VALUE_TOLERANCE = 1e-9
_log = logging.getLogger(__name__)


class Scorer(Protocol):
    """What gives the answers for checked records."""

    def __call__(self, records: Sequence[Record], /) -> list[Answer]:
        """Score records of values in the features' order."""


class Model:
    """A model version that answers.

    Parameters
    ----------
    manifest : Manifest
    engine : {"scorecard", "pickle"}
    score : callable
        From records to answers: the probability of the positive class, or all the classes', or
        a value; NaN where the model has no answer.
    """

    def __init__(self, manifest: Manifest, engine: Engine, score: Scorer) -> None:
        self.manifest = manifest
        self.engine = engine
        self.score = score
        self.target = manifest.signature.target
        self.task = self.target.task
        if self.target.positive is not None:
            self.positive = self.target.positive
            at = self.target.classes.index(self.positive)
            self.negative = self.target.classes[1 - at]
            self.least = _least(manifest.threshold, positive_first=at == 0)

    def label(self, answer: Answer) -> str:
        """Give the label for a probability of the positive class, or for all probabilities."""
        if isinstance(answer, tuple):
            return self.target.classes[answer.index(max(answer))]
        return self.positive if answer >= self.least else self.negative

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
        tolerance = TOLERANCE
        if self.task == "regression":
            # A sum of large terms can leave a small value: the last bits are those of the terms.
            tolerance = VALUE_TOLERANCE * max((abs(_flat(answer)[0]) for answer in due), default=1)
        for number, (answer, wanted) in enumerate(zip(answers, due, strict=True), start=1):
            if not _close(answer, wanted, tolerance):
                return f"golden row {number} gives {answer!r} where {wanted!r} is due"
        return None


def load_model(path: Path, engine: Engine, *, allow_version_skew: bool = False) -> Model:
    """Load a model version, and check that it answers as its pipeline did.

    The pickle is hashed in any case, because the manifest speaks of that very file, but it is
    opened only when the pipeline must answer. A pickle without a manifest is opened, and what
    can be known from it is inferred.

    Parameters
    ----------
    path : Path
        The pickle; its manifest stands beside it.
    engine : {"scorecard", "pickle"}
    allow_version_skew : bool
        Whether a pickle of another version of its library may answer, if it reproduces the
        golden rows.

    Returns
    -------
    Model

    Raises
    ------
    ModelError
        A file is missing or changed, the versions differ, or a golden row is answered wrongly.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {path.name}: {error.strerror}") from error
    pipeline = None
    if manifest_path(path).exists():
        manifest = read_manifest(path)
        if hashlib.sha256(content).hexdigest() != manifest.sha256:
            raise ModelError(f"{path.name} is not the file its manifest describes: sha256 differs")
    else:
        _limit_threads()
        # Whoever brings a bare pickle has scikit-learn; a service with a manifest may not.
        from slipway.training.adopt import adopt

        pipeline, manifest = adopt(path, content)
    if engine == "scorecard" and manifest.scorecard is not None:
        model = Model(manifest, "scorecard", manifest.scorecard.answerer())
    else:
        pipeline = bounded(pipeline or unpickle(content, manifest, allow_version_skew))
        model = Model(manifest, "pickle", PipelineScorer(pipeline, manifest.signature))
    wrong = model.replay()
    if wrong:
        raise ModelError(wrong)
    return model


def unpickle(content: bytes, manifest: Manifest, allow_version_skew: bool = False) -> Pipeline:
    """Open a pickle whose hash was checked.

    Raises
    ------
    ModelError
        It was made by other versions, which gives no promise that it means the same, or
        ``load_pickle`` refuses it.
    """
    _limit_threads()
    for library, made_by in manifest.libraries.items():
        if library in ("python", "numpy", "pandas"):
            continue
        here = _installed(library)
        if here == made_by:
            continue
        told = f"the pickle was made by {library} {made_by}, here is {here}"
        fix = f"pip install {library}=={made_by}, or train again"
        if not allow_version_skew or here == "none":
            raise ModelError(f"{told}: {fix}")
        _log.warning("%s; it answers as long as it reproduces the golden rows; %s", told, fix)
    pipeline: Pipeline = load_pickle(content)
    return pipeline


def _limit_threads() -> None:
    """Keep libraries that are not loaded yet to one thread, in whichever thread they are called."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def bounded(pipeline: Pipeline) -> Pipeline:
    """Keep a pipeline to one thread, because the workers share the cores already.

    It also keeps OpenMP from starting threads before Gunicorn forks, which they do not survive.
    """
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)
    parameters = pipeline.get_params()
    jobs = {name: 1 for name in parameters if name.rsplit("__", 1)[-1] == "n_jobs"}
    pipeline.set_params(**jobs)
    return pipeline


class PipelineScorer:
    """A fitted pipeline that answers, all the records in one call.

    A record that the pipeline itself refuses has NaN for an answer, and does not spoil the
    others.

    Parameters
    ----------
    pipeline : Pipeline
    signature : Signature
    """

    def __init__(self, pipeline: Pipeline, signature: Signature) -> None:
        # An unseen category is told to who sent it, not to the log; any other warning is logged
        # once, by Python's default.
        warnings.filterwarnings("ignore", "Found unknown categories", UserWarning)
        self._pipeline = pipeline
        self._signature = signature
        self._by_name = hasattr(pipeline, "feature_names_in_")
        target = signature.target
        several = (math.nan,) * len(target.classes)
        self._none: Answer = several if target.task == "multiclass" else math.nan
        self._one_at_a_time = Lock()

    def __call__(self, records: Sequence[Record]) -> list[Answer]:
        """Score records of values in the features' order."""
        return self.score_frame(frame(self._signature, records)) if records else []

    def score_frame(self, X: pd.DataFrame) -> list[Answer]:
        """Score the rows of a frame as ``frame`` builds it."""
        try:
            return self._answers(X)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            if len(X) == 1:
                return [self._none]
        # One record may have spoilt the others; halving finds it in few calls.
        half = len(X) // 2
        return self.score_frame(X[:half]) + self.score_frame(X[half:])

    def _answers(self, X: pd.DataFrame) -> list[Any]:
        # scikit-learn silences warnings for a while, which in Python is for all threads: two at
        # once undo each other's. And together they are no faster than one after the other.
        with self._one_at_a_time:
            return self._predict(X)

    def _predict(self, X: pd.DataFrame) -> list[Any]:
        given: Any = X if self._by_name else X.to_numpy()
        target = self._signature.target
        if not target.classes:
            values: list[Any] = self._pipeline.predict(given).ravel().tolist()
            return values
        probabilities = self._pipeline.predict_proba(given)
        if target.positive is None:
            return list(map(tuple, probabilities.tolist()))
        return list(probabilities[:, target.classes.index(target.positive)].tolist())


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
        Each column of its feature's ``column_type``.
    """
    import numpy as np
    import pandas as pd

    columns: dict[str, Any] = {}
    for feature, values in zip(signature.features, zip(*records, strict=True), strict=True):
        kind = feature.column_type
        if kind == "category":
            columns[feature.name] = pd.Categorical(list(values), categories=feature.categories)
            continue
        gap = math.nan if kind == "object" and feature.gap == "nan" else None
        given = values if gap is None else [gap if value is None else value for value in values]
        columns[feature.name] = np.array(given, dtype=kind)
    return pd.DataFrame(columns, copy=False)


def _least(threshold: float | None, *, positive_first: bool) -> float:
    """Give the least probability with the positive label; without a threshold, ties go first."""
    if threshold is not None:
        return threshold
    return 0.5 if positive_first else math.nextafter(0.5, 1.0)


def _flat(answer: Answer) -> tuple[float, ...]:
    return answer if isinstance(answer, tuple) else (answer,)


def _close(answer: Answer, wanted: Answer, tolerance: float) -> bool:
    """Whether two answers are the same but for their last bits."""
    pairs = zip(_flat(answer), _flat(wanted), strict=True)
    return all(math.isclose(a, b, rel_tol=0.0, abs_tol=tolerance) for a, b in pairs)


def _installed(library: str) -> str:
    """Give the version of a library here."""
    try:
        return version(library)
    except PackageNotFoundError:
        return "none"
