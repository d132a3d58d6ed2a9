"""A fit in chunks equals the fit in memory."""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    OneHotEncoder,
    SplineTransformer,
    StandardScaler,
)

from slipway.core.errors import SlipwayError
from slipway.core.files import file_sha256
from slipway.data.dataset import FOLD, Dataset, DatasetManifest, Part
from slipway.data.problem import Problem
from slipway.data.problem_loading import load_problem
from slipway.models.features import Feature
from slipway.training.engines.chunked import memory_budget as room
from slipway.training.engines.chunked import optimizers as combine
from slipway.training.engines.chunked import value_counts as counts
from slipway.training.engines.chunked.fit import fit_chunks
from slipway.training.engines.chunked.memory_budget import find_memory_budget, resident_bytes
from slipway.training.engines.chunked.progress import format_duration
from slipway.training.frames import Rows
from slipway.training.splits import FIT_FOLDS

GIB = 2**30
FEATURES = (
    Feature("kind", "category", "", "a", nullable=True),
    Feature("same", "category", "", "x"),
    Feature("size", "number", "", 1.0),
    Feature("weight", "number", "", 1.0, nullable=True),
    Feature("grade", "integer", "", 1),
    Feature("fragile", "flag", "", True),
)


def draw(n: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Draw parcels with missing values, rare kinds and a constant column."""
    rng = np.random.default_rng(seed)
    kind = np.array(list("abcdefgh"), dtype=object)[np.minimum(rng.geometric(0.4, n) - 1, 7)]
    kind[rng.random(n) < 0.05] = None
    X = pd.DataFrame({"kind": kind, "same": np.full(n, "x", dtype=object)})
    X["size"] = rng.lognormal(size=n).round(2)
    X["weight"] = np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n).round(1))
    X["grade"], X["fragile"] = rng.integers(1, 5, n), rng.random(n) < 0.3
    odds = (X.kind == "a") + 0.5 * X.grade - X["size"] / 2 + X.weight.fillna(0) - 1.5
    y = (rng.random(n) < 1 / (1 + np.exp(-odds))).astype(int).to_numpy()
    y[:2] = 0, 1
    return X, y


def columns() -> ColumnTransformer:
    bins = KBinsDiscretizer(6, subsample=None, quantile_method="averaged_inverted_cdf")
    gaps = FeatureUnion(
        [
            ("value", make_pipeline(SimpleImputer(strategy="median"), bins)),
            ("missing", MissingIndicator(features="all")),
        ]
    )
    return ColumnTransformer(
        [
            ("texts", OneHotEncoder(min_frequency=5), ["kind", "same", "grade"]),
            ("bends", SplineTransformer(4, degree=2), ["size"]),
            ("scaled", StandardScaler(), ["grade", "size"]),
            ("gaps", gaps, ["weight"]),
            ("as it is", "passthrough", ["fragile"]),
        ]
    )


def problem_of(regression: Any, step: Any = None) -> Problem:
    step = columns() if step is None else step
    pipeline = Pipeline([("columns", step), ("regression", regression)])
    flights = load_problem("flights")
    return replace(flights, features=FEATURES, target_column="lost", pipeline=lambda: pipeline)


def store(folder: Path, X: pd.DataFrame, y: Any, folds: Any = None) -> Dataset:
    """Write rows as ``flask etl`` does, in two files."""
    table = pa.Table.from_pandas(X.assign(lost=y), preserve_index=False)
    folds = np.arange(len(y)) % 10 if folds is None else folds
    table = table.append_column(FOLD, pa.array(folds, pa.int8()))
    parts = []
    for i, piece in enumerate((table[: len(y) // 3], table[len(y) // 3 :])):
        file = folder / f"part-{i}.parquet"
        pq.write_table(piece, file, row_group_size=200)
        parts.append(Part(file.name, len(piece), file_sha256(file)))
    fields: dict[str, Any] = {field.name: None for field in msgspec.structs.fields(DatasetManifest)}
    return Dataset(folder, DatasetManifest(**fields | {"rows": len(y), "parts": tuple(parts)}))


def chunked(problem: Problem, stored: Dataset, **options: Any) -> Pipeline:
    options = {"memory": 8 * GIB, "folds": FIT_FOLDS, "progress": lambda line: None} | options
    return fit_chunks(problem, stored, **options)


def in_memory(problem: Problem, X: pd.DataFrame, y: Any) -> Pipeline:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return problem.pipeline().fit(X, y)


def require_close(one: Pipeline, other: Pipeline, within: float = 1e-6) -> None:
    np.testing.assert_allclose(one[-1].coef_, other[-1].coef_, rtol=0, atol=within)
    np.testing.assert_allclose(one[-1].intercept_, other[-1].intercept_, rtol=0, atol=within)


@pytest.fixture
def few_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use a sample of a hundred rows, so that passes must correct its Hessian."""
    monkeypatch.setattr(room, "SAMPLE_ROWS", 100)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.integers(40, 3000),
    st.integers(0, 10**6),
    st.sampled_from([60, 1000, 10**6]),
    st.sampled_from([0.01, 1.0, 100.0]),
)
def test_chunks_small_tables_equal_a_fit_in_memory(
    n: int, seed: int, sample: int, c: float
) -> None:
    X, y = draw(n, seed)
    problem = problem_of(LogisticRegression(C=c, solver="newton-cholesky", tol=1e-12))
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "SAMPLE_ROWS", sample)
        stored = store(Path(folder), X, y)
        if len(set(y[np.arange(n) % 10 < 8])) < 2:
            return
        result = chunked(problem, stored)
    fit = np.arange(n) % 10 < 8
    expected = in_memory(problem, X[fit], y[fit])
    require_close(result, expected, 1e-6 * max(1.0, c))
    np.testing.assert_allclose(
        result.predict_proba(X[fit]), expected.predict_proba(X[fit]), rtol=0, atol=1e-7
    )


