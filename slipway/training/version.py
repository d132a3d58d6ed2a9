"""Make a model version of a fitted pipeline: its signature, its manifest, its two files."""

from __future__ import annotations

import hashlib
import pickle
import platform
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd
import sklearn
from sklearn.pipeline import Pipeline

from slipway.compiler import NotAScorecard, compile_pipeline
from slipway.errors import SlipwayError
from slipway.manifest import Evaluation, GoldenRow, Manifest, Training, write_manifest
from slipway.model import TOLERANCE, pipeline_scorer, scorecard_scorer
from slipway.scorecard import Scorecard
from slipway.signature import Feature, Kind, Record, Signature, Target, Value
from slipway.training.evaluate import Floats, best_threshold

SEED = 2013
N_GOLDEN = 24


def save(
    pipeline: Pipeline,
    X: pd.DataFrame,
    y: npt.ArrayLike,
    path: str | Path = "model.pkl",
    *,
    name: str = "model",
    title: str = "What does the model predict?",
) -> Manifest:
    """Write a fitted pipeline of one's own as a model version that Slipway serves.

    Parameters
    ----------
    pipeline : Pipeline
        Fitted on ``X``, with ``predict_proba`` for two classes; the second of its
        ``classes_`` is the positive one.
    X : DataFrame of shape (n_samples, n_features)
        The rows it was fitted on: the kinds, categories, gaps and examples of the features
        are taken from them.
    y : array-like of shape (n_samples,)
        The target's labels.
    path : str or Path
        Where the pickle is written; the manifest goes beside it.
    name, title : str
        For the metadata and the pages.

    Returns
    -------
    Manifest

    Raises
    ------
    SlipwayError
        The pipeline has not exactly two classes.
    """
    started = time.perf_counter()
    classes = list(pipeline.classes_)
    if len(classes) != 2:
        raise SlipwayError(f"the pipeline has {len(classes)} classes, where two can be served")
    labels = pd.Series(y)
    signature = infer_signature(X, str(labels.name or "target"), classes)
    content = pd.util.hash_pandas_object(X).to_numpy().tobytes()
    training = Training(
        source="rows given to slipway.save",
        query_sha256="",
        data_sha256=hashlib.sha256(content).hexdigest(),
        rows_read=len(X),
        rows_fit=len(X),
        rows_test=0,
        left_out={},
        seconds=round(time.perf_counter() - started, 1),
    )
    positive = (labels == classes[1]).astype("int64")
    manifest = describe(
        pipeline, X, positive, signature, name=name, title=title, evaluations={}, training=training
    )
    return write(pipeline, manifest, Path(path))


def infer_signature(X: pd.DataFrame, target: str, classes: list[Any]) -> Signature:
    """Infer a signature from training rows."""
    low, high = map(str, classes)
    return Signature(
        tuple(_inferred(str(name), X[name]) for name in X),
        Target(target, f"{target} is {high}", (low, high), high),
    )


def _inferred(name: str, column: pd.Series[Any]) -> Feature:
    """Infer one feature from its column."""
    known = column.dropna()
    nullable = len(known) < len(column)
    kind: Kind = "category"
    if pd.api.types.is_bool_dtype(column):
        kind = "flag"
    elif pd.api.types.is_integer_dtype(column):
        kind = "integer"
    elif pd.api.types.is_numeric_dtype(column):
        kind = "number"
    example: Value = known.mode().iloc[0]
    categories = tuple(sorted(map(str, known.unique()))) if kind == "category" else ()
    if isinstance(example, np.generic):
        example = example.item()
    return Feature(name, kind, name, example, categories=categories, nullable=nullable)


