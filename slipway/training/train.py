"""Train a problem's model: rows, fit, evaluate, write."""

from __future__ import annotations

import hashlib
import pickle
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from slipway.interval import Uncertainty
from slipway.manifest import Evaluation, Manifest, Training, manifest_path
from slipway.problem import Problem
from slipway.signature import Feature, Signature
from slipway.training.covariance import NoInterval, find_uncertainty
from slipway.training.evaluate import (
    Floats,
    best_threshold,
    calibration_bins,
    precision_recall_points,
    roc_points,
    score_probabilities,
    slice_table,
)
from slipway.training.golden import SEED, to_records
from slipway.training.rows import Rows, read_rows
from slipway.training.version import describe, write

HOLDOUT = 0.2
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Split:
    """One way of parting the rows: which are fitted on, which are tested on."""

    description: str
    fit: np.ndarray
    test: np.ndarray


def train(problem: Problem, path: Path, progress: Progress = lambda stage: None) -> Manifest:
    """Train a problem's model and write ``model.pkl`` and ``model.json``.

    The model that is written was fitted on a random four fifths of the rows, so that every
    figure under ``holdout`` is its own.

    Parameters
    ----------
    problem : Problem
    path : Path
        Where the pickle is written; the manifest goes beside it.
    progress : callable
        Told each stage before it begins.

    Returns
    -------
    Manifest
    """
    started = time.perf_counter()
    progress("reading the tables and running the query")
    rows = read_rows(problem)
    progress(f"fitting the logistic regression on {_share(1 - HOLDOUT)} of {len(rows.y):,} rows")
    split = random_split(rows)
    pipeline = fit(problem, rows, split)
    progress("evaluating it, with gradient boosting as the upper reference")
    holdout = evaluate(problem, rows, split, pipeline)
    progress("the same in time: fitting on the earlier months, testing on the later")
    later = time_split(problem, rows)
    in_time = evaluate(problem, rows, later, fit(problem, rows, later))
    progress("compiling the scorecard and checking it on every row")
    evaluations = {"holdout": holdout, "time": in_time}
    seconds = time.perf_counter() - started
    X, y = rows.X.iloc[split.fit], rows.y.iloc[split.fit]
    manifest = describe(
        pipeline,
        X,
        Signature(described(problem, rows, split), problem.target),
        name=problem.name,
        title=problem.title,
        threshold=best_threshold(y, pipeline.predict_proba(X)[:, 1]),
        base_rate=float(y.mean()),
        evaluations=evaluations,
        training=provenance(problem, rows, split, seconds),
        held_out=rows.X.iloc[split.test],
    )
    progress("finding how sure it is of its parameters")
    uncertainty = find_intervals(pipeline, rows, split, manifest, progress)
    progress(f"writing {path.name} and {manifest_path(path).name}")
    return write(pickle.dumps(pipeline, protocol=5), manifest, path, uncertainty)


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
        return find_uncertainty(pipeline, X, y, signature, records, groups)
    except NoInterval as error:
        progress(f"no intervals: {error}")
        return None


def random_split(rows: Rows) -> Split:
    """Part the rows at random, with the same share of the positive class on both sides."""
    everything = np.arange(len(rows.y))
    fit_on, test_on = train_test_split(
        everything, test_size=HOLDOUT, random_state=SEED, stratify=rows.y
    )
    description = f"a random {_share(HOLDOUT)} of the rows held out"
    return Split(description, np.sort(fit_on), np.sort(test_on))


def time_split(problem: Problem, rows: Rows) -> Split:
    """Part the rows in time: learn from the past, test on what came after."""
    late = rows.order.to_numpy() >= problem.time_split
    column, first = problem.order_column, problem.time_split
    description = f"fitted on the rows before {column} {first}, tested on the rest"
    return Split(description, np.flatnonzero(~late), np.flatnonzero(late))


def fit(problem: Problem, rows: Rows, split: Split) -> Pipeline:
    """Fit the problem's pipeline on one side of a split."""
    with warnings.catch_warnings():
        # Many hours have no rain at all, so that several of its quantiles are the same.
        warnings.filterwarnings("ignore", "Bins whose width are too small", UserWarning)
        return problem.pipeline().fit(rows.X.iloc[split.fit], rows.y.iloc[split.fit])


def boosting(problem: Problem) -> Pipeline:
    """Build the upper reference: gradient boosting, free to use interactions."""
    texts = [f.name for f in problem.features if f.kind == "category"]
    encoder = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=-1, max_categories=250
    )
    columns = make_column_transformer((encoder, texts), remainder="passthrough")
    trees = HistGradientBoostingClassifier(
        categorical_features=list(range(len(texts))), max_iter=300, random_state=SEED
    )
    return make_pipeline(columns, trees)


def evaluate(problem: Problem, rows: Rows, split: Split, pipeline: Pipeline) -> Evaluation:
    """Evaluate a fitted pipeline on the test side of a split, beside its references."""
    X, y = rows.X.iloc[split.test], rows.y.iloc[split.test]
    p: Floats = pipeline.predict_proba(X)[:, 1]
    base = np.full(len(y), rows.y.iloc[split.fit].mean())
    upper = boosting(problem).fit(rows.X.iloc[split.fit], rows.y.iloc[split.fit])
    scores = {
        "model": score_probabilities(y, p),
        "base rate": score_probabilities(y, base),
        "gradient boosting": score_probabilities(y, upper.predict_proba(X)[:, 1]),
    }
    return Evaluation(
        description=split.description,
        rows_fit=len(split.fit),
        rows_test=len(split.test),
        base_rate=float(y.mean()),
        scores=scores,
        calibration=calibration_bins(y, p),
        roc=roc_points(y, p),
        precision_recall=precision_recall_points(y, p),
        slices=slice_table(X, y, p, problem.slices),
    )


def described(problem: Problem, rows: Rows, split: Split) -> tuple[Feature, ...]:
    """Fill in the categories that the training rows hold, and their names for people."""
    X = rows.X.iloc[split.fit]
    return tuple(
        _with_categories(feature, sorted(X[feature.name].unique().tolist()), rows)
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


def provenance(problem: Problem, rows: Rows, split: Split, seconds: float) -> Training:
    """Say where the rows came from and what became of each of them."""
    return Training(
        source=problem.source,
        query_sha256=hashlib.sha256(problem.query.encode()).hexdigest(),
        data_sha256=rows.sha256,
        rows_read=rows.rows_read,
        rows_fit=len(split.fit),
        rows_test=len(split.test),
        left_out=rows.left_out,
        seconds=round(seconds, 1),
    )


def _share(share: float) -> str:
    return f"{share:.0%}"
