"""Make a model version of a fitted pipeline: its signature, its manifest, its two files."""

from __future__ import annotations

import hashlib
import math
import pickle
import platform
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd
import sklearn
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.pipeline import Pipeline

from slipway.compiler import NotAScorecard, centre, compile_model, differing_step
from slipway.errors import SlipwayError
from slipway.manifest import Evaluation, GoldenRow, Manifest, Training, write_manifest
from slipway.model import TOLERANCE, frame, pipeline_scorer
from slipway.scorecard import Scorecard
from slipway.signature import Feature, Record, Signature, Target, Value
from slipway.training.infer import feature_names, infer_signature

SEED = 2013
N_GOLDEN = 24


@dataclass(frozen=True)
class Described:
    """A manifest, and in words what could not be known for it."""

    manifest: Manifest
    notes: list[str]


def save(
    model: Any,
    X: Any = None,
    y: npt.ArrayLike | None = None,
    path: str | Path = "model.pkl",
    *,
    name: str = "model",
    title: str = "What does the model predict?",
    positive: str | None = None,
) -> Manifest:
    """Write a fitted model of one's own as a model version that Slipway serves.

    Parameters
    ----------
    model : estimator
        A fitted classifier with ``predict_proba``, or regressor; as a rule a ``Pipeline``.
    X : DataFrame or array-like of shape (n_samples, n_features), optional
        The rows it was fitted on, or others like them: the kinds, ranges, categories, gaps and
        examples of the features are taken from them, and the scorecard is checked on them.
    y : array-like of shape (n_samples,), optional
        The target; its name and the base rate are taken from it.
    path : str or Path
        Where the pickle is written; the manifest goes beside it.
    name, title : str
        For the metadata and the pages.
    positive : str, optional
        The class whose probability is given; by default the second of two.

    Returns
    -------
    Manifest

    Raises
    ------
    SlipwayError
        The model cannot be served; the message says why, and what to do.
    """
    made = describe_model(model, X, y, name=name, title=title, positive=positive)
    return write(pickle.dumps(model, protocol=5), made.manifest, Path(path))


def describe_model(
    model: Any,
    X: Any = None,
    y: npt.ArrayLike | None = None,
    *,
    name: str = "model",
    title: str = "What does the model predict?",
    positive: str | None = None,
    source: str = "rows given to slipway.save",
) -> Described:
    """Describe a fitted model of one's own, without writing anything; see ``save``."""
    started = time.perf_counter()
    rows = _rows(model, X)
    labels = None if y is None else pd.Series(y)
    target = "target" if labels is None else str(labels.name or "target")
    threshold, chosen = learned_threshold(model)
    positive = positive or chosen
    inferred = infer_signature(model, rows, target_name=target, positive=positive)
    signature = inferred.signature
    if threshold is not None and positive != chosen:
        threshold = 1.0 - threshold
    content = b"" if rows is None else pd.util.hash_pandas_object(rows).to_numpy().tobytes()
    manifest = describe(
        model,
        rows,
        signature,
        name=name,
        title=title,
        threshold=threshold,
        base_rate=_base_rate(signature.target, labels),
        evaluations={},
        training=Training(
            source="" if rows is None else source,
            query_sha256="",
            data_sha256=hashlib.sha256(content).hexdigest() if content else "",
            rows_read=0 if rows is None else len(rows),
            rows_fit=0 if rows is None else len(rows),
            rows_test=0,
            left_out={},
            seconds=round(time.perf_counter() - started, 1),
        ),
    )
    return Described(manifest, inferred.notes)


def learned_threshold(model: Any) -> tuple[float | None, str | None]:
    """Give the threshold that a model brings with it, and the class that it is for."""
    last = model.steps[-1][1] if isinstance(model, Pipeline) else model
    if type(last) not in (FixedThresholdClassifier, TunedThresholdClassifierCV):
        return None, None
    if last.response_method == "decision_function":
        raise SlipwayError("use response_method='predict_proba' for the threshold of a model")
    threshold = getattr(last, "best_threshold_", getattr(last, "threshold", "auto"))
    label = getattr(last, "pos_label", None)
    positive = last.classes_[1] if label is None else label
    return 0.5 if threshold == "auto" else float(threshold), str(positive)


def _rows(model: Any, X: Any) -> pd.DataFrame | None:
    """Give the rows as a frame with the model's columns in the model's order."""
    if X is None:
        return None
    if not isinstance(X, pd.DataFrame):
        values = np.asarray(X)
        return pd.DataFrame(values, columns=[f"x{i}" for i in range(values.shape[1])])
    rows = X.set_axis(X.columns.map(str), axis=1)
    names = list(feature_names(model, rows))
    absent = [name for name in names if name not in rows]
    if absent:
        raise SlipwayError(f"the rows lack columns of the model: {', '.join(absent)}")
    return rows[names]


def _base_rate(target: Target, labels: pd.Series[Any] | None) -> float | None:
    """Give the share of the positive class."""
    if target.positive is None or labels is None:
        return None
    return float((labels.map(str) == target.positive).mean())


