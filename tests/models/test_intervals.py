"""Intervals: against numpy, against the truth in simulations, over HTTP, and with broken files."""

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
from slipway.models.frames import frame
from slipway.models.intervals import Uncertainty, quantile, read_level
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
    """Small matrices on several threads wait for each other, where other tests run beside."""
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
    """The formula as it is written, by numpy's plainest means."""
    Z, p = design_rows(pipeline, X), pipeline.predict_proba(X)[:, 1]
    penalty = np.diag([0.0] + [1 / pipeline[-1].C] * (Z.shape[1] - 1))
    return np.linalg.inv(Z.T @ np.diag(p * (1 - p)) @ Z + penalty), penalty


@pytest.mark.parametrize("shape", SHAPES)
def test_variance_any_record_equals_numpys(shape):
    pipeline, X, y = fitted(shape)
    records = to_records(X.head(50), SIGNATURE) + ODD
    uncertainty = find_uncertainty(pipeline, X, y, SIGNATURE, records)
    again = Uncertainty.decode(uncertainty.encode())
    Z, (sigma, _) = design_rows(pipeline, frame(SIGNATURE, records)), inverse_hessian(pipeline, X)
    due = np.einsum("ij,jk,ik->i", Z, sigma, Z)
    np.testing.assert_allclose([again.variance(r) for r in records], due, rtol=1e-9)


def test_variance_rows_in_groups_is_their_scatter_and_never_below_independence():
    pipeline, X, y = fitted("rare levels and scaled numbers")
    groups = np.arange(len(X)) // 5
    records = to_records(X.head(50), SIGNATURE)
    found = [find_uncertainty(pipeline, X, y, SIGNATURE, records, g) for g in (None, groups)]
    apart, together = (np.array([each.variance(r) for r in records]) for each in found)
    (sigma, penalty), Z = inverse_hessian(pipeline, X), design_rows(pipeline, X)
    scores = Z * (y.to_numpy() - pipeline.predict_proba(X)[:, 1])[:, None]
    sums = np.array([scores[groups == g].sum(axis=0) for g in range(120)])
    root = sqrtm(sigma).real
    found, directions = np.linalg.eigh(root @ (sums.T @ sums * 120 / 119 + penalty) @ root)
    assert found.min() < 0.9
    assert found.max() > 1.1
    held = Z[:50] @ root @ directions
    np.testing.assert_allclose(together, held**2 @ np.maximum(found, 1.0), rtol=1e-9)
    assert (together >= apart).all()


def test_interval_holds_the_probability_and_widens_with_the_level():
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
def test_quantile_equals_the_normal_distributions(level):
    assert quantile(level) == pytest.approx(NormalDist().inv_cdf((1 + level) / 2), rel=1e-12)


# Simulations: the truth is known, data are drawn again and again, and a share of the intervals
# must hold it that lies within chance of the level.

POINTS = [("a", 0.0), ("a", 2.0), ("b", -1.0), ("c", 0.5)]
TRUTH = {"a": -1.0, "b": 0.5, "c": 0.0}
SMALL = Signature(
    (Feature("kind", "category", "Which", "a"), Feature("size", "number", "How large", 1.0)),
    Target("late", "Late", ("no", "yes"), "yes"),
)
DRAWS = 400


@cache
def simulated():
    """Scores, standard errors and true log-odds at the points, by repetition."""
    draw = np.random.default_rng(2013)
    X = pd.DataFrame({"kind": draw.choice(list("abc"), 500), "size": draw.normal(size=500)})
    columns = make_column_transformer(
        (OneHotEncoder(drop="first", sparse_output=False), ["kind"]), (StandardScaler(), ["size"])
    )
    regression = LogisticRegression(C=1e4, solver="newton-cholesky", tol=1e-8)
    pipeline = make_pipeline(columns, regression).fit(X, np.arange(500) % 2)
    Z = columns.transform(X)
    odds = X["kind"].map(TRUTH) + 0.7 * X["size"]
    found = []
    for _ in range(DRAWS):
        y = (draw.random(500) < 1 / (1 + np.exp(-odds))).astype(int)
        regression.fit(Z, y)
        uncertainty = find_uncertainty(pipeline, X, y, SMALL, POINTS)
        probabilities = PipelineScorer(pipeline, SMALL)(POINTS)
        found.append(
            [(p, uncertainty.variance(r)) for p, r in zip(probabilities, POINTS, strict=True)]
        )
    p, variance = np.moveaxis(np.array(found), 2, 0)
    return np.log(p / (1 - p)), np.sqrt(variance), np.array([TRUTH[k] + 0.7 * x for k, x in POINTS])


