"""Train a problem's model: choose an engine, fit, evaluate, write."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from sklearn.pipeline import Pipeline

from slipway.core.errors import ModelError, SlipwayError
from slipway.data.dataset import FOLD, HELD_OUT, Dataset
from slipway.data.problem import Problem
from slipway.models.artifacts import manifest_path
from slipway.models.features import Feature
from slipway.models.intervals import Uncertainty
from slipway.models.manifest import Evaluation, LearningCurve, Manifest, Training, read_manifest
from slipway.reports.html import write_report
from slipway.training.engines.memory import fit
from slipway.training.engines.selection import (
    EngineChoice,
    Estimator,
    TrainingEngine,
    available_memory,
    choose_engine,
)
from slipway.training.evaluation.learning_curve import learning_curve
from slipway.training.evaluation.metrics import best_threshold, evaluate
from slipway.training.frames import Rows, read_rows
from slipway.training.packaging.columns import to_records
from slipway.training.packaging.covariance import NoInterval, find_uncertainty
from slipway.training.packaging.version import build_manifest, write_checked
from slipway.training.splits import FIT_FOLDS, Split, holdout_split, require_split, time_split

Progress = Callable[[str], None]


@dataclass(frozen=True)
class TrainingOptions:
    """What the user wants of a training; see the options of ``flask train``.

    Attributes
    ----------
    engine : {"memory", "chunks", "spark"}, optional
        By default chosen by the rows there are and the memory there is.
    estimator : {"logistic", "xgboost"}
    memory : int, optional
        Bytes that may be used; by default what is free.
    combine : {"passes", "average"}
        How chunks are put together.
    learning_curve : bool
        Whether to find how many rows are enough.
    spark : str
        The Spark master.
    command, commit : str
        What made the model, for its manifest.
    """

    engine: TrainingEngine | None = None
    estimator: Estimator = "logistic"
    memory: int | None = None
    combine: Literal["passes", "average"] = "passes"
    learning_curve: bool = False
    spark: str = "local[*]"
    command: str = ""
    commit: str = ""


def train(
    problem: Problem,
    stored: Dataset,
    path: Path,
    plan: TrainingOptions = TrainingOptions(),
    progress: Progress = lambda stage: None,
) -> Manifest:
    """Train a problem's model and write ``model.pkl``, ``model.json`` and ``report.html``.

    The model that is written was fitted on four fifths of the rows, so that every figure under
    ``holdout`` is its own.

    Parameters
    ----------
    problem : Problem
    stored : Dataset
    path : Path
        Where the pickle is written; the manifest and the report go beside it.
    plan : TrainingOptions
    progress : callable
        Told each stage before it begins.

    Returns
    -------
    Manifest
    """
    started = time.perf_counter()
    require_split(problem, stored)
    memory = plan.memory or available_memory()
    choice = _choose(plan, stored, len(problem.features), memory)
    progress(f"engine {choice.engine}: {choice.reason}")
    elsewhere = fit_out_of_core(problem, stored, plan, choice, memory, progress)
    rows = read_rows(problem, stored, choice.most_rows)
    split = holdout_split(rows)
    pipeline = elsewhere or fit_in_memory(problem, rows, split, plan, choice, progress)
    evaluations = _evaluations(problem, rows, split, pipeline, plan.estimator, progress)
    curve = _curve(problem, rows, split, plan, progress)
    progress("compiling the scorecard and checking it on every row")
    training = _provenance(problem, stored, plan, choice, curve)
    manifest = _described(problem, rows, split, pipeline, evaluations, training)
    progress("finding how sure it is of its parameters")
    uncertainty = find_intervals(pipeline, rows, split, manifest, progress)
    seconds = round(time.perf_counter() - started, 1)
    training = msgspec.structs.replace(manifest.training, seconds=seconds)
    manifest = msgspec.structs.replace(manifest, training=training)
    previous = _previous(path)
    progress(f"writing {path.name}, {manifest_path(path).name} and its report")
    content = pickle.dumps(pipeline, protocol=5)
    written = write_checked(content, manifest, path, uncertainty)
    write_report(written, path, previous)
    return written


def _curve(
    problem: Problem, rows: Rows, split: Split, plan: TrainingOptions, progress: Progress
) -> LearningCurve | None:
    """Find how many rows are enough, where that was asked for."""
    if not plan.learning_curve:
        return None
    return learning_curve(problem, rows, split, progress, estimator=plan.estimator)


def _choose(plan: TrainingOptions, stored: Dataset, n_features: int, memory: int) -> EngineChoice:
    """Choose the engine; trees are fitted in memory."""
    choice = choose_engine(plan.engine, stored, n_features, memory)
    if plan.estimator == "xgboost" and choice.engine != "memory":
        fix = "give more --memory, or fit the logistic regression"
        raise SlipwayError(f"xgboost is fitted in memory only, and {choice.reason}; {fix}")
    return choice


def fit_out_of_core(
    problem: Problem,
    stored: Dataset,
    plan: TrainingOptions,
    choice: EngineChoice,
    memory: int,
    progress: Progress,
) -> Pipeline | None:
    """Fit by an engine that reads the rows itself, while none are in memory yet."""
    if choice.engine == "chunks":
        from slipway.training.engines.chunked.fit import fit_chunks

        settings: dict[str, Any] = {"memory": memory, "folds": FIT_FOLDS, "combine": plan.combine}
        return fit_chunks(problem, stored, progress=progress, **settings)
    if choice.engine == "spark":
        from slipway.training.engines.spark.fit import fit_spark

        return fit_spark(problem, stored, master=plan.spark, folds=FIT_FOLDS, progress=progress)
    return None


def fit_in_memory(
    problem: Problem,
    rows: Rows,
    split: Split,
    plan: TrainingOptions,
    choice: EngineChoice,
    progress: Progress,
) -> Pipeline:
    """Fit on rows in memory."""
    if rows.every > 1:
        raise SlipwayError(f"not all rows fit in memory: {choice.reason}; use --engine chunks")
    progress(f"fitting on {len(split.fit):,} of {len(rows.y):,} rows")
    return fit(problem, rows, split, plan.estimator)


def _evaluations(
    problem: Problem,
    rows: Rows,
    split: Split,
    pipeline: Pipeline,
    estimator: Estimator,
    progress: Progress,
) -> dict[str, Evaluation]:
    """Evaluate the model on the rows held out, and one of its kind on the later rows."""
    progress("evaluating it, with gradient boosting as the upper reference")
    holdout = evaluate(problem, rows, split, pipeline)
    progress("the same in time: fitting on the earlier rows, testing on the later")
    later = time_split(problem, rows)
    earlier = fit(problem, rows, later, estimator)
    return {"holdout": holdout, "time": evaluate(problem, rows, later, earlier)}


def _described(
    problem: Problem,
    rows: Rows,
    split: Split,
    pipeline: Pipeline,
    evaluations: dict[str, Evaluation],
    training: Training,
) -> Manifest:
    """Make the manifest of the model."""
    X, y = rows.X.iloc[split.fit], rows.y.iloc[split.fit]
    return build_manifest(
        pipeline,
        X,
        problem.signature(describe_features(problem, rows, split)),
        name=problem.name,
        title=problem.title,
        threshold=best_threshold(y, pipeline.predict_proba(X)[:, 1]),
        base_rate=float(y.mean()),
        evaluations=evaluations,
        training=training,
        held_out=rows.X.iloc[split.test],
        public_rows=problem.public_rows,
    )


def describe_features(problem: Problem, rows: Rows, split: Split) -> tuple[Feature, ...]:
    """Fill in the categories that the training rows hold, and their names for people."""
    X = rows.X.iloc[split.fit]
    return tuple(
        _with_categories(feature, sorted(X[feature.name].dropna().unique().tolist()), rows)
        if feature.name in rows.labels or feature.kind == "category"
        else feature
        for feature in problem.features
    )


def _with_categories(feature: Feature, categories: list[Any], rows: Rows) -> Feature:
    """Give a feature its categories, in the order in which the problem names them."""
    names = rows.labels.get(feature.name, {})
    place = {name: i for i, name in enumerate(names)}
    categories.sort(key=lambda category: place.get(str(category), len(place)))
    labels = {str(c): names[str(c)] for c in categories if str(c) in names}
    return msgspec.structs.replace(feature, categories=tuple(categories), labels=labels)


def find_intervals(
    pipeline: Pipeline, rows: Rows, split: Split, manifest: Manifest, progress: Progress
) -> Uncertainty | None:
    """Find the covariance of the parameters, or tell why there is none."""
    signature = manifest.signature
    golden = [tuple(row.record[name] for name in signature.names) for row in manifest.golden]
    records = golden + to_records(rows.X.iloc[split.test[:1000]], signature)
    groups = None if rows.groups is None else rows.groups.iloc[split.fit]
    X, y = rows.X.iloc[split.fit], rows.y.iloc[split.fit]
    try:
        if rows.every > 1:
            raise NoInterval("it takes all rows at once, and they do not fit in memory")
        return find_uncertainty(pipeline, X, y, signature, records, groups)
    except NoInterval as error:
        progress(f"no intervals: {error}")
        return None


def _provenance(
    problem: Problem,
    stored: Dataset,
    plan: TrainingOptions,
    choice: EngineChoice,
    curve: LearningCurve | None,
) -> Training:
    """Say where the rows came from and what became of each of them."""
    told = stored.manifest
    held_out = sum(
        int(np.isin(batch.column(FOLD).to_numpy(), HELD_OUT).sum())
        for batch in stored.batches([FOLD])
    )
    return Training(
        source=problem.source if told.source == problem.name else told.source,
        query_sha256=told.query_sha256,
        data_sha256=told.data_sha256,
        rows_read=told.rows_read,
        rows_fit=told.rows - held_out,
        rows_test=held_out,
        left_out=told.left_out | told.quarantined,
        seconds=0.0,
        engine=choice.engine,
        command=plan.command,
        commit=plan.commit,
        learning_curve=curve,
    )


def _previous(path: Path) -> Manifest | None:
    """Read the manifest of the model that is about to be replaced, if there is one."""
    try:
        return read_manifest(path)
    except ModelError:
        return None
