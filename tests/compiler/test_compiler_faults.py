"""Minimal examples of former crashes of the compiler and of wrong predictions."""

import math
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from odd_models import ROWS, build
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    TargetEncoder,
)
from test_compiler_law import assert_law

from slipway.compiler import (
    NotAScorecard,
    centre,
    compile_model,
    find_differing_step,
    find_input_uses,
    find_valid_ranges,
)
from slipway.compiler.floats import shift_floats
from slipway.models.features import Feature, Target
from slipway.models.pipeline_engine import PipelineScorer
from slipway.models.scorecard import LinearPredictor, Scorecard, SlopeTerm, StepTerm
from slipway.models.signature import Signature
from slipway.training.packaging.signature_inference import infer_signature

FORMER_FAULTS = {
    "indicator of texts": (["NaN"], [["told, one-hot"]]),
    "first of one category dropped": (["one", "three"], [["one-hot, first"], ["one-hot"]]),
    "None the most frequent": (["None"], [["common, one-hot"]]),
    "ranks of a constant": (["constant"], [["ranks"]]),
    "normal ranks of neighbours": (["narrow"], [["normal ranks"]]),
    "dropped text": (["three"], [["dropped"]]),
    "flag never set": (["never"], [["target"]]),
    "halves as categories": (["halves"], [["one-hot"]]),
    "error beside few values": (["positive", "halves"], [["spline, error"], ["one-hot"]]),
    "filled behind a logarithm": (["positive"], [["log1p", "mean"]]),
    "bins behind a power": (["normal"], [["power", "bins"]]),
    "bins behind a falling function": (["normal"], [["negative", "standard", "bins"]]),
    "reciprocal of zeros": (["positive"], [["reciprocal", "exp"]]),
}


@pytest.mark.parametrize("name", FORMER_FAULTS)
@pytest.mark.parametrize("estimator", ["classes", "three classes", "value"])
def test_compile_unusual_column_matches_pipeline(name, estimator):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert assert_law(*build(*FORMER_FAULTS[name], estimator, 4)) is not None


def test_compile_spline_without_interval_raises():
    model, X = build(["constant"], [["spline, periodic"]], "classes", 0)
    with pytest.raises(NotAScorecard, match="no interval between its knots"):
        compile_model(model, infer_signature(model, X).signature)


def test_compile_fault_in_rule_names_the_step():
    model, X = build(["normal"], [["standard"]], "classes", 0)
    signature = infer_signature(model, X).signature
    scaler = model[0].named_transformers_["p0"]
    scaler.mean_ = "spoilt"
    with pytest.raises(NotAScorecard, match="StandardScaler cannot be compiled"):
        compile_model(model, signature)
    assert find_input_uses(model, ("f0", "z"))[0].feature == "f0"
    assert find_differing_step(model, signature, X).startswith(
        "the step 'columntransformer', which"
    )


@pytest.mark.parametrize("kind", ["text", "datetime"])
def test_compile_free_text_or_date_raises_unless_dropped(kind):
    model, X = build(["three"], [["one-hot"]], "classes", 0)
    signature = infer_signature(model, X).signature
    free = replace(signature.features[0], kind=kind, categories=())
    with pytest.raises(NotAScorecard, match="no rule for f0, which is"):
        compile_model(model, replace(signature, features=(free, signature.features[1])))
    model, X = build(["three"], [["dropped"]], "classes", 0)
    signature = infer_signature(model, X).signature
    free = Feature("f0", kind, "f0", "a")
    features = (free, *(feature for feature in signature.features if feature.name != "f0"))
    card = compile_model(model, replace(signature, features=features, columns=()))
    assert card.sums[0].terms[0].compile_points()("any text at all") == 0.0


def test_compile_flag_never_true_with_strict_encoder_requires_closed_feature():
    X = pd.DataFrame({"f": [False] * ROWS, "z": np.linspace(-1, 1, ROWS)})
    step = make_column_transformer((OneHotEncoder(), ["f"]), remainder="passthrough")
    model = make_pipeline(step, LogisticRegression()).fit(X, X["z"] > 0)
    signature = infer_signature(model, X).signature
    closed = signature.features[0]
    assert (closed.categories, closed.closed) == ((False,), True)
    open_flag = replace(closed, categories=(), closed=False)
    with pytest.raises(NotAScorecard, match="rejects True for f"):
        compile_model(model, replace(signature, features=(open_flag, signature.features[1])))
    card = compile_model(model, replace(signature, features=(closed, signature.features[1])))
    expected = model.predict_proba(X)[:, 1]
    assert card.compile_answers()([(False, X["z"][0])])[0] == pytest.approx(expected[0], abs=1e-14)


def test_compile_flag_never_true_uses_unknown_value_of_encoder():
    X = pd.DataFrame({"f": [False] * ROWS, "z": np.linspace(-1, 1, ROWS)})
    step = make_column_transformer((TargetEncoder(cv=2), ["f"]), remainder="passthrough")
    model = make_pipeline(step, LogisticRegression(C=1e4)).fit(X, X["z"] > 0.3)
    card = compile_model(model, infer_signature(model, X).signature)
    expected = model.predict_proba(pd.DataFrame({"f": [True], "z": [0.2]}))[0, 1]
    assert card.compile_answers()([(True, 0.2)])[0] == pytest.approx(expected, abs=1e-12)