def covers(level, times=1.0):
    """Whether the share of intervals that hold the truth is the level, at every point."""
    scores, errors, truth = simulated()
    held = (np.abs(scores - truth) <= quantile(level) * times * errors).mean(axis=0)
    # Of four points, one in a thousand simulations would have one beyond this.
    chance = 3.7 * np.sqrt(level * (1 - level) / DRAWS)
    return bool((np.abs(held - level) < chance).all())


@pytest.mark.slow
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_coverage_of_the_true_probability_is_the_level(level):
    assert covers(level)


@pytest.mark.slow
@pytest.mark.parametrize("times", [0.5, 0.8, 1.3])
def test_coverage_wrong_standard_error_fails_the_same_check(times):
    assert not covers(0.9, times)


@pytest.mark.slow
def test_coverage_strong_ridge_is_the_level_on_the_average_over_the_levels():
    # At a single level the ridge's bias may be more or less than H^-1 allows for; over levels
    # that are drawn from its prior it is just that. The variance alone would not do.
    draw, n_levels = np.random.default_rng(5), 20
    X = pd.DataFrame(np.eye(n_levels)[draw.integers(0, n_levels, 300)]).add_prefix("x")
    features = tuple(Feature(name, "number", "Whether", 0.0) for name in X)
    records = [tuple(row) for row in np.eye(n_levels).tolist()]
    held = []
    for _ in range(150):
        truth = draw.normal(0, np.sqrt(0.1), n_levels) - 1
        y = (draw.random(300) < 1 / (1 + np.exp(-X.to_numpy() @ truth))).astype(int)
        model = LogisticRegression(C=0.1, solver="newton-cholesky", tol=1e-8).fit(X, y)
        signature = Signature(features, SMALL.target)
        uncertainty = find_uncertainty(model, X, y, signature, records)
        errors = np.sqrt([uncertainty.variance(record) for record in records])
        scores = model.intercept_[0] + model.coef_[0]
        held.append((np.abs(scores - truth) <= quantile(0.9) * errors).mean())
    assert abs(np.mean(held) - 0.9) < 3.7 * np.std(held) / np.sqrt(len(held))


@pytest.mark.slow
def test_coverage_rows_in_groups_needs_the_groups():
    # Each group of 20 rows has a probability of its own, which is 0.3 or 0.6 on the average:
    # the model is right, but the rows are not independent.
    draw = np.random.default_rng(7)
    kind = np.repeat(["a", "b"], 1000)
    X, groups = pd.DataFrame({"kind": kind}), np.repeat(np.arange(100), 20)
    encoder = make_column_transformer((OneHotEncoder(drop="first", sparse_output=False), ["kind"]))
    pipeline = make_pipeline(encoder, LogisticRegression(C=1e4, solver="newton-cholesky"))
    signature = Signature(SMALL.features[:1], SMALL.target)
    held = []
    for _ in range(150):
        rate = np.where(kind == "a", 0.3, 0.6)
        own = draw.beta(5 * rate[::20], 5 * (1 - rate[::20]))
        y = (draw.random(2000) < np.repeat(own, 20)).astype(int)
        pipeline.fit(X, y)
        p = pipeline.predict_proba(X.iloc[:1])[0, 1]
        score = float(np.log(p / (1 - p)))
        both = [
            find_uncertainty(pipeline, X, y, signature, [("a",)], given).interval(
                ("a",), score, 0.9
            )
            for given in (None, groups)
        ]
        held.append([low <= 0.3 <= high for low, high in both])
    alone, together = np.mean(held, axis=0)
    assert alone < 0.75
    assert abs(together - 0.9) < 3.7 * np.sqrt(0.09 / 150)