@pytest.mark.parametrize(
    "regression",
    [
        LogisticRegression(class_weight="balanced"),
        LogisticRegression(class_weight={1: 3.0}, fit_intercept=False),
        LogisticRegression(solver="liblinear", intercept_scaling=2.0, C=0.3),
        LogisticRegression(solver="lbfgs"),
        LogisticRegression(solver="sag", C=0.1),
    ],
    ids=["balanced", "weighed, no intercept", "liblinear", "lbfgs", "sag"],
)
@pytest.mark.usefixtures("few_in_memory")
def test_chunks_options_of_the_regression_are_applied(
    regression: LogisticRegression, tmp_path: Path
) -> None:
    X, y = draw(2500, 5)
    fit = np.arange(len(y)) % 10 < 8
    sharp = regression.set_params(tol=1e-10, max_iter=100_000)
    problem = problem_of(sharp)
    expected = in_memory(problem, X[fit], y[fit])
    # L-BFGS alone ends at about 1e-5.
    require_close(chunked(problem, store(tmp_path, X, y)), expected, 3e-5)


@pytest.mark.usefixtures("few_in_memory")
def test_chunks_without_a_penalty_predict_as_a_fit_in_memory(tmp_path: Path) -> None:
    X, y = draw(3000, 8)
    fit = np.arange(len(y)) % 10 < 8
    problem = problem_of(LogisticRegression(C=np.inf, tol=1e-9, max_iter=100_000))
    expected = in_memory(problem, X[fit], y[fit])
    result = chunked(problem, store(tmp_path, X, y))
    np.testing.assert_allclose(
        result.predict_proba(X), expected.predict_proba(X), rtol=0, atol=1e-4
    )


def test_chunks_separable_classes_without_a_penalty_raise(tmp_path: Path) -> None:
    X, _ = draw(500, 1)
    y = (X.fragile).astype(int).to_numpy()
    with pytest.raises(SlipwayError, match="use a penalty"):
        chunked(problem_of(LogisticRegression(C=np.inf)), store(tmp_path, X, y))


