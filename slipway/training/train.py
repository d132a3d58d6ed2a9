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
from slipway.training.evaluation.metrics import evaluate, find_best_threshold
from slipway.training.frames import Rows, read_rows
from slipway.training.packaging.columns import to_records
from slipway.training.packaging.covariance import NoInterval, find_uncertainty
from slipway.training.packaging.manifest_builder import build_manifest
from slipway.training.packaging.version import write_checked
from slipway.training.splits import FIT_FOLDS, Split, holdout_split, require_split, time_split

Progress = Callable[[str], None]


@dataclass(frozen=True)
class TrainingOptions:
    """The options of a training; see ``slipway train``.

    Attributes
    ----------
    engine : {"memory", "chunks", "spark"}, optional
        By default chosen by the number of rows and the available memory.
    estimator : {"logistic", "xgboost"}
    memory : int, optional
        Limit in bytes; by default the available memory.
    combine : {"passes", "average"}
        How the chunks engine combines chunks.
    learning_curve : bool
        Compute the learning curve.
    spark : str
        The URL of the Spark master.
    command, commit : str
        The command line and the Git commit, for the manifest.
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
    dataset: Dataset,
    path: Path,
    options: TrainingOptions = TrainingOptions(),
    progress: Progress = lambda stage: None,
) -> Manifest:
    """Train a problem's model and write ``model.pkl``, ``model.json`` and ``report.html``.

    The written model is fitted on four fifths of the rows, so that the figures under ``holdout``
    describe exactly this model.

    Parameters
    ----------
    problem : Problem
    dataset : Dataset
    path : Path
        Path of the pickle; the manifest and the report are written beside it.
    options : TrainingOptions
    progress : callable
        Called with each stage before it begins.

    Returns
    -------
    Manifest
    """
    started = time.perf_counter()
    require_split(problem, dataset)
    memory = options.memory or available_memory()
    choice = _choose_engine(options, dataset, len(problem.features), memory)
    progress(f"engine {choice.engine}: {choice.reason}")
    fitted = fit_out_of_core(problem, dataset, options, choice, memory, progress)
    rows = read_rows(problem, dataset, choice.max_rows)
    split = holdout_split(rows)
    pipeline = fitted or fit_in_memory(problem, rows, split, options, choice, progress)
    evaluations = _evaluate_splits(problem, rows, split, pipeline, options.estimator, progress)
    curve = None
    if options.learning_curve:
        curve = learning_curve(problem, rows, split, progress, estimator=options.estimator)
    progress("compiling the scorecard and checking it on every row")
    training = _describe_training(problem, dataset, options, choice, curve)
    manifest = _make_manifest(problem, rows, split, pipeline, evaluations, training)
    progress("computing the covariance of the parameters")
    uncertainty = compute_uncertainty(pipeline, rows, split, manifest, progress)
    seconds = round(time.perf_counter() - started, 1)
    training = msgspec.structs.replace(manifest.training, seconds=seconds)
    manifest = msgspec.structs.replace(manifest, training=training)
    previous = _read_previous_manifest(path)
    progress(f"writing {path.name}, {manifest_path(path).name} and its report")
    content = pickle.dumps(pipeline, protocol=5)
    manifest = write_checked(content, manifest, path, uncertainty)
    write_report(manifest, path, previous)
    return manifest


def _choose_engine(
    options: TrainingOptions, dataset: Dataset, n_features: int, memory: int
) -> EngineChoice:
    """Choose the engine; XGBoost requires the memory engine."""
    choice = choose_engine(options.engine, dataset, n_features, memory)
    if options.estimator == "xgboost" and choice.engine != "memory":
        fix = "raise --memory, or fit the logistic regression"
        raise SlipwayError(f"xgboost requires the memory engine, but {choice.reason}; {fix}")
    return choice


def fit_out_of_core(
    problem: Problem,
    dataset: Dataset,
    options: TrainingOptions,
    choice: EngineChoice,
    memory: int,
    progress: Progress,
) -> Pipeline | None:
    """Fit with an engine that reads the rows itself, before rows are in memory."""
    if choice.engine == "chunks":
        from slipway.training.engines.chunked.fit import fit_chunks

        settings: dict[str, Any] = {
            "memory": memory,
            "folds": FIT_FOLDS,
            "combine": options.combine,
        }
        return fit_chunks(problem, dataset, progress=progress, **settings)
    if choice.engine == "spark":
        from slipway.training.engines.spark.fit import fit_spark

        return fit_spark(problem, dataset, master=options.spark, folds=FIT_FOLDS, progress=progress)
    return None


def fit_in_memory(
    problem: Problem,
    rows: Rows,
    split: Split,
    options: TrainingOptions,
    choice: EngineChoice,
    progress: Progress,
) -> Pipeline:
    """Fit on rows in memory."""
    if rows.stride > 1:
        raise SlipwayError(f"the rows do not fit in memory: {choice.reason}; use --engine chunks")
    progress(f"fitting on {len(split.fit):,} of {len(rows.y):,} rows")
    return fit(problem, rows, split, options.estimator)


def _evaluate_splits(
    problem: Problem,
    rows: Rows,
    split: Split,
    pipeline: Pipeline,
    estimator: Estimator,
    progress: Progress,
) -> dict[str, Evaluation]:
    """Evaluate the model on held out rows, and a model of the earlier rows on the later ones."""
    progress("evaluating the model, with gradient boosting as the upper reference")
    holdout = evaluate(problem, rows, split, pipeline)
    progress("evaluating in time: fitting on the earlier rows, testing on the later ones")
    later = time_split(problem, rows)
    earlier = fit(problem, rows, later, estimator)
    return {"holdout": holdout, "time": evaluate(problem, rows, later, earlier)}


def _make_manifest(
    problem: Problem,
    rows: Rows,
    split: Split,
    pipeline: Pipeline,
    evaluations: dict[str, Evaluation],
    training: Training,
) -> Manifest:
    """Build the manifest of the trained model."""
    X, y = rows.X.iloc[split.fit], rows.y.iloc[split.fit]
    return build_manifest(
        pipeline,
        X,
        problem.signature(describe_features(problem, rows, split)),
        name=problem.name,
        title=problem.title,
        threshold=find_best_threshold(y, pipeline.predict_proba(X)[:, 1]),
        base_rate=float(y.mean()),
        evaluations=evaluations,
        training=training,
        held_out=rows.X.iloc[split.test],
        public_rows=problem.public_rows,
    )


def describe_features(problem: Problem, rows: Rows, split: Split) -> tuple[Feature, ...]:
    """Set the categories in the training rows and their display names."""
    X = rows.X.iloc[split.fit]
    return tuple(
        _set_categories(feature, sorted(X[feature.name].dropna().unique().tolist()), rows)
        if feature.name in rows.labels or feature.kind == "category"
        else feature
        for feature in problem.features
    )


def _set_categories(feature: Feature, categories: list[Any], rows: Rows) -> Feature:
    """Set the categories of a feature, in the order of the problem's display names."""
    names = rows.labels.get(feature.name, {})
    position = {name: i for i, name in enumerate(names)}
    categories.sort(key=lambda category: position.get(str(category), len(position)))
    labels = {str(c): names[str(c)] for c in categories if str(c) in names}
    return msgspec.structs.replace(feature, categories=tuple(categories), labels=labels)


