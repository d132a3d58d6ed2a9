"""Scorecards compared with their models: examples and a grammar of pipelines."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import (
    ColumnTransformer,
    TransformedTargetRegressor,
    make_column_selector,
    make_column_transformer,
)
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (
    ElasticNet,
    GammaRegressor,
    HuberRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    PoissonRegressor,
    Ridge,
    SGDClassifier,
    TweedieRegressor,
)
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    TunedThresholdClassifierCV,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline, make_union
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)

from slipway.compiler import NotAScorecard, compile_model, find_differing_step
from slipway.models.frames import build_frame
from slipway.models.pipeline_engine import PipelineScorer
from slipway.models.scorecard import CurveSumTerm, CurveTerm, SlopeTerm, StepTerm, TableTerm
from slipway.training.packaging.columns import to_records
from slipway.training.packaging.parity import compile_checked
from slipway.training.packaging.signature_inference import infer_signature

NUMBERS = ["size", "speed", "day"]
TEXTS = ["colour", "shape"]
TOLERANCE = 1e-12


def make_rows(n=240, seed=0):
    draw = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "size": draw.normal(50, 20, n),
            "speed": draw.exponential(10, n) + 0.1,
            "day": draw.integers(1, 8, n),
            "colour": draw.choice(["red", "green", "blue", "rare"], n, p=[0.5, 0.3, 0.17, 0.03]),
            "shape": draw.choice(["round", "flat"], n),
            "new": draw.random(n) < 0.3,
        }
    ).astype({"colour": object, "shape": object})
    score = (X["size"] - 50) / 20 + (X["day"] > 4) - X["speed"] / 10 + (X["colour"] == "green")
    return X, score + draw.logistic(0, 0.5, n)


def with_missing_values(X, seed=0):
    draw = np.random.default_rng(seed)
    X = X.copy()
    X.loc[draw.random(len(X)) < 0.2, "size"] = np.nan
    X.loc[draw.random(len(X)) < 0.15, "colour"] = np.nan
    return X


def two_classes(score):
    return np.where(score > score.median(), "late", "on time")


def three_classes(score):
    return np.array(["low", "mid", "high"])[np.digitize(score, score.quantile([0.3, 0.7]))]


def amounts(score):
    return np.exp(score / 5 + 2)


def odd_records(signature, X):
    """Return ordinary rows, then one unusual value at a time: missing, unseen, far outside."""
    records = to_records(X, signature)
    typical = records[0]
    for i, feature in enumerate(signature.features):
        values = [None] if feature.nullable else []
        if feature.kind == "category":
            values += ["never seen", ""]
        elif feature.kind != "flag":
            known = X[feature.name].dropna()
            low, high = float(known.min()), float(known.max())
            far = 3 * (high - low)
            values += [low, high, low - far, high + far, (low + high) / 2 + 0.123]
            values += [np.nextafter(low, -np.inf), np.nextafter(high, np.inf), 0.0, 4.0]
            values = [v if feature.kind == "number" or v is None else round(v) for v in values]
        records += [(*typical[:i], value, *typical[i + 1 :]) for value in values]
    return records


def assert_same(model, X, y):
    """Compare the scorecard with the pipeline, relative to the terms of a regression."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
        signature = infer_signature(model, X).signature
        scorecard = compile_model(model, signature)
        records = odd_records(signature, X)
        expected = np.array(PipelineScorer(model, signature)(records))
    compiled = np.array(scorecard.compile_answers()(records))
    scale = np.ones(len(records))
    if signature.target.task == "regression":
        scale = np.maximum(np.abs(expected), magnitude(model, signature, records))
    finite = ~np.isnan(expected)
    # The signature rejects an unknown category of a strict encoder before the model sees it.
    is_accepted = [
        not signature.check(dict(zip(signature.names, r, strict=True)))[1] for r in records
    ]
    compared = np.array(is_accepted) & (finite if finite.ndim == 1 else finite[:, 0])
    assert compared.sum() >= len(X)
    difference = np.abs(compiled - expected)[compared]
    allowed = TOLERANCE * (scale if difference.ndim == 1 else scale[:, None])[compared]
    assert (difference <= allowed).all()
    rejected = np.array(is_accepted) & ~(finite if finite.ndim == 1 else finite[:, 0])
    assert np.isnan(compiled[rejected]).all()
    return scorecard