def describe(
    model: Any,
    X: pd.DataFrame | None,
    signature: Signature,
    *,
    name: str,
    title: str,
    threshold: float | None,
    base_rate: float | None,
    evaluations: dict[str, Evaluation],
    training: Training,
    held_out: pd.DataFrame | None = None,
) -> Manifest:
    """Make the manifest of a fitted model; ``write`` fills in what the pickle decides.

    Parameters
    ----------
    model : estimator
    X : DataFrame of shape (n_samples, n_features), optional
        The training rows.
    signature : Signature
    name, title : str
    threshold, base_rate : float, optional
    evaluations : dict of str to Evaluation
    training : Training
    held_out : DataFrame, optional
        Rows that were not trained on. Scorecard and pipeline must agree on them as well, and
        the golden rows are chosen from them; else from the training rows.

    Returns
    -------
    Manifest
        Without a scorecard where it is not the model's equal on all these rows.
    """
    shown = X if held_out is None else held_out
    golden = golden_rows(signature, model, shown)
    records = [tuple(row.record[name] for name in signature.names) for row in golden]
    for rows in (X, held_out):
        records += [] if rows is None else to_records(rows, signature)
    scorecard, reason = compiled(model, signature, X, records)
    return Manifest(
        name=name,
        title=title,
        version="",
        created="",
        sha256="",
        estimator=estimator_name(model),
        signature=signature,
        scorecard=scorecard,
        reason=reason,
        threshold=threshold,
        base_rate=base_rate,
        evaluations=evaluations,
        golden=golden,
        training=training,
        libraries=libraries(model),
    )


def estimator_name(model: Any) -> str:
    """Name the last step of a pipeline, or the model itself."""
    return type(model.steps[-1][1] if isinstance(model, Pipeline) else model).__name__


def libraries(model: Any) -> dict[str, str]:
    """Give the versions that the model was made with, those of its steps' packages included."""
    parts = [model, *model.get_params(deep=True).values()]
    modules = {type(part).__module__.partition(".")[0] for part in parts if hasattr(part, "fit")}
    packages = packages_distributions()
    others = sorted({packages[module][0] for module in modules & packages.keys()})
    versions = {package: version(package) for package in others}
    return {
        "python": platform.python_version(),
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
        "pandas": pd.__version__,
    } | versions


def write(content: bytes, manifest: Manifest, path: Path) -> Manifest:
    """Write a pickle and its manifest, and give the manifest its version."""
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


def golden_rows(signature: Signature, model: Any, X: pd.DataFrame | None) -> tuple[GoldenRow, ...]:
    """Choose records with the model's own answers: ordinary, with gaps, unseen and extreme."""
    chosen = invented(signature)
    if X is not None:
        chosen = to_records(X.sample(min(N_GOLDEN, len(X)), random_state=SEED), signature)
    odd = zip(
        *(_oddities(f, v) for f, v in zip(signature.features, chosen[0], strict=True)), strict=True
    )
    # A single odd value more often passes where a pipeline refuses them all at once.
    single = [
        (*chosen[0][:i], None, *chosen[0][i + 1 :])
        for i, feature in enumerate(signature.features)
        if feature.nullable
    ]
    records = list(dict.fromkeys([*chosen, *odd, *single[:N_GOLDEN]]))
    answers = pipeline_scorer(model, signature)(records)
    return tuple(
        GoldenRow(dict(zip(signature.names, record, strict=True)), answer)
        for record, answer in zip(records, answers, strict=True)
        if not math.isnan(answer[0] if isinstance(answer, tuple) else answer)
    )


def invented(signature: Signature) -> list[Record]:
    """Make up records around the examples, where there are no rows to choose from."""
    draw = random.Random(SEED)  # noqa: S311 - nothing secret
    example = tuple(feature.example for feature in signature.features)
    others = (tuple(_varied(f, draw) for f in signature.features) for _ in range(N_GOLDEN - 1))
    return [example, *others]


def _varied(feature: Feature, draw: random.Random) -> Value:
    """Make up one value."""
    if feature.kind == "flag":
        return draw.random() < 0.5
    if feature.categories:
        return draw.choice(feature.categories)
    if feature.kind == "category":
        return feature.example
    middle = float(feature.example or 0.0)
    low, high = feature.seen or (middle - abs(middle), middle + max(abs(middle), 1.0))
    number = draw.uniform(low, high)
    return round(number) if feature.kind == "integer" else number


def _oddities(feature: Feature, ordinary: Value) -> tuple[Value, ...]:
    """Give a gap, an unseen category, and both ends of the range, where the feature takes them."""
    gap = None if feature.nullable else ordinary
    unseen = ordinary
    if feature.categories and not feature.closed and feature.kind == "category":
        unseen = "never seen"
    low, high = feature.ordinary if feature.kind == "number" else (None, None)
    return gap, unseen, ordinary if low is None else low, ordinary if high is None else high


def to_records(X: pd.DataFrame, signature: Signature) -> list[Record]:
    """Give the rows of a frame as records, with None for what is missing."""
    columns = []
    for feature in signature.features:
        values = X[feature.name]
        if feature.kind == "integer":
            values = values.astype("Int64")
        columns.append(values.astype(object).where(values.notna(), None).tolist())
    return list(zip(*columns, strict=True))