def test_chunks_hessian_too_large_for_memory_uses_its_diagonal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = draw(2000, 2)
    fit = np.arange(len(y)) % 10 < 8
    problem = problem_of(LogisticRegression(C=0.1, solver="newton-cholesky", tol=1e-12))
    monkeypatch.setattr(combine.LogisticFit, "_choose_hessian", lambda self, loss: loss.diagonal)
    result = chunked(problem, store(tmp_path, X, y))
    require_close(result, in_memory(problem, X[fit], y[fit]))


@pytest.mark.parametrize("rows", [100, 1_000_000], ids=["by passes", "at once"])
def test_chunks_many_distinct_numbers_have_wide_codes(
    rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "SAMPLE_ROWS", rows)
    n = 90_000
    X, y = draw(n, 4)
    X["size"] = np.random.default_rng(0).normal(size=n)
    step = ColumnTransformer([("scaled", StandardScaler(), ["size", "grade"])])
    problem = problem_of(LogisticRegression(solver="newton-cholesky", tol=1e-12), step)
    stored = store(tmp_path, X, y, np.zeros(n))
    require_close(chunked(problem, stored), in_memory(problem, X, y), 1e-9)


def test_chunks_average_is_near_the_passes_but_not_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(combine, "PIECE_ROWS", 50)
    X, y = draw(8000, 6)
    problem, stored = problem_of(LogisticRegression()), store(tmp_path, X, y)
    passes = chunked(problem, stored)
    average = chunked(problem, stored, combine="average", part_rows=1000)
    worse = log_loss(y, average.predict_proba(X)) - log_loss(y, passes.predict_proba(X))
    assert 1e-7 < worse < 0.005
    assert 1e-3 < abs(average[-1].coef_ - passes[-1].coef_).max() < 1
    whole = chunked(problem, stored, combine="average")
    require_close(whole, passes, 1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("sample", [20_000, 300_000])
def test_chunks_all_flights_equal_a_fit_in_memory(
    sample: int, stored: Dataset, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "SAMPLE_ROWS", sample)
    problem = load_problem("flights")
    expected = in_memory(problem, rows.X[~rows.held_out], rows.y[~rows.held_out])
    result = chunked(problem, stored)
    require_close(result, expected, 1e-8)
    some = rows.X[rows.held_out]
    p, q = result.predict_proba(some), expected.predict_proba(some)
    np.testing.assert_allclose(p, q, rtol=0, atol=1e-10)


@pytest.mark.slow
def test_chunks_average_of_all_flights_is_slightly_worse(stored: Dataset, rows: Rows) -> None:
    problem = load_problem("flights")
    held, y = rows.X[rows.held_out], rows.y[rows.held_out]
    passes = log_loss(y, chunked(problem, stored).predict_proba(held))
    average = chunked(problem, stored, combine="average", part_rows=26_000)
    worse = log_loss(y, average.predict_proba(held)) - passes
    assert 1e-6 < worse < 0.001


def test_chunks_progress_reports_rows_speed_and_remaining_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "SAMPLE_ROWS", 100)
    monkeypatch.setattr(combine, "SECONDS", 0.0)
    monkeypatch.setattr("slipway.training.engines.chunked.progress.SECONDS", 0.0)
    X, y = draw(5000, 6)
    lines: list[str] = []
    chunked(problem_of(LogisticRegression()), store(tmp_path, X, y), progress=lines.append)
    assert lines[0] == "counting values: 5,000 rows"
    assert any("of 5,000 rows, " in line and " rows/s, " in line for line in lines)
    assert any(line.startswith("writing codes") and line.endswith(" left") for line in lines)
    passes = [line for line in lines if line.startswith("pass ") and not line.startswith("pass 1;")]
    assert all("log loss 0." in line and "passes left" in line for line in passes)
    assert all(" rows/s" in line for line in passes)
    assert len(passes) > 2


def centred(X: Any) -> Any:
    return X - np.asarray(X).mean(axis=0)


