"""Intervals: compared with numpy and simulations, over HTTP, and with broken files."""

import hashlib
import json
import subprocess
import sys
from functools import cache
from statistics import NormalDist

import msgspec
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from scipy.linalg import sqrtm
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder, SplineTransformer, StandardScaler
from threadpoolctl import threadpool_limits

from slipway.core.errors import BadInput, ModelError
from slipway.core.settings import Settings
from slipway.models.artifacts import covariance_path
from slipway.models.features import Feature, Target
from slipway.models.frames import build_frame
from slipway.models.intervals import Uncertainty, parse_level, two_sided_quantile
from slipway.models.manifest import Training
from slipway.models.pipeline_engine import PipelineScorer
from slipway.models.signature import Signature
from slipway.models.stages import sigmoid
from slipway.serving.service import PredictionService
from slipway.training.packaging.columns import to_records
from slipway.training.packaging.covariance import MIN_GROUPS, NoInterval, find_uncertainty
from slipway.training.packaging.manifest_builder import build_manifest
from slipway.training.packaging.version import write
from slipway.web import create_app

SIGNATURE = Signature(
    (
        Feature("colour", "category", "Which", "red", nullable=True),
        Feature("day", "integer", "When", 1),
        Feature("size", "number", "How large", 1.0, nullable=True),
        Feature("speed", "number", "How fast", 1.0),
    ),
    Target("late", "Late", ("no", "yes"), "yes"),
)
ODD = [
    (None, 1, 50.0, 10.0),
    ("red", 3, None, 2.0),
    ("never seen", 9, 1e4, 0.0),
    (None, -1, None, 500.0),
]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Limit numpy to one thread, which is faster for small matrices while other tests run."""
    with threadpool_limits(1):
        yield


def some_rows(n=600, seed=0):
    draw = np.random.default_rng(seed)
    colours = draw.choice(["red", "green", "blue", "rare"], n, p=[0.5, 0.3, 0.19, 0.01])
    X = pd.DataFrame(
        {
            "colour": colours.astype(object),
            "day": draw.integers(1, 8, n),
            "size": np.where(draw.random(n) < 0.2, np.nan, draw.normal(50, 20, n)),
            "speed": draw.exponential(10, n),
        }
    )
    y = (draw.random(n) < 1 / (1 + np.exp(1 - X["speed"] / 10 - (X["day"] > 5)))).astype(int)
    return X, y


def bins():
    return KBinsDiscretizer(
        5, encode="onehot", strategy="quantile", quantile_method="averaged_inverted_cdf"
    )


def with_gaps(step):
    fill = make_pipeline(SimpleImputer(strategy="median"), step)
    return make_union(fill, MissingIndicator(features="all"))


SHAPES = {
    "one-hot and bins": lambda: make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["colour", "day"]),
        (with_gaps(bins()), ["size"]),
        (bins(), ["speed"]),
    ),
    "rare levels and scaled numbers": lambda: make_column_transformer(
        (OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=10), ["colour"]),
        (OneHotEncoder(handle_unknown="ignore", drop="first", sparse_output=False), ["day"]),
        (with_gaps(StandardScaler()), ["size"]),
        (StandardScaler(), ["speed"]),
    ),
    "splines and columns out of order": lambda: make_column_transformer(
        (SplineTransformer(4), ["speed"]),
        (with_gaps(StandardScaler()), ["size"]),
        (OneHotEncoder(handle_unknown="ignore"), ["colour"]),
    ),
}


def fitted(shape, **parameters):
    X, y = some_rows()
    regression = LogisticRegression(solver="newton-cholesky", tol=1e-10, **parameters)
    return make_pipeline(SHAPES[shape](), regression).fit(X, y), X, y


def design_rows(pipeline, X):
    columns = pipeline[:-1].transform(X)
    columns = columns.toarray() if hasattr(columns, "toarray") else columns
    return np.column_stack([np.ones(len(X)), columns])


def inverse_hessian(pipeline, X):
    """Return the inverse Hessian and the penalty, computed directly with numpy."""
    Z, p = design_rows(pipeline, X), pipeline.predict_proba(X)[:, 1]
    penalty = np.diag([0.0] + [1 / pipeline[-1].C] * (Z.shape[1] - 1))
    return np.linalg.inv(Z.T @ np.diag(p * (1 - p)) @ Z + penalty), penalty


@pytest.mark.parametrize("shape", SHAPES)
def test_variance_any_record_equals_numpy(shape):
    pipeline, X, y = fitted(shape)
    records = to_records(X.head(50), SIGNATURE) + ODD
    uncertainty = find_uncertainty(pipeline, X, y, SIGNATURE, records)
    again = Uncertainty.decode(uncertainty.encode())
    Z, (sigma, _) = (
        design_rows(pipeline, build_frame(SIGNATURE, records)),
        inverse_hessian(pipeline, X),
    )
    expected = np.einsum("ij,jk,ik->i", Z, sigma, Z)
    np.testing.assert_allclose([again.variance(r) for r in records], expected, rtol=1e-9)


def test_variance_grouped_rows_equals_group_scatter_and_never_decreases():
    pipeline, X, y = fitted("rare levels and scaled numbers")
    groups = np.arange(len(X)) // 5
    records = to_records(X.head(50), SIGNATURE)
    estimates = [find_uncertainty(pipeline, X, y, SIGNATURE, records, g) for g in (None, groups)]
    apart, together = (np.array([estimate.variance(r) for r in records]) for estimate in estimates)
    (sigma, penalty), Z = inverse_hessian(pipeline, X), design_rows(pipeline, X)
    scores = Z * (y.to_numpy() - pipeline.predict_proba(X)[:, 1])[:, None]
    sums = np.array([scores[groups == g].sum(axis=0) for g in range(120)])
    root = sqrtm(sigma).real
    eigenvalues, directions = np.linalg.eigh(root @ (sums.T @ sums * 120 / 119 + penalty) @ root)
    assert eigenvalues.min() < 0.9
    assert eigenvalues.max() > 1.1
    projected = Z[:50] @ root @ directions
    np.testing.assert_allclose(together, projected**2 @ np.maximum(eigenvalues, 1.0), rtol=1e-9)
    assert (together >= apart).all()


def test_interval_contains_the_probability_and_widens_with_the_level():
    pipeline, X, y = fitted("one-hot and bins")
    records = to_records(X.head(50), SIGNATURE) + ODD
    uncertainty = find_uncertainty(pipeline, X, y, SIGNATURE, records)
    for record in records:
        last = (0.3, 0.3)
        for level in (0.5, 0.9, 0.95, 0.999999, 1 - 2**-53):
            low, high = uncertainty.interval(record, -0.8472978603872037, level)
            assert 0 < low < last[0] <= 0.3 + 1e-15
            assert 0.3 - 1e-15 <= last[1] < high < 1
            last = low, high


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.999])
def test_two_sided_quantile_equals_the_normal_quantile(level):
    assert two_sided_quantile(level) == pytest.approx(
        NormalDist().inv_cdf((1 + level) / 2), rel=1e-12
    )


# Simulations with a known truth: the fraction of intervals that contain the truth must equal the
# level, up to chance.

POINTS = [("a", 0.0), ("a", 2.0), ("b", -1.0), ("c", 0.5)]
TRUTH = {"a": -1.0, "b": 0.5, "c": 0.0}
SMALL = Signature(
    (Feature("kind", "category", "Which", "a"), Feature("size", "number", "How large", 1.0)),
    Target("late", "Late", ("no", "yes"), "yes"),
)
DRAWS = 400


@cache
def simulated():
    """Return scores and standard errors by repetition, and the true log-odds, at the points."""
    draw = np.random.default_rng(2013)
    X = pd.DataFrame({"kind": draw.choice(list("abc"), 500), "size": draw.normal(size=500)})
    columns = make_column_transformer(
        (OneHotEncoder(drop="first", sparse_output=False), ["kind"]), (StandardScaler(), ["size"])
    )
    regression = LogisticRegression(C=1e4, solver="newton-cholesky", tol=1e-8)
    pipeline = make_pipeline(columns, regression).fit(X, np.arange(500) % 2)
    Z = columns.transform(X)
    odds = X["kind"].map(TRUTH) + 0.7 * X["size"]
    estimates = []
    for _ in range(DRAWS):
        y = (draw.random(500) < 1 / (1 + np.exp(-odds))).astype(int)
        regression.fit(Z, y)
        uncertainty = find_uncertainty(pipeline, X, y, SMALL, POINTS)
        probabilities = PipelineScorer(pipeline, SMALL)(POINTS)
        estimates.append(
            [(p, uncertainty.variance(r)) for p, r in zip(probabilities, POINTS, strict=True)]
        )
    p, variance = np.moveaxis(np.array(estimates), 2, 0)
    return np.log(p / (1 - p)), np.sqrt(variance), np.array([TRUTH[k] + 0.7 * x for k, x in POINTS])


def covers(level, times=1.0):
    """Whether the fraction of intervals that contain the truth equals the level at all points."""
    scores, errors, truth = simulated()
    covered = (np.abs(scores - truth) <= two_sided_quantile(level) * times * errors).mean(axis=0)
    # One in a thousand simulations of four points exceeds this by chance.
    chance = 3.7 * np.sqrt(level * (1 - level) / DRAWS)
    return bool((np.abs(covered - level) < chance).all())


@pytest.mark.slow
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_coverage_true_probability_equals_the_level(level):
    assert covers(level)


@pytest.mark.slow
@pytest.mark.parametrize("times", [0.5, 0.8, 1.3])
def test_coverage_wrong_standard_error_fails_the_check(times):
    assert not covers(0.9, times)


@pytest.mark.slow
def test_coverage_strong_ridge_equals_the_level_on_average():
    # For a single category, H^-1 can over- or underestimate the bias of the ridge. On average over
    # categories drawn from its prior, the estimate is exact. The variance alone is too small.
    draw, n_levels = np.random.default_rng(5), 20
    X = pd.DataFrame(np.eye(n_levels)[draw.integers(0, n_levels, 300)]).add_prefix("x")
    features = tuple(Feature(name, "number", "Whether", 0.0) for name in X)
    records = [tuple(row) for row in np.eye(n_levels).tolist()]
    covered = []
    for _ in range(150):
        truth = draw.normal(0, np.sqrt(0.1), n_levels) - 1
        y = (draw.random(300) < 1 / (1 + np.exp(-X.to_numpy() @ truth))).astype(int)
        model = LogisticRegression(C=0.1, solver="newton-cholesky", tol=1e-8).fit(X, y)
        signature = Signature(features, SMALL.target)
        uncertainty = find_uncertainty(model, X, y, signature, records)
        errors = np.sqrt([uncertainty.variance(record) for record in records])
        scores = model.intercept_[0] + model.coef_[0]
        covered.append((np.abs(scores - truth) <= two_sided_quantile(0.9) * errors).mean())
    assert abs(np.mean(covered) - 0.9) < 3.7 * np.std(covered) / np.sqrt(len(covered))


@pytest.mark.slow
def test_coverage_grouped_rows_requires_the_groups():
    # Each group of 20 rows has its own probability, 0.3 or 0.6 on average. The model is correct,
    # but the rows are not independent.
    draw = np.random.default_rng(7)
    kind = np.repeat(["a", "b"], 1000)
    X, groups = pd.DataFrame({"kind": kind}), np.repeat(np.arange(100), 20)
    encoder = make_column_transformer((OneHotEncoder(drop="first", sparse_output=False), ["kind"]))
    pipeline = make_pipeline(encoder, LogisticRegression(C=1e4, solver="newton-cholesky"))
    signature = Signature(SMALL.features[:1], SMALL.target)
    covered = []
    for _ in range(150):
        rate = np.where(kind == "a", 0.3, 0.6)
        probabilities = draw.beta(5 * rate[::20], 5 * (1 - rate[::20]))
        y = (draw.random(2000) < np.repeat(probabilities, 20)).astype(int)
        pipeline.fit(X, y)
        p = pipeline.predict_proba(X.iloc[:1])[0, 1]
        score = float(np.log(p / (1 - p)))
        both = [
            find_uncertainty(pipeline, X, y, signature, [("a",)], grouping).interval(
                ("a",), score, 0.9
            )
            for grouping in (None, groups)
        ]
        covered.append([low <= 0.3 <= high for low, high in both])
    alone, together = np.mean(covered, axis=0)
    assert alone < 0.75
    assert abs(together - 0.9) < 3.7 * np.sqrt(0.09 / 150)


# Models without a valid interval.


def test_find_uncertainty_other_rows_or_weights_are_rejected():
    pipeline, X, y = fitted("one-hot and bins")
    weighted = make_pipeline(SHAPES["one-hot and bins"](), LogisticRegression())
    weighted.fit(X, y, logisticregression__sample_weight=np.where(X["day"] > 4, 2.0, 1.0))
    for model, rows, labels in (
        (pipeline, *some_rows(seed=1)),
        (pipeline, X, 1 - y),
        (weighted, X, y),
        (fitted("one-hot and bins", class_weight="balanced")[0], X, y),
    ):
        with pytest.raises(NoInterval, match="not the optimum"):
            find_uncertainty(model, rows, labels, SIGNATURE, [])


@pytest.mark.parametrize(
    ("regression", "reason"),
    [
        (LogisticRegression(C=np.inf, max_iter=5), "nearly singular|apart"),
        (LogisticRegression(l1_ratio=0.5, solver="saga", max_iter=2000), "ridge"),
        (LogisticRegression(fit_intercept=False), "intercept"),
        (RandomForestClassifier(5), "RandomForestClassifier"),
    ],
    ids=["no penalty", "lasso", "no intercept", "forest"],
)
@pytest.mark.filterwarnings("ignore")
def test_find_uncertainty_other_estimators_are_rejected(regression, reason):
    X, y = some_rows()
    pipeline = make_pipeline(SHAPES["one-hot and bins"](), regression).fit(X, y)
    with pytest.raises(NoInterval, match=reason):
        find_uncertainty(pipeline, X, y, SIGNATURE, [])


def test_find_uncertainty_nearly_equal_columns_are_rejected():
    draw = np.random.default_rng(3)
    one = draw.normal(size=400)
    X = pd.DataFrame({"one": one, "two": one + 1e-6 * draw.normal(size=400)})
    y = (draw.random(400) < 0.4).astype(int)
    features = tuple(Feature(name, "number", "How much", 0.0) for name in X)
    signature = Signature(features, SMALL.target)
    for C, reason in ((1e-2, None), (1e12, "nearly singular")):
        model = LogisticRegression(C=C, solver="newton-cholesky").fit(X, y)
        if reason is None:
            find_uncertainty(model, X, y, signature, [(0.0, 1.0)])
            continue
        with pytest.raises(NoInterval, match=reason):
            find_uncertainty(model, X, y, signature, [(0.0, 1.0)])


def test_find_uncertainty_few_groups_are_rejected():
    pipeline, X, y = fitted("one-hot and bins")
    with pytest.raises(NoInterval, match="groups"):
        find_uncertainty(pipeline, X, y, SIGNATURE, [], np.arange(len(X)) % (MIN_GROUPS - 1))


# Intervals of a served model.


@pytest.fixture
def saved(tmp_path):
    """Return the path of a model version with a covariance."""
    pipeline, X, y = fitted("one-hot and bins")
    training = Training("", "", "", len(X), len(X), 0, {}, 0.0)
    manifest = build_manifest(
        pipeline,
        X,
        SIGNATURE,
        name="small",
        title="Small?",
        threshold=0.5,
        base_rate=None,
        evaluations={},
        training=training,
    )
    uncertainty = find_uncertainty(pipeline, X, y, SIGNATURE, to_records(X.head(9), SIGNATURE))
    write(msgspec.msgpack.encode("the pipeline"), manifest, tmp_path / "model.pkl", uncertainty)
    return tmp_path / "model.pkl"


RECORD = {"colour": "red", "day": 3, "size": 44.0, "speed": 7.0}


def client_of(path):
    return create_app(ROOT, Settings(model=path), with_pages=False).test_client()


def test_predict_interval_single_explained_and_array_agree(saved):
    client = client_of(saved)
    plain = client.post("/predict", json=RECORD).json
    answer = client.post("/predict?interval=0.95", json=RECORD).json
    low, high = answer.pop("interval")
    assert answer == plain
    assert 0 < low < plain["probability"] < high < 1
    explained = client.post("/predict?explain=true&interval=.95", json=RECORD).json
    assert explained["interval"] == [low, high]
    middle = (np.log(low / (1 - low)) + np.log(high / (1 - high))) / 2
    assert explained["log_odds"] == pytest.approx(middle, abs=1e-12)
    several = client.post("/predict?interval=0.95", json=[RECORD, {"colour": 1}, RECORD])
    assert several.status_code == 207
    assert [place.get("interval") for place in several.json] == [[low, high], None, [low, high]]
    form = client.post("/predict?interval=0.95", data=RECORD).json
    assert form["interval"] == [low, high]


@pytest.mark.parametrize("text", ["0", "1", "0.0", "1.0", "nan", "inf", "-0.5", "95", "", "0.95x"])
def test_predict_invalid_level_returns_422_with_the_parameter(saved, text):
    answer = client_of(saved).post("/predict", query_string={"interval": text}, json=RECORD)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json["errors"]] == ["interval"]


@pytest.mark.parametrize("text", ["0_5", "٠.٥", " 0.5", "1e-400", "1e400", "0x1p-1"])
def test_parse_level_odd_spellings_are_rejected(text):
    with pytest.raises(BadInput):
        parse_level(text)


@pytest.mark.parametrize("text", ["0.95", ".5", "9.5e-1", "1e-05", "0.9999999999999999"])
def test_parse_level_numbers_within_bounds_are_accepted(text):
    assert parse_level(text) == float(text)
    assert sigmoid(two_sided_quantile(parse_level(text))) >= 0.5


def test_predict_interval_without_covariance_returns_422(saved):
    manifest = json.loads(saved.with_suffix(".json").read_bytes())
    saved.with_suffix(".json").write_text(json.dumps(manifest | {"covariance": None}))
    client = client_of(saved)
    for body in (RECORD, [RECORD]):
        answer = client.post("/predict?interval=0.9", json=body)
        assert (answer.status_code, answer.json["code"]) == (422, "no_interval")
    assert client.post("/predict", json=RECORD).status_code == 200


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:-8]),
        lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\x01"),
        lambda path: path.write_bytes(b""),
    ],
    ids=["gone", "cut off", "changed", "empty"],
)
def test_covariance_damaged_file_fails_only_interval_requests(saved, damage):
    damage(covariance_path(saved))
    live = PredictionService(Settings(model=saved))
    body = json.dumps(RECORD).encode()
    assert live.predict_json(body)[0] == 200
    with pytest.raises(ModelError, match=r"model\.covariance"):
        live.predict_json(body, False, 0.95)


@pytest.mark.parametrize("content", [b"", b"{}\n", b"\xff\n", b'{"columns":2,"features":[]}\n1234'])
def test_decode_invalid_content_is_rejected(content):
    with pytest.raises(ModelError):
        Uncertainty.decode(content)


def test_read_file_with_matching_hash_is_decoded(tmp_path):
    pipeline, X, y = fitted("one-hot and bins")
    content = find_uncertainty(pipeline, X, y, SIGNATURE, ODD).encode()
    (tmp_path / "model.covariance").write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    assert Uncertainty.read(tmp_path / "model.covariance", sha256).encode() == content


def test_write_without_covariance_removes_the_previous_file(saved):
    live = PredictionService(Settings(model=saved))
    write(b"pickle", live.model.manifest, saved)
    assert not covariance_path(saved).exists()
    assert PredictionService(Settings(model=saved)).model.manifest.covariance is None


def test_service_without_interval_requests_does_not_import_intervals(saved):
    code = (
        "import sys, json; from pathlib import Path; from slipway.core.settings import Settings;"
        "from slipway.web import create_app;"
        "app = create_app(Path.cwd(), Settings(model=Path(sys.argv[1])), with_pages=False);"
        "ask = lambda q: app.test_client().post('/predict' + q, json=json.loads(sys.argv[2]));"
        "assert ask('?explain=true').status_code == 200;"
        "print('slipway.models.intervals' in sys.modules);"
        "assert ask('?interval=0.9').status_code == 200;"
        "print(bool({'numpy', 'sklearn', 'scipy', 'pandas'} & set(sys.modules)))"
    )
    process = subprocess.run(
        [sys.executable, "-c", code, saved, json.dumps(RECORD)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout.split() == ["False", "False"]
