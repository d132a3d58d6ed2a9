"""Handmade small models of every task, with and without a scorecard.

All have the same four features, so that they share records and rows.
"""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sklearn
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from slipway.models.features import Feature, Record, Target
from slipway.models.manifest import GoldenRow, Manifest, Training, write_manifest
from slipway.models.pipeline_engine import PipelineScorer
from slipway.models.scorecard import (
    CurveSumTerm,
    CurveTerm,
    LinearPredictor,
    Scorecard,
    SlopeTerm,
    StepTerm,
    TableTerm,
    Term,
)
from slipway.models.signature import Signature
from slipway.models.stages import SIGMOID, Affine, Named, Pieces

FEATURES = (
    Feature("colour", "category", "Its colour", "red", categories=("red", "green", "blue")),
    Feature("size", "number", "Its size", 2.5, unit="cm", minimum=-1e9, seen=(0.0, 100.0)),
    Feature("age", "integer", "Its age", 7, nullable=True, minimum=0, maximum=200),
    Feature("shiny", "flag", "Whether it shines", True, nullable=True),
)
RECORD: dict[str, Any] = {"colour": "red", "size": 2.5, "age": 7, "shiny": True}
# A name that a spreadsheet would run, and one that a CSV file must quote.
CLASSES = ("=SUM(A1)", "fine, or nearly", "setosa")
TARGETS = {
    "multiclass": Target("kind", "Which of three kinds it is", CLASSES),
    "regression": Target("price", "What it costs", unit="EUR"),
    "binary": Target("sold", "Whether it is sold", ("no", "yes"), "yes"),
}
REFUSED = 50.0


def terms(scale: float) -> tuple[Term, ...]:
    """Return one term of each kind."""
    line = Pieces((), (0.0,), ((0.0, scale),))
    curve_term = CurveTerm(
        "size", (Affine(subtract=2.0, divide=4.0), Named("square")), line, missing=0.0
    )
    return (
        TableTerm("colour", ("red", "green", "blue"), (scale, -scale, 0.25), 0.0, 0.125),
        CurveSumTerm("size", (curve_term, CurveTerm("size", (), line, 0.0)), missing=0.0),
        StepTerm("age", (10.0, 20.0), (-scale, 0.0, scale), missing=0.5),
        TableTerm("shiny", (False, True), (-0.1, 0.3 * scale), 0.05, 0.0),
    )


def simple_terms(scale: float) -> tuple[Term, ...]:
    """Return terms that the service scores in columns of text."""
    colour, _, age, shiny = terms(scale)
    return colour, SlopeTerm("size", scale, 3.0, 0.5, 0.0), age, shiny


SCORECARDS = {
    "softmax": (
        "multiclass",
        Scorecard(tuple(LinearPredictor(s, terms(s)) for s in (0.1, -0.2, 0.3)), True),
    ),
    "one against the rest": (
        "multiclass",
        Scorecard(tuple(LinearPredictor(s, terms(s), SIGMOID) for s in (0.01, -0.02, 0.03))),
    ),
    "sum": ("regression", Scorecard((LinearPredictor(12.5, terms(3.0), ()),))),
    "exponential": ("regression", Scorecard((LinearPredictor(1.0, terms(0.01), (Named("exp"),)),))),
    "log-odds": ("binary", Scorecard((LinearPredictor(-0.5, simple_terms(0.2)),))),
    "rare": ("binary", Scorecard((LinearPredictor(-11.0, simple_terms(0.9)),))),
    "huge": ("binary", Scorecard((LinearPredictor(0.0, simple_terms(50.0)),))),
    "bent log-odds": ("binary", Scorecard((LinearPredictor(-0.5, terms(0.2)),))),
    "calibrated": (
        "binary",
        Scorecard((LinearPredictor(-0.5, terms(0.2), (Affine(times=2.0), Named("sigmoid"))),)),
    ),
}


def refuse_large(X: Any) -> Any:
    """Raise for a certain value, as a pipeline can."""
    if (X["size"] == REFUSED).any():
        raise ValueError("this size is not for this pipeline")
    return X


def training_rows(n_rows: int = 300) -> pd.DataFrame:
    """Draw rows at random."""
    draw = np.random.default_rng(0)
    columns = {
        "colour": draw.choice(["red", "green", "blue"], n_rows),
        "size": draw.uniform(0, 100, n_rows),
        "age": draw.integers(0, 40, n_rows).astype(float),
        "shiny": draw.choice(np.array([True, False, None]), n_rows),
    }
    frame = pd.DataFrame(columns)
    frame.loc[::7, "age"] = np.nan
    return frame


def fitted(task: str, estimator: Any) -> Pipeline:
    """Fit a pipeline to the random rows."""
    X = training_rows()
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["colour", "shiny"]),
        (SimpleImputer(add_indicator=True), ["size", "age"]),
    )
    score = X["size"] / 40 + (X["colour"] == "red") + X["age"].fillna(20.0) / 40
    targets = {
        "multiclass": np.array(CLASSES)[pd.qcut(score, 3, labels=False)],
        "binary": np.where(score > 2, "yes", "no"),
        "regression": 100 * score,
    }
    return make_pipeline(FunctionTransformer(refuse_large), encode, estimator).fit(X, targets[task])


PICKLES = {
    "forest": ("multiclass", RandomForestClassifier(20, random_state=0)),
    "ridge": ("regression", Ridge()),
    "logistic": ("binary", LogisticRegression(max_iter=1000)),
}
TASKS = {name: task for name, (task, _) in {**SCORECARDS, **PICKLES}.items()}


def write_model(name: str, folder: Path) -> Path:
    """Write a model version; return the path of its pickle."""
    task = TASKS[name]
    signature = Signature(FEATURES, TARGETS[task])
    records: list[Record] = [tuple(RECORD.values()), ("blue", 40.0, None, None)]
    if name in SCORECARDS:
        scorecard: Scorecard | None = SCORECARDS[name][1]
        assert scorecard is not None
        answers, content = scorecard.compile_answers()(records), b"is not opened"
    else:
        pipeline = fitted(*PICKLES[name])
        scorecard, content = None, pickle.dumps(pipeline)
        answers = PipelineScorer(pipeline, signature)(records)
    golden = tuple(
        GoldenRow(dict(zip(signature.names, record, strict=True)), answer)
        for record, answer in zip(records, answers, strict=True)
    )
    manifest = Manifest(
        name=name,
        title=f"A model called {name}",
        version="20260101T000000Z-12345678",
        created="2026-01-01T00:00:00+00:00",
        sha256=hashlib.sha256(content).hexdigest(),
        estimator="Estimator",
        signature=signature,
        scorecard=scorecard,
        threshold=None,
        base_rate=None,
        evaluations={},
        golden=golden,
        training=Training("", "", "", 0, 0, 0, {}, 0.0),
        libraries={"scikit-learn": sklearn.__version__},
        reason="" if scorecard else "no rule for Estimator",
    )
    path = folder / "model.pkl"
    path.write_bytes(content)
    write_manifest(manifest, path)
    return path