# What has no honest interval.


def test_find_uncertainty_other_rows_or_weights_are_refused():
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
def test_find_uncertainty_other_estimators_are_refused(regression, reason):
    X, y = some_rows()
    pipeline = make_pipeline(SHAPES["one-hot and bins"](), regression).fit(X, y)
    with pytest.raises(NoInterval, match=reason):
        find_uncertainty(pipeline, X, y, SIGNATURE, [])


def test_find_uncertainty_columns_that_are_nearly_the_same_are_refused():
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


def test_find_uncertainty_few_groups_are_refused():
    pipeline, X, y = fitted("one-hot and bins")
    with pytest.raises(NoInterval, match="groups"):
        find_uncertainty(pipeline, X, y, SIGNATURE, [], np.arange(len(X)) % (MIN_GROUPS - 1))


# Served.


@pytest.fixture
def saved(tmp_path):
    """A model version with a covariance; its path."""
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


def test_predict_interval_alone_explained_and_in_an_array(saved):
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
def test_predict_bad_level_is_refused_by_its_name(saved, text):
    answer = client_of(saved).post("/predict", query_string={"interval": text}, json=RECORD)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json["errors"]] == ["interval"]


@pytest.mark.parametrize("text", ["0_5", "٠.٥", " 0.5", "1e-400", "1e400", "0x1p-1"])
def test_read_level_odd_spellings_are_refused(text):
    with pytest.raises(BadInput):
        read_level(text)


@pytest.mark.parametrize("text", ["0.95", ".5", "9.5e-1", "1e-05", "0.9999999999999999"])
def test_read_level_numbers_within_bounds_are_taken(text):
    assert read_level(text) == float(text)
    assert sigmoid(quantile(read_level(text))) >= 0.5


def test_predict_interval_of_a_model_without_one_is_refused(saved):
    manifest = json.loads(saved.with_suffix(".json").read_bytes())
    saved.with_suffix(".json").write_text(json.dumps(manifest | {"covariance": None}))
    client = client_of(saved)
    for body in (RECORD, [RECORD]):
        answer = client.post("/predict?interval=0.9", json=body)
        assert (answer.status_code, answer.json["code"]) == (422, "no_interval")
    assert client.post("/predict", json=RECORD).status_code == 200


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:-8]),
        lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\x01"),
        lambda path: path.write_bytes(b""),
    ],
    ids=["gone", "cut off", "changed", "empty"],
)
def test_covariance_that_is_not_the_manifests_is_missed_only_where_it_is_asked(saved, harm):
    harm(covariance_path(saved))
    live = PredictionService(Settings(model=saved))
    body = json.dumps(RECORD).encode()
    assert live.predict_json(body)[0] == 200
    with pytest.raises(ModelError, match=r"model\.covariance"):
        live.predict_json(body, False, 0.95)


@pytest.mark.parametrize("content", [b"", b"{}\n", b"\xff\n", b'{"columns":2,"features":[]}\n1234'])
def test_decode_what_is_no_covariance_is_refused(content):
    with pytest.raises(ModelError):
        Uncertainty.decode(content)


def test_read_takes_only_the_file_of_that_hash(tmp_path):
    pipeline, X, y = fitted("one-hot and bins")
    content = find_uncertainty(pipeline, X, y, SIGNATURE, ODD).encode()
    (tmp_path / "model.covariance").write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    assert Uncertainty.read(tmp_path / "model.covariance", sha256).encode() == content


def test_write_without_a_covariance_leaves_no_earlier_one_behind(saved):
    live = PredictionService(Settings(model=saved))
    write(b"pickle", live.model.manifest, saved)
    assert not covariance_path(saved).exists()
    assert PredictionService(Settings(model=saved)).model.manifest.covariance is None


def test_service_that_is_not_asked_loads_nothing_for_intervals(saved):
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
    done = subprocess.run(
        [sys.executable, "-c", code, saved, json.dumps(RECORD)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["False", "False"]
