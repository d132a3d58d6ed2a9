"""Scorecards against the pipelines they were compiled from, on small real fits."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    KBinsDiscretizer,
    OneHotEncoder,
    PolynomialFeatures,
    StandardScaler,
)

from slipway.compiler import NotAScorecard, compile_pipeline
from slipway.model import pipeline_scorer, scorecard_scorer
from slipway.signature import Feature, Signature, Target

SIGNATURE = Signature(
    (
        Feature("colour", "category", "Which", "red", nullable=True),
        Feature("day", "integer", "When", 1),
        Feature("size", "number", "How large", 1.0, nullable=True),
        Feature("speed", "number", "How fast", 1.0),
    ),
    Target("late", "Late", ("no", "yes"), "yes"),
)


def some_rows(n=400, seed=0):
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
    y = (draw.random(n) < 1 / (1 + np.exp(-(X["speed"] / 10 - 1 + (X["day"] > 5))))).astype(int)
    return X, y


def bins():
    return KBinsDiscretizer(
        5,
        encode="onehot-dense",
        strategy="quantile",
        quantile_method="averaged_inverted_cdf",
        subsample=None,
    )


def with_gaps(step):
    fill = make_pipeline(SimpleImputer(strategy="median"), step)
    return make_union(fill, MissingIndicator(features="all"))


SHAPES = {
    "binned": make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["colour", "day"]),
        (with_gaps(bins()), ["size"]),
        (bins(), ["speed"]),
    ),
    "scaled": make_column_transformer(
        (OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=10), ["colour"]),
        (OneHotEncoder(handle_unknown="ignore", drop="first", sparse_output=False), ["day"]),
        (with_gaps(StandardScaler()), ["size"]),
        (StandardScaler(with_mean=False), ["speed"]),
    ),
    "some columns unused": make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["day"]), (StandardScaler(), ["speed"])
    ),
}


@pytest.fixture(scope="module", params=SHAPES, ids=str)
def fitted(request):
    X, y = some_rows()
    pipeline = make_pipeline(SHAPES[request.param], LogisticRegression()).fit(X, y)
    scorecard = compile_pipeline(pipeline, SIGNATURE, X)
    return scorecard_scorer(scorecard), pipeline_scorer(pipeline, SIGNATURE), scorecard, X


hostile_records = st.tuples(
    st.sampled_from(["red", "green", "blue", "rare", "never", "", None]),
    st.integers(-3, 12),
    st.one_of(st.none(), st.floats(-1e6, 1e6)),
    st.floats(-1e6, 1e6),
)


@settings(max_examples=60, deadline=None)
@given(records=st.lists(hostile_records, min_size=1, max_size=8))
def test_scorecard_any_record_equals_the_pipeline(fitted, records):
    ours, theirs, _, _ = fitted
    np.testing.assert_allclose(ours(records), theirs(records), rtol=0, atol=1e-12)


def test_scorecard_bin_edges_equal_the_pipeline(fitted):
    ours, theirs, scorecard, _ = fitted
    edges = [e for term in scorecard.terms for e in getattr(term, "edges", ())]
    near = [np.nextafter(e, towards) for e in edges for towards in (-np.inf, e, np.inf)]
    records = [("red", 1, float(value), float(value)) for value in [*near, 0.0]]
    np.testing.assert_allclose(ours(records), theirs(records), rtol=0, atol=1e-12)


def test_scorecard_terms_are_centred_on_the_training_rows(fitted):
    _, _, scorecard, X = fitted
    records = X.astype(object).where(X.notna(), None).itertuples(index=False)
    sums = dict.fromkeys(SIGNATURE.names, 0.0)
    for record in records:
        for name, points in scorecard.explain(tuple(record)).items():
            sums[name] += points
    assert max(abs(total) for total in sums.values()) < 1e-9


@pytest.mark.parametrize(
    ("pipeline", "reason"),
    [
        (make_pipeline(StandardScaler(), RandomForestClassifier(5)), "RandomForestClassifier"),
        (make_pipeline(PolynomialFeatures(2), LogisticRegression()), "PolynomialFeatures"),
        (
            make_pipeline(
                make_column_transformer((OneHotEncoder(), ["day", "speed"])), LogisticRegression()
            ),
            "handle_unknown='error'",
        ),
        (
            make_pipeline(
                make_union(StandardScaler(), bins()),
                LogisticRegression(),
            ),
            "both binned and used as a number",
        ),
        (
            make_pipeline(SimpleImputer(add_indicator=True), LogisticRegression()),
            "this SimpleImputer",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_compile_pipeline_that_is_no_such_sum_is_refused_with_its_step(pipeline, reason):
    X, y = some_rows()
    X = X[["day", "speed"]]
    signature = Signature(SIGNATURE.features[1::2], SIGNATURE.target)
    with pytest.raises(NotAScorecard, match=reason):
        compile_pipeline(pipeline.fit(X, y), signature, X)


def test_compile_three_classes_is_refused():
    X, y = some_rows()
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    pipeline.fit(X[["day", "speed"]], y + (X["day"] == 3))
    signature = Signature(SIGNATURE.features[1::2], SIGNATURE.target)
    with pytest.raises(NotAScorecard):
        compile_pipeline(pipeline, signature, X[["day", "speed"]])