def test_compile_square_of_integer_requires_bounds():
    X = pd.DataFrame({"k": np.arange(ROWS) % 9, "z": np.linspace(-1, 1, ROWS)})
    model = make_pipeline(FunctionTransformer(np.square), Ridge()).fit(X, X["z"])
    signature = infer_signature(model, X).signature
    with pytest.raises(NotAScorecard, match="square of the integer feature k overflows"):
        compile_model(model, signature)
    small = replace(signature.features[0], minimum=0, maximum=3_000_000_000)
    card = compile_model(model, replace(signature, features=(small, signature.features[1])))
    expected = model.predict(pd.DataFrame({"k": [3_000_000_000], "z": [0.5]}))[0]
    assert card.compile_answers()([(3_000_000_000, 0.5)])[0] == pytest.approx(expected, rel=1e-14)


def test_compile_bins_after_function_returns_bins_of_raw_number():
    model, X = build(["positive"], [["log1p", "standard", "bins"]], "classes", 3)
    term = compile_model(model, infer_signature(model, X).signature).sums[0].terms[0]
    within, *others = term.path
    assert (within.name, others) == ("within", [])
    model, X = build(["normal"], [["standard", "bins"]], "classes", 3)
    card = compile_model(model, infer_signature(model, X).signature)
    assert isinstance(card.sums[0].terms[0], StepTerm)


RANGES = {
    "log": (["positive"], [["log"]]),
    "exp": (["normal"], [["exp"]]),
    "square": (["normal"], [["square"]]),
    "small scale": (["small"], [["standard"]]),
    "knots": (["positive"], [["spline, error"]]),
    "continued spline": (["normal"], [["spline, continue"]]),
    "powers": (["normal"], [["powers"]]),
    "power": (["small"], [["power"]]),
    "box-cox": (["positive"], [["box-cox"]]),
    "scaled logarithm": (["positive"], [["min-max", "log1p"]]),
    "power of a logarithm": (["positive"], [["log", "power"]]),
}


@pytest.mark.parametrize("name", RANGES)
def test_valid_range_ends_at_last_number_that_pipeline_accepts(name):
    model, X = build(*RANGES[name], "classes", 7)
    signature = infer_signature(model, X).signature
    low, high = find_valid_ranges(model, signature)["f0"]
    scorer = PipelineScorer(model, signature)
    largest = np.finfo(float).max
    for end, sign in ((low, -1), (high, 1)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert not math.isnan(scorer([(end, 0.0)])[0])
            if abs(end) < largest:
                beyond = sign * float(shift_floats(np.array([sign * end]), 1)[0])
                assert math.isnan(scorer([(beyond, 0.0)])[0])


def test_valid_range_raw_numbers_is_omitted():
    X = pd.DataFrame({"a": np.linspace(-50, 50, ROWS), "b": np.arange(ROWS) * 1e3})
    model = LogisticRegression().fit(X, X["a"] > 0)
    assert find_valid_ranges(model, infer_signature(model, X).signature) == {}


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-1e13, 1e13), st.floats(-10, 10)), min_size=1, max_size=8),
    st.lists(st.sampled_from([0.0, 1.0, -1.0, 1e13, -1e13, 1e20]), min_size=8, max_size=8),
    st.floats(-3, 3),
    st.booleans(),
)
def test_centre_any_averages_keep_precision(pairs, given_values, intercept, in_units):
    names = [f"f{i}" for i in range(len(pairs))]
    means = [mean for mean, _ in pairs]
    X = pd.DataFrame({name: [mean, mean + 1.0] for name, mean in zip(names, means, strict=True)})
    terms = [SlopeTerm(n, slope, 0.0, 0.0, 0.0) for n, (_, slope) in zip(names, pairs, strict=True)]
    link = () if in_units else compile_link()
    card = Scorecard((LinearPredictor(intercept, tuple(terms), link),))
    centred = centre(card, X)
    for record in (tuple(given_values[: len(names)]), (0.0,) * len(names), tuple(means)):
        parts = [abs(slope * x) for (_, slope), x in zip(pairs, record, strict=True)]
        average = card.sums[0].compile_score()(X.mean().tolist())
        one, other = (scorecard.sums[0].compile_score()(record) for scorecard in (card, centred))
        size = max(1.0, sum(parts), abs(average) if in_units else 0.0)
        assert abs(one - other) <= 1e-13 * size


def compile_link():
    """Return the link of a model with classes."""
    X = pd.DataFrame({"a": [0.0, 1.0]})
    model = LogisticRegression().fit(X, [0, 1])
    target = Target("y", "y", ("0", "1"), "1")
    return compile_model(model, Signature((Feature("a", "number", "", 1.0),), target)).sums[0].link