def magnitude(model, signature, records):
    """Return the size of the terms that a model adds up, which limits the precision of the sum."""
    last = model.steps[-1][1]
    if not hasattr(last, "coef_"):
        return np.ones(len(records))
    scales = []
    for record in records:
        try:
            Z = model[:-1].transform(build_frame(signature, [record]))
            Z = Z.toarray() if hasattr(Z, "toarray") else np.asarray(Z)
            scales.append(abs(last.intercept_) + (abs(Z) @ abs(last.coef_)).item())
        except ValueError:
            scales.append(1.0)
    return np.array(scales, dtype=float)


def bins(**options):
    return KBinsDiscretizer(5, quantile_method="averaged_inverted_cdf", **options)


def one_hot(**options):
    return OneHotEncoder(**{"handle_unknown": "ignore", **options})


OF_NUMBERS = {
    "StandardScaler": StandardScaler,
    "StandardScaler, no mean": lambda: StandardScaler(with_mean=False),
    "MinMaxScaler": lambda: MinMaxScaler((-1, 2)),
    "MinMaxScaler, clip": lambda: MinMaxScaler(clip=True),
    "MaxAbsScaler": MaxAbsScaler,
    "MaxAbsScaler, clip": lambda: MaxAbsScaler(clip=True),
    "RobustScaler": RobustScaler,
    "Binarizer": lambda: Binarizer(threshold=4),
    "KBinsDiscretizer": bins,
    "KBinsDiscretizer, dense": lambda: bins(encode="onehot-dense", strategy="kmeans"),
    "KBinsDiscretizer, ordinal": lambda: bins(encode="ordinal", strategy="uniform"),
    "SplineTransformer, constant": lambda: SplineTransformer(extrapolation="constant"),
    "SplineTransformer, linear": lambda: SplineTransformer(
        extrapolation="linear", include_bias=False
    ),
    "SplineTransformer, continue": lambda: SplineTransformer(extrapolation="continue", degree=2),
    "SplineTransformer, periodic": lambda: SplineTransformer(extrapolation="periodic"),
    "SplineTransformer, error": lambda: SplineTransformer(extrapolation="error"),
    "SplineTransformer, quantile": lambda: SplineTransformer(knots="quantile", n_knots=7),
    "SplineTransformer, sparse": lambda: SplineTransformer(sparse_output=True),
    "SplineTransformer, steps": lambda: SplineTransformer(degree=0, extrapolation="continue"),
    "PowerTransformer": PowerTransformer,
    "PowerTransformer, raw": lambda: PowerTransformer(standardize=False),
    "QuantileTransformer": lambda: QuantileTransformer(n_quantiles=40),
    "QuantileTransformer, normal": lambda: QuantileTransformer(
        n_quantiles=40, output_distribution="normal"
    ),
    "scaled, then cut": lambda: make_pipeline(StandardScaler(), bins()),
    "scaled, then bent": lambda: make_pipeline(MinMaxScaler(), SplineTransformer()),
    "cut, then encoded": lambda: make_pipeline(bins(encode="ordinal"), one_hot()),
    "side by side": lambda: make_union(StandardScaler(), bins(), FunctionTransformer(np.abs)),
    "selected": lambda: make_pipeline(VarianceThreshold(), SelectKBest(k=1)),
}
OF_POSITIVE = {
    "PowerTransformer, box-cox": lambda: PowerTransformer(method="box-cox"),
    "log": lambda: FunctionTransformer(np.log),
    "log1p, then scaled": lambda: make_pipeline(FunctionTransformer(np.log1p), StandardScaler()),
    "sqrt": lambda: FunctionTransformer(np.sqrt),
    "square": lambda: FunctionTransformer(np.square),
    "reciprocal": lambda: FunctionTransformer(np.reciprocal),
    "itself and its log": lambda: FeatureUnion(
        [("x", FunctionTransformer()), ("log", FunctionTransformer(np.log))],
        transformer_weights={"log": 2.0},
    ),
    "PolynomialFeatures": lambda: make_pipeline(StandardScaler(), PolynomialFeatures(3)),
}
OF_TEXTS = {
    "OneHotEncoder": one_hot,
    "OneHotEncoder, error": OneHotEncoder,
    "OneHotEncoder, warn": lambda: one_hot(handle_unknown="warn", min_frequency=20),
    "OneHotEncoder, drop first": lambda: one_hot(drop="first"),
    "OneHotEncoder, drop if binary": lambda: one_hot(drop="if_binary", sparse_output=False),
    "OneHotEncoder, infrequent": lambda: one_hot(
        handle_unknown="infrequent_if_exist", min_frequency=20
    ),
    "OneHotEncoder, few": lambda: one_hot(
        handle_unknown="infrequent_if_exist", max_categories=3, drop="first"
    ),
    "OrdinalEncoder": lambda: OrdinalEncoder(encoded_missing_value=-2),
    "OrdinalEncoder, unknown": lambda: OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2
    ),
    "TargetEncoder": lambda: TargetEncoder(random_state=0),
    "TargetEncoder, scaled": lambda: make_pipeline(TargetEncoder(random_state=0), StandardScaler()),
    "ordinal, then bent": lambda: make_pipeline(
        OrdinalEncoder(
            handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2
        ),
        SplineTransformer(n_knots=3),
    ),
    "ordinal, then filled": lambda: make_pipeline(
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan), SimpleImputer()
    ),
}
FILLS = {
    "mean": SimpleImputer,
    "median, told": lambda: SimpleImputer(strategy="median", add_indicator=True),
    "most frequent": lambda: SimpleImputer(strategy="most_frequent"),
    "constant": lambda: SimpleImputer(strategy="constant", fill_value=-1),
}
TEXT_FILLS = {
    "most frequent": lambda: SimpleImputer(strategy="most_frequent"),
    "constant": lambda: SimpleImputer(
        strategy="constant", fill_value="none", keep_empty_features=True
    ),
}
CLASSIFIERS = {
    "LogisticRegression": LogisticRegression,
    "no penalty": lambda: LogisticRegression(C=1e6, max_iter=300),
    "l1": lambda: LogisticRegression(l1_ratio=1.0, solver="saga", max_iter=200),
    "SGDClassifier": lambda: SGDClassifier(loss="log_loss", random_state=0),
    "OneVsRestClassifier": lambda: OneVsRestClassifier(LogisticRegression()),
    "sigmoid": lambda: CalibratedClassifierCV(LogisticRegression(), ensemble=False, cv=3),
    "isotonic": lambda: CalibratedClassifierCV(
        LogisticRegression(), method="isotonic", ensemble=False, cv=3
    ),
    "searched": lambda: GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2),
}
REGRESSORS = {
    "LinearRegression": LinearRegression,
    "Ridge": Ridge,
    "Lasso": lambda: Lasso(0.01),
    "ElasticNet": lambda: ElasticNet(0.01),
    "HuberRegressor": lambda: HuberRegressor(max_iter=300),
    "PoissonRegressor": PoissonRegressor,
    "GammaRegressor": GammaRegressor,
    "TweedieRegressor": lambda: TweedieRegressor(power=1.5),
    "TweedieRegressor, identity": lambda: TweedieRegressor(power=0),
    "of a log": lambda: TransformedTargetRegressor(Ridge(), func=np.log, inverse_func=np.exp),
    "of log1p": lambda: TransformedTargetRegressor(Ridge(), func=np.log1p, inverse_func=np.expm1),
    "of a scaled target": lambda: TransformedTargetRegressor(Ridge(), transformer=StandardScaler()),
    "of the range": lambda: TransformedTargetRegressor(Ridge(), transformer=MinMaxScaler()),
}


