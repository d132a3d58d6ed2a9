"""Fit a problem's pipeline, evaluate it, and write the model version."""

from __future__ import annotations

import hashlib
import pickle
import platform
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import sklearn
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from slipway.compiler import compile_pipeline
from slipway.errors import SlipwayError
from slipway.manifest import (
    Evaluation,
    GoldenRow,
    Manifest,
    Training,
    manifest_path,
    write_manifest,
)
from slipway.model import TOLERANCE, pipeline_scorer, scorecard_scorer
from slipway.problem import Problem
from slipway.signature import Feature, Record, Signature
from slipway.training.evaluate import (
    Floats,
    best_threshold,
    calibration_bins,
    precision_recall_points,
    roc_points,
    score_probabilities,
    slice_table,
)
from slipway.training.rows import Rows, read_rows

SEED = 2013
HOLDOUT = 0.2
N_GOLDEN = 24
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
    manifest = describe(problem, rows, split, pipeline, evaluations, seconds)
    progress(f"writing {path.name} and {manifest_path(path).name}")
    return save(pipeline, manifest, path)


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
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, max_categories=250)
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


def describe(
    problem: Problem,
    rows: Rows,
    split: Split,
    pipeline: Pipeline,
    evaluations: dict[str, Evaluation],
    seconds: float,
) -> Manifest:
    """Make the manifest of a fitted pipeline; ``save`` fills in the pickle's hash.

    Raises
    ------
    SlipwayError
        The scorecard and the pipeline differ on any row.
    """
    X = rows.X.iloc[split.fit]
    signature = Signature(_described(problem, rows, X), problem.target)
    scorecard = compile_pipeline(pipeline, signature, X)
    p: Floats = pipeline.predict_proba(rows.X)[:, 1]
    records = to_records(rows.X)
    difference = np.abs(np.array(scorecard_scorer(scorecard)(records)) - p).max()
    if not difference <= TOLERANCE:
        raise SlipwayError(f"the scorecard differs from the pipeline by {difference:.1e}")
    y = rows.y.iloc[split.fit]
    return Manifest(
        name=problem.name,
        title=problem.title,
        version="",
        created="",
        sha256="",
        estimator=type(pipeline[-1]).__name__,
        signature=signature,
        scorecard=scorecard,
        threshold=best_threshold(y, p[split.fit]),
        base_rate=float(y.mean()),
        evaluations=evaluations,
        golden=golden_rows(signature, pipeline, rows.X.iloc[split.test]),
        training=Training(
            source=problem.source,
            query_sha256=hashlib.sha256(problem.query.encode()).hexdigest(),
            data_sha256=rows.sha256,
            rows_read=rows.rows_read,
            rows_fit=len(split.fit),
            rows_test=len(split.test),
            left_out=rows.left_out,
            seconds=round(seconds, 1),
        ),
        libraries={
            "python": platform.python_version(),
            "scikit-learn": sklearn.__version__,
            "numpy": np.__version__,
            "pandas": pd.__version__,
        },
    )


def save(pipeline: Pipeline, manifest: Manifest, path: Path) -> Manifest:
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


def golden_rows(
    signature: Signature, pipeline: Pipeline, X: pd.DataFrame
) -> tuple[GoldenRow, ...]:
    """Choose rows with the pipeline's own answers: ordinary, with gaps, and with unseen levels."""
    chosen = to_records(X.sample(N_GOLDEN - 3, random_state=SEED))
    first = chosen[0]
    gaps = tuple(None if f.nullable else v for f, v in zip(signature.features, first, strict=True))
    unseen = tuple(
        "never seen" if f.kind == "category" else v
        for f, v in zip(signature.features, first, strict=True)
    )
    lowest = tuple(
        f.minimum if f.kind == "number" and f.minimum is not None else v
        for f, v in zip(signature.features, first, strict=True)
    )
    records = [*chosen, gaps, unseen, lowest]
    answers = pipeline_scorer(pipeline, signature)(records)
    return tuple(
        GoldenRow(dict(zip(signature.names, record, strict=True)), answer)
        for record, answer in zip(records, answers, strict=True)
    )


def to_records(X: pd.DataFrame) -> list[Record]:
    """Give the rows of a frame as records, with None for what is missing."""
    columns = [X[name].astype(object).where(X[name].notna(), None).tolist() for name in X]
    return list(zip(*columns, strict=True))


def _described(problem: Problem, rows: Rows, X: pd.DataFrame) -> tuple[Feature, ...]:
    """Fill in the categories that the training rows hold, and their names for people."""
    made = []
    for feature in problem.features:
        names = rows.labels.get(feature.name, {})
        if feature.name in rows.labels or feature.kind == "category":
            categories = tuple(sorted(X[feature.name].unique().tolist()))
            labels = {str(c): names[str(c)] for c in categories if str(c) in names}
            feature = msgspec.structs.replace(feature, categories=categories, labels=labels)
        made.append(feature)
    return tuple(made)


def _share(share: float) -> str:
    return f"{share:.0%}"