def describe(
    pipeline: Pipeline,
    X: pd.DataFrame,
    y: pd.Series[int],
    signature: Signature,
    *,
    name: str,
    title: str,
    evaluations: dict[str, Evaluation],
    training: Training,
    held_out: pd.DataFrame | None = None,
) -> Manifest:
    """Make the manifest of a fitted pipeline; ``write`` fills in what the pickle decides.

    Parameters
    ----------
    pipeline : Pipeline
    X : DataFrame of shape (n_samples, n_features)
        The training rows.
    y : Series of shape (n_samples,)
        1 for the positive class, else 0.
    signature : Signature
    name, title : str
    evaluations : dict of str to Evaluation
    training : Training
    held_out : DataFrame, optional
        Rows that were not trained on. Scorecard and pipeline must agree on them as well, and
        the golden rows are chosen from them; else from the training rows.

    Returns
    -------
    Manifest

    Raises
    ------
    SlipwayError
        The scorecard and the pipeline differ on a row.
    """
    scorecard = _compiled(pipeline, signature, X)
    p = _agreed_scores(pipeline, signature, scorecard, X)
    if held_out is not None:
        _agreed_scores(pipeline, signature, scorecard, held_out)
    return Manifest(
        name=name,
        title=title,
        version="",
        created="",
        sha256="",
        estimator=type(pipeline[-1]).__name__,
        signature=signature,
        scorecard=scorecard,
        threshold=best_threshold(y, p),
        base_rate=float(y.mean()),
        evaluations=evaluations,
        golden=golden_rows(signature, pipeline, X if held_out is None else held_out),
        training=training,
        libraries={
            "python": platform.python_version(),
            "scikit-learn": sklearn.__version__,
            "numpy": np.__version__,
            "pandas": pd.__version__,
        },
    )


def write(pipeline: Pipeline, manifest: Manifest, path: Path) -> Manifest:
    """Write the pickle and its manifest, and give the manifest its version."""
    content = pickle.dumps(pipeline, protocol=5)
    sha256 = hashlib.sha256(content).hexdigest()
    now = datetime.now(UTC)
    manifest = msgspec.structs.replace(
        manifest,
        sha256=sha256,
        created=now.isoformat(timespec="seconds"),
        version=f"{now:%Y%m%dT%H%M%SZ}-{sha256[:8]}",
    )
    path.write_bytes(content)
    write_manifest(manifest, path)
    return manifest


def _compiled(pipeline: Pipeline, signature: Signature, X: pd.DataFrame) -> Scorecard | None:
    """Compile the scorecard; None where the pipeline is no such sum."""
    try:
        return compile_pipeline(pipeline, signature, X)
    except NotAScorecard:
        return None


def _agreed_scores(
    pipeline: Pipeline, signature: Signature, scorecard: Scorecard | None, X: pd.DataFrame
) -> Floats:
    """Give the pipeline's probabilities, after holding the scorecard's against them."""
    records = to_records(X, signature)
    theirs = np.array(pipeline_scorer(pipeline, signature)(records))
    if scorecard is not None:
        difference = np.abs(np.array(scorecard_scorer(scorecard)(records)) - theirs).max()
        if not difference <= TOLERANCE:
            raise SlipwayError(f"the scorecard differs from the pipeline by {difference:.1e}")
    return theirs


def golden_rows(signature: Signature, pipeline: Pipeline, X: pd.DataFrame) -> tuple[GoldenRow, ...]:
    """Choose rows with the pipeline's own answers: ordinary, with gaps, with unseen levels."""
    chosen = to_records(X.sample(min(N_GOLDEN, len(X)), random_state=SEED), signature)
    pairs = list(zip(signature.features, chosen[0], strict=True))
    gaps = tuple(None if f.nullable else v for f, v in pairs)
    unseen = tuple("never seen" if f.kind == "category" else v for f, v in pairs)
    lowest = tuple(
        f.minimum if f.kind == "number" and f.minimum is not None else v for f, v in pairs
    )
    records = list(dict.fromkeys([*chosen, gaps, unseen, lowest]))
    score = pipeline_scorer(pipeline, signature)
    answers = [_answer_or_none(score, record) for record in records]
    return tuple(
        GoldenRow(dict(zip(signature.names, record, strict=True)), answer)
        for record, answer in zip(records, answers, strict=True)
        if answer is not None
    )


def _answer_or_none(score: Any, record: Record) -> float | None:
    """Answer one record; None where the pipeline itself refuses it, as some do unseen levels."""
    try:
        answer: float = score([record])[0]
    except ValueError:
        return None
    return answer


def to_records(X: pd.DataFrame, signature: Signature) -> list[Record]:
    """Give the rows of a frame as records, with None for what is missing."""
    columns = []
    for feature in signature.features:
        values = X[feature.name]
        if feature.kind == "integer":
            values = values.astype("Int64")
        columns.append(values.astype(object).where(values.notna(), None).tolist())
    return list(zip(*columns, strict=True))