def numbers_first(step, columns=NUMBERS):
    return make_column_transformer((step, columns), (one_hot(), ["colour"]))


@pytest.mark.parametrize("name", OF_NUMBERS)
def test_compile_numeric_transformer_matches_pipeline(name):
    X, score = make_rows()
    assert_same(
        make_pipeline(numbers_first(OF_NUMBERS[name]()), LogisticRegression()),
        X,
        two_classes(score),
    )


@pytest.mark.parametrize("name", OF_POSITIVE)
def test_compile_transformer_of_positive_numbers_matches_pipeline(name):
    X, score = make_rows()
    step = numbers_first(OF_POSITIVE[name](), ["speed"])
    assert_same(make_pipeline(step, LogisticRegression(max_iter=1000)), X, two_classes(score))


@pytest.mark.parametrize("has_missing_values", [False, True])
@pytest.mark.parametrize("name", OF_TEXTS)
def test_compile_encoder_of_texts_matches_pipeline(name, has_missing_values):
    X, score = make_rows()
    columns = make_column_transformer((OF_TEXTS[name](), [*TEXTS, "day"]))
    assert_same(
        make_pipeline(columns, LogisticRegression()),
        with_missing_values(X) if has_missing_values else X,
        two_classes(score),
    )


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("labels", [two_classes, three_classes])
def test_compile_classifier_matches_probabilities(name, labels):
    X, score = make_rows()
    assert_same(
        make_pipeline(numbers_first(StandardScaler()), CLASSIFIERS[name]()), X, labels(score)
    )