@pytest.mark.parametrize(
    ("regression", "step", "message"),
    [
        (HistGradientBoostingClassifier(), None, "only LogisticRegression: use --engine memory"),
        (LogisticRegression(l1_ratio=1, solver="saga"), None, "L1 or elastic-net"),
        (LogisticRegression(C=-1.0), None, "regression: The 'C' parameter"),
        (
            LogisticRegression(),
            ColumnTransformer([("c", FunctionTransformer(centred), ["size"])]),
            "combines several values",
        ),
        (
            LogisticRegression(),
            ColumnTransformer([("c", StandardScaler(), ["weight"])]),
            "missing or infinite values",
        ),
        (LogisticRegression(), ColumnTransformer([("c", "passthrough", ["kind"])]), "not numeric"),
        (LogisticRegression(), ColumnTransformer([("c", "drop", ["kind"])]), "no columns"),
    ],
)
def test_chunks_unsupported_pipeline_raises(
    regression: Any, step: Any, message: str, tmp_path: Path
) -> None:
    X, y = draw(300, 3)
    with pytest.raises(SlipwayError, match=message):
        chunked(problem_of(regression, step), store(tmp_path, X, y))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (np.zeros_like, "only one class"),
        (lambda y: y + 1, "0 or 1 in every row"),
        (lambda y: np.where(y == 1, np.nan, 0.0), "0 or 1 in every row"),
    ],
)
def test_chunks_target_without_two_classes_raises(
    target: Any, message: str, tmp_path: Path
) -> None:
    X, y = draw(300, 3)
    with pytest.raises(SlipwayError, match=message):
        chunked(problem_of(LogisticRegression()), store(tmp_path, X, target(y)))


def test_chunks_without_rows_in_the_folds_raise(tmp_path: Path) -> None:
    X, y = draw(300, 3)
    stored = store(tmp_path, X, y, np.full(300, 9))
    with pytest.raises(SlipwayError, match="only one class in 0 rows"):
        chunked(problem_of(LogisticRegression()), stored)


def test_chunks_missing_value_not_in_the_signature_raises(tmp_path: Path) -> None:
    X, y = draw(300, 3)
    grade = X.grade.astype("Int64").mask(X.grade == 1)
    with pytest.raises(SlipwayError, match=r"grade is not of kind integer.*does not allow missing"):
        chunked(problem_of(LogisticRegression()), store(tmp_path, X.assign(grade=grade), y))


def test_chunks_too_many_distinct_values_raise_with_the_feature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = draw(5000, 3)
    X["size"] = np.random.default_rng(0).normal(size=5000)
    monkeypatch.setattr(counts, "VALUE_BYTES", GIB)
    with pytest.raises(
        SlipwayError, match=r"size has at least [0-9,]+ distinct values.*round the values"
    ):
        chunked(problem_of(LogisticRegression()), store(tmp_path, X, y))


def test_memory_budget_too_little_memory_raises_with_the_minimum() -> None:
    with pytest.raises(SlipwayError, match="set --memory 396MiB or more"):
        find_memory_budget(350 * 2**20, 20, used=300 * 2**20)


@given(st.integers(0, 2**36), st.integers(1, 1000))
def test_memory_budget_never_exceeds_the_memory(left: int, n_columns: int) -> None:
    used = 300 * 2**20
    try:
        result = find_memory_budget(used + left, n_columns, used=used)
    except SlipwayError:
        assert left < room.MIN_BYTES
        return
    assert result.counts + result.free < left
    assert 2_048 <= result.batch_rows <= room.BATCH_ROWS
    assert result.sample_rows > 0


def test_resident_bytes_match_a_python_with_numpy() -> None:
    assert 50 * 2**20 < resident_bytes() < 20 * GIB


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.2, "0 s"), (99, "99 s"), (600, "10 min"), (9000, "2.5 h")]
)
def test_format_duration_uses_readable_units(seconds: float, expected: str) -> None:
    assert format_duration(seconds) == expected
