"""A fitted pipeline that answers: its pickle opened, kept to one thread, asked for many records."""

from __future__ import annotations

import logging
import math
import os
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import PackageNotFoundError, version
from textwrap import shorten
from threading import Lock
from typing import TYPE_CHECKING, Any

from slipway.core.errors import ModelError
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
    """Open a pickle whose hash was checked.

    Raises
    ------
    ModelError
        It was made by other versions, which gives no promise that it means the same, or
        ``load_pickle`` refuses it.
    """
    limit_threads()
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


def uses_polars(pipeline: Any, signature: Signature) -> bool:
    """Whether a pipeline uses polars, whose threads do not outlive the fork of a worker."""
    if "polars" in (signature.input, signature.transform_output):
        return True
    parts = pipeline.get_params().values() if hasattr(pipeline, "get_params") else ()
    outputs = (getattr(part, "_sklearn_output_config", {}) for part in (pipeline, *parts))
    return any(output.get("transform") == "polars" for output in outputs)


def limit_threads() -> None:
    """Keep libraries that are not loaded yet to one thread, in whichever thread they are called."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def limit_to_one_thread(pipeline: Pipeline) -> Pipeline:
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
    labels : bool
        Whether the labels of answers are those of ``predict``; the owner's threshold makes that
        superfluous.
    """

    def __init__(self, pipeline: Pipeline, signature: Signature, *, labels: bool = True) -> None:
        # An unseen category is told to who sent it, not to the log; any other warning is logged
        # once, by Python's default.
        warnings.filterwarnings("ignore", "Found unknown categories", UserWarning)
        self._signature = signature
        self._by_name = hasattr(pipeline, "feature_names_in_")
        target = signature.target
        several = target.task == "multiclass" and target.measure != "label"
        self._none: Answer = (math.nan,) * len(target.classes) if several else math.nan
        self._respond = Responder(pipeline, target, labels=labels)
        self._one_at_a_time = Lock()

    def __call__(self, records: Sequence[Record]) -> list[Answer]:
        """Score records of values in the features' order."""
        answers: list[Answer] = [self._none] * len(records)
        for places, types in group_records(self._signature, records):
            found = self._score([records[i] for i in places], types)
            for place, answer in zip(places, found, strict=True):
                answers[place] = answer
        return answers

    def _score(self, records: Sequence[Record], types: Sequence[str]) -> list[Answer]:
        """Score records whose columns have the same types."""
        try:
            X = build_pipeline_input(self._signature, records, types, named=self._by_name)
            return self._answers(X, len(records))
        except ModelError:
            raise
        # A step of one's own can raise anything; it means that there is no prediction.
        except Exception:
            if len(records) == 1:
                return [self._none]
        # One record may have spoilt the others; halving finds it in few calls.
        half = len(records) // 2
        return self._score(records[:half], types) + self._score(records[half:], types)

    def failure_reason(self, record: Record) -> str:
        """Return what the pipeline raises for a record, in a line; empty if it does not raise."""
        ((_, types),) = group_records(self._signature, [record])
        try:
            X = build_pipeline_input(self._signature, [record], types, named=self._by_name)
            self._answers(X, 1)
        except Exception as error:  # a step of one's own can raise anything
            line = (str(error).strip() or type(error).__name__).splitlines()[0]
            return shorten(line.replace("\0", ""), 200, placeholder=" ...")
        return ""

    def score_frame(self, X: pd.DataFrame) -> list[Answer]:
        """Score the rows of a frame as ``slipway.models.frames`` builds it."""
        try:
            takes = self._signature.input or ("frame" if self._by_name else "array")
            return self._answers(X if takes == "frame" else X.to_numpy(), len(X))
        except ModelError:
            raise
        except Exception:
            if len(X) == 1:
                return [self._none]
        half = len(X) // 2
        return self.score_frame(X[:half]) + self.score_frame(X[half:])

    def _answers(self, X: Any, n_rows: int) -> list[Any]:
        # scikit-learn silences warnings for a while, which in Python is for all threads: two at
        # once undo each other's. And together they are no faster than one after the other.
        with self._one_at_a_time, output_context(self._signature):
            answers = self._respond(X)
        if len(answers) != n_rows:
            raise ValueError(f"{len(answers)} predictions for {n_rows} rows")
        return answers


def output_context(signature: Signature) -> AbstractContextManager[Any]:
    """Return the context in which scikit-learn hands on what the notebook's setting says."""
    if signature.transform_output == "default":
        return nullcontext()
    from sklearn import config_context

    context: AbstractContextManager[Any] = config_context(
        transform_output=signature.transform_output
    )
    return context


def _installed(library: str) -> str:
    """Give the version of a library here."""
    try:
        return version(library)
    except PackageNotFoundError:
        return "none"
