"""The pickle engine: load a fitted pipeline and predict records with it, in one thread."""

from __future__ import annotations

import logging
import math
import os
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from textwrap import shorten
from threading import Lock
from typing import TYPE_CHECKING, Any

from slipway.core.errors import ModelError
from slipway.core.version import installed_versions
from slipway.models.features import Answer, Record
from slipway.models.frames import build_pipeline_input, group_records
from slipway.models.manifest import Manifest
from slipway.models.responses import Responder
from slipway.models.signature import Signature
from slipway.models.unpickling.pickles import load_pickle

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

_log = logging.getLogger(__name__)


def unpickle(content: bytes, manifest: Manifest, allow_version_skew: bool = False) -> Pipeline:
    """Load a pickle whose hash was checked.

    Raises
    ------
    ModelError
        The pickle was made by other library versions, which may behave differently, or
        ``load_pickle`` rejects it.
    """
    limit_threads()
    for library, saved in manifest.libraries.items():
        if library in ("python", "numpy", "pandas"):
            continue
        installed = installed_versions([library]).get(library, "none")
        if installed == saved:
            continue
        message = f"the pickle was made by {library} {saved}, installed is {installed}"
        fix = f"pip install {library}=={saved}, or train again"
        if not allow_version_skew or installed == "none":
            raise ModelError(f"{message}: {fix}")
        _log.warning("%s; served as long as it reproduces the golden rows; %s", message, fix)
    pipeline: Pipeline = load_pickle(content)
    return pipeline


def uses_polars(pipeline: Any, signature: Signature) -> bool:
    """Whether a pipeline uses polars, whose threads do not survive the fork of a worker."""
    if "polars" in (signature.input, signature.transform_output):
        return True
    parts = pipeline.get_params().values() if hasattr(pipeline, "get_params") else ()
    outputs = (getattr(part, "_sklearn_output_config", {}) for part in (pipeline, *parts))
    return any(output.get("transform") == "polars" for output in outputs)


def limit_threads() -> None:
    """Limit numerical libraries that are loaded later to one thread."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def limit_to_one_thread(pipeline: Pipeline) -> Pipeline:
    """Limit a pipeline to one thread, because the workers already share the cores.

    This also prevents OpenMP from starting threads that would not survive Gunicorn's fork.
    """
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)
    parameters = pipeline.get_params()
    jobs = {name: 1 for name in parameters if name.rsplit("__", 1)[-1] == "n_jobs"}
    pipeline.set_params(**jobs)
    return pipeline


class PipelineScorer:
    """Predictions of a fitted pipeline, all records in one call.

    A record for which the pipeline raises gets NaN, and does not affect the other records.

    Parameters
    ----------
    pipeline : Pipeline
    signature : Signature
    labels : bool
        Whether labels follow ``predict``; not needed if the owner has set a threshold.
    """

    def __init__(self, pipeline: Pipeline, signature: Signature, *, labels: bool = True) -> None:
        # The client gets a warning about unseen categories. Python logs other warnings once.
        warnings.filterwarnings("ignore", "Found unknown categories", UserWarning)
        self._signature = signature
        self._named = hasattr(pipeline, "feature_names_in_")
        target = signature.target
        several = target.task == "multiclass" and target.measure != "label"
        self._no_prediction: Answer = (math.nan,) * len(target.classes) if several else math.nan
        self._respond = Responder(pipeline, target, labels=labels)
        self._lock = Lock()

    def __call__(self, records: Sequence[Record]) -> list[Answer]:
        """Score records of values in the features' order."""
        answers: list[Answer] = [self._no_prediction] * len(records)
        for positions, types in group_records(self._signature, records):
            scored = self._score([records[i] for i in positions], types)
            for position, answer in zip(positions, scored, strict=True):
                answers[position] = answer
        return answers

    def _score(self, records: Sequence[Record], types: Sequence[str]) -> list[Answer]:
        """Score records whose columns have the same types."""
        try:
            X = build_pipeline_input(self._signature, records, types, named=self._named)
            return self._predict(X, len(records))
        except ModelError:
            raise
        # Custom steps can raise any exception; the record then has no prediction.
        except Exception:
            if len(records) == 1:
                return [self._no_prediction]
        # A single record may have caused the exception; bisection finds it in few calls.
        half = len(records) // 2
        return self._score(records[:half], types) + self._score(records[half:], types)

    def failure_reason(self, record: Record) -> str:
        """Return the exception that a record causes, in one line, or an empty text."""
        ((_, types),) = group_records(self._signature, [record])
        try:
            X = build_pipeline_input(self._signature, [record], types, named=self._named)
            self._predict(X, 1)
        except Exception as error:  # custom steps can raise any exception
            line = (str(error).strip() or type(error).__name__).splitlines()[0]
            return shorten(line.replace("\0", ""), 200, placeholder=" ...")
        return ""

    def score_frame(self, X: pd.DataFrame) -> list[Answer]:
        """Score the rows of a frame as ``slipway.models.frames`` builds it."""
        try:
            kind = self._signature.input or ("frame" if self._named else "array")
            return self._predict(X if kind == "frame" else X.to_numpy(), len(X))
        except ModelError:
            raise
        except Exception:
            if len(X) == 1:
                return [self._no_prediction]
        half = len(X) // 2
        return self.score_frame(X[:half]) + self.score_frame(X[half:])

    def _predict(self, X: Any, n_rows: int) -> list[Any]:
        # scikit-learn silences warnings temporarily. Python does that for all threads, so that
        # concurrent calls interfere with each other. They would not be faster either.
        with self._lock, output_context(self._signature):
            answers = self._respond(X)
        if len(answers) != n_rows:
            raise ValueError(f"{len(answers)} predictions for {n_rows} rows")
        return answers


def output_context(signature: Signature) -> AbstractContextManager[Any]:
    """Return a context with the ``transform_output`` setting of the notebook."""
    if signature.transform_output == "default":
        return nullcontext()
    from sklearn import config_context

    context: AbstractContextManager[Any] = config_context(
        transform_output=signature.transform_output
    )
    return context