@pytest.mark.parametrize("name", REGRESSORS)
def test_compile_regressor_matches_values(name):
    X, score = make_rows()
    assert_same(
        make_pipeline(numbers_first(StandardScaler()), REGRESSORS[name]()), X, amounts(score)
    )


def test_compile_column_transformer_any_column_selection_matches_pipeline():
    X, score = make_rows()
    columns = ColumnTransformer(
        [
            ("index", StandardScaler(), [0]),
            ("slice", bins(), slice(1, 3)),
            ("mask", FunctionTransformer(), np.array([False] * 5 + [True])),
            ("selector", one_hot(), make_column_selector(dtype_include=object)),
            ("passed", "passthrough", ["day"]),
            ("dropped", "drop", ["shape"]),
        ],
        remainder=MinMaxScaler(),
        transformer_weights={"index": 2.5},
        sparse_threshold=0.0,
        verbose_feature_names_out=False,
    )
    scorecard = assert_same(make_pipeline(columns, LogisticRegression()), X, two_classes(score))
    kinds = [type(term) for term in scorecard.sums[0].terms]
    assert kinds == [SlopeTerm, StepTerm, CurveTerm, TableTerm, TableTerm, TableTerm]


def test_compile_pipeline_with_pandas_output_matches_pipeline():
    X, score = make_rows()
    columns = make_column_transformer(
        (StandardScaler(), NUMBERS), (one_hot(sparse_output=False), TEXTS), remainder="passthrough"
    )
    model = make_pipeline(columns, SelectKBest(k=6), LogisticRegression())
    assert_same(model.set_output(transform="pandas"), X, two_classes(score))


def test_compile_threshold_classifier_keeps_probability():
    X, score = make_rows()
    for wrapped in (
        FixedThresholdClassifier(LogisticRegression(), threshold=0.3),
        TunedThresholdClassifierCV(LogisticRegression(), cv=3),
    ):
        assert_same(make_pipeline(numbers_first(StandardScaler()), wrapped), X, two_classes(score))


def test_compile_calibrated_frozen_pipeline_matches_pipeline():
    X, score = make_rows()
    fitted = make_pipeline(numbers_first(StandardScaler()), LogisticRegression()).fit(
        X, two_classes(score)
    )
    assert_same(
        CalibratedClassifierCV(FrozenEstimator(fitted), method="isotonic"), X, two_classes(score)
    )


def test_compile_logistic_regression_cv_matches_pipeline():
    X, score = make_rows()
    model = LogisticRegressionCV(
        Cs=3, cv=2, l1_ratios=(0.0,), use_legacy_attributes=False, scoring="neg_log_loss"
    )
    assert_same(make_pipeline(numbers_first(StandardScaler()), model), X, three_classes(score))


def test_compile_estimator_without_pipeline_returns_slope_terms():
    X, score = make_rows()
    scorecard = assert_same(LogisticRegression(max_iter=5000), X[NUMBERS], two_classes(score))
    assert [type(term) for term in scorecard.sums[0].terms] == [SlopeTerm] * 3