def compute_uncertainty(
    pipeline: Pipeline, rows: Rows, split: Split, manifest: Manifest, progress: Progress
) -> Uncertainty | None:
    """Compute the covariance of the parameters, or report why not."""
    signature = manifest.signature
    golden = [tuple(row.record[name] for name in signature.names) for row in manifest.golden]
    records = golden + to_records(rows.X.iloc[split.test[:1000]], signature)
    groups = None if rows.groups is None else rows.groups.iloc[split.fit]
    X, y = rows.X.iloc[split.fit], rows.y.iloc[split.fit]
    try:
        if rows.stride > 1:
            raise NoInterval("the computation requires all rows in memory")
        return find_uncertainty(pipeline, X, y, signature, records, groups)
    except NoInterval as error:
        progress(f"no intervals: {error}")
        return None


def _describe_training(
    problem: Problem,
    dataset: Dataset,
    options: TrainingOptions,
    choice: EngineChoice,
    curve: LearningCurve | None,
) -> Training:
    """Return the manifest's facts about the rows and the training."""
    rows = dataset.manifest
    held_out = sum(
        int(np.isin(batch.column(FOLD).to_numpy(), HELD_OUT).sum())
        for batch in dataset.batches([FOLD])
    )
    return Training(
        source=problem.source if rows.source == problem.name else rows.source,
        query_sha256=rows.query_sha256,
        data_sha256=rows.data_sha256,
        rows_read=rows.rows_read,
        rows_fit=rows.rows - held_out,
        rows_test=held_out,
        left_out=rows.left_out | rows.quarantined,
        seconds=0.0,
        engine=choice.engine,
        command=options.command,
        commit=options.commit,
        learning_curve=curve,
    )


def _read_previous_manifest(path: Path) -> Manifest | None:
    """Read the manifest of the model that this run replaces, if it exists."""
    try:
        return read_manifest(path)
    except ModelError:
        return None