def test_compile_number_with_several_paths_returns_curve_sum_term():
    X, score = make_rows()
    scorecard = assert_same(
        make_pipeline(
            numbers_first(OF_POSITIVE["itself and its log"](), ["speed"]), LogisticRegression()
        ),
        X,
        two_classes(score),
    )
    assert [type(term) for term in scorecard.sums[0].terms if term.feature == "speed"] == [
        CurveSumTerm
    ]


def test_compile_imputer_with_numeric_marker_matches_pipeline():
    X, score = make_rows()
    model = make_pipeline(
        make_column_transformer((SimpleImputer(missing_values=4), ["day", "size"])),
        LogisticRegression(),
    )
    assert_same(model, X, two_classes(score))


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (PolynomialFeatures(2), "multiplies two features"),
        (FunctionTransformer(np.tanh), "FunctionTransformer(tanh)"),
        (type("Mine", (StandardScaler,), {})(), "no rule for Mine"),
    ],
)
def test_compile_unknown_step_names_it(step, reason):
    X, score = make_rows()
    model = make_pipeline(step, LogisticRegression(max_iter=1000)).fit(
        X[NUMBERS], two_classes(score)
    )
    with pytest.raises(NotAScorecard) as caught:
        compile_model(model, infer_signature(model, X[NUMBERS]).signature)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("estimator", "reason"),
    [
        (RandomForestClassifier(3), "no rule for RandomForestClassifier"),
        (CalibratedClassifierCV(LogisticRegression(), cv=3), "ensemble=False"),
        (SGDClassifier(loss="modified_huber"), "modified_huber"),
    ],
)
def test_compile_unsupported_estimator_names_it(estimator, reason):
    X, score = make_rows()
    model = make_pipeline(StandardScaler(), estimator).fit(X[NUMBERS], two_classes(score))
    with pytest.raises(NotAScorecard) as caught:
        compile_model(model, infer_signature(model, X[NUMBERS]).signature)
    assert reason in str(caught.value)


def test_compile_checked_differing_scorecard_names_the_step():
    # With degree 1, several columns and linear extrapolation, scikit-learn 1.9 takes the ends of
    # the second column from other knots. The rule differs, so the scorecard must not be used.
    X, score = make_rows()
    spline = SplineTransformer(degree=1, extrapolation="linear")
    model = make_pipeline(spline, LogisticRegression()).fit(X[NUMBERS], two_classes(score))
    signature = infer_signature(model, X[NUMBERS]).signature
    scorecard, reason = compile_checked(
        model, signature, X[NUMBERS], to_records(X[NUMBERS], signature)
    )
    assert scorecard is None
    assert "'splinetransformer', in its output for speed" in reason
    assert find_differing_step(model[-1:], signature, X) == "the last step"


@st.composite
def pipelines(draw):
    """Draw a pipeline from the grammar of supported steps."""
    number = draw(st.sampled_from(list(OF_NUMBERS.values())))()
    fill = draw(st.sampled_from(list(FILLS.values())))()
    text = draw(st.sampled_from(list(OF_TEXTS.values())))()
    text_fill = draw(st.sampled_from(list(TEXT_FILLS.values())))()
    parts = [
        (make_pipeline(fill, number), draw(st.sampled_from([["size"], ["size", "day"]]))),
        (make_pipeline(text_fill, text), TEXTS),
        (draw(st.sampled_from([bins(), SplineTransformer(), "passthrough"])), ["speed"]),
    ]
    remainder = draw(st.sampled_from(["drop", "passthrough"]))
    columns = make_column_transformer(*draw(st.permutations(parts)), remainder=remainder)
    labels = draw(st.sampled_from([two_classes, three_classes, amounts]))
    estimators = REGRESSORS if labels is amounts else CLASSIFIERS
    names = [name for name in estimators if name != "isotonic"]
    return make_pipeline(columns, estimators[draw(st.sampled_from(names))]()), labels


@pytest.mark.slow
# No shrinking, because it takes minutes.
@settings(
    max_examples=80,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(pipelines(), st.integers(0, 1000))
def test_compile_any_pipeline_of_grammar_matches_pipeline(drawn, seed):
    model, labels = drawn
    X, score = make_rows(seed=seed)
    assert_same(model, with_missing_values(X, seed), labels(score))
