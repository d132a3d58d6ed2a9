"""Property test: a pipeline compiles to its own predictions, or the compiler returns a reason."""

import warnings

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from odd_models import ESTIMATORS, NUMBERS, OF_NUMBERS, OF_TEXTS, TEXTS, build, odd_rows

from slipway.compiler import find_valid_ranges
from slipway.core.errors import SlipwayError
from slipway.models.pipeline_engine import PipelineScorer
from slipway.training.packaging.golden_rows import to_records
from slipway.training.packaging.parity import compile_checked
from slipway.training.packaging.signature_inference import infer_signature

TOLERANCE = 1e-9


@st.composite
def columns_with_steps(draw):
    """Draw one to three columns, each with one to three steps."""
    columns = draw(st.lists(st.sampled_from([*NUMBERS, *TEXTS]), min_size=1, max_size=3))
    steps = []
    for column in columns:
        known = OF_NUMBERS if column in NUMBERS else OF_TEXTS
        max_steps = 3 if column in NUMBERS else 1
        steps.append(draw(st.lists(st.sampled_from([*known]), min_size=1, max_size=max_steps)))
    return columns, steps


def in_range(signature, ranges, record):
    """Return whether all numbers of a record are in the valid ranges."""
    pairs = zip(signature.names, record, strict=True)
    return all(
        value is None or name not in ranges or ranges[name][0] <= value <= ranges[name][1]
        for name, value in pairs
    )


def differences(model, signature, scorecard, records):
    """Return the records for which a scorecard and its pipeline differ."""
    compiled, scorer = scorecard.compile_answers()(records), PipelineScorer(model, signature)
    finite = [bool(np.all(np.isfinite(prediction))) for prediction in compiled]
    expected = iter(
        scorer([record for record, is_finite in zip(records, finite, strict=True) if is_finite])
    )
    differing = []
    for record, prediction, is_finite in zip(records, compiled, finite, strict=True):
        # A record that the pipeline rejects would make the whole call fail.
        expected_prediction = next(expected) if is_finite else scorer([record])[0]
        size = max(1.0, np.max(np.abs(np.nan_to_num(expected_prediction))))
        if not np.allclose(
            prediction, expected_prediction, rtol=0, atol=TOLERANCE * size, equal_nan=True
        ):
            differing.append((record, prediction, expected_prediction))
    return differing


def assert_law(model, X):
    """Compile a model, compare it with the pipeline, and return the scorecard."""
    try:
        signature = infer_signature(model, X).signature
    except SlipwayError:
        return None
    scorecard, reason = compile_checked(model, signature, X, to_records(X[:4], signature))
    assert (scorecard is None) == bool(reason)
    if scorecard is None:
        return None
    ranges = find_valid_ranges(model, signature)
    records = [row for row in odd_rows(signature, X) if in_range(signature, ranges, row)]
    assert not differences(model, signature, scorecard, records)
    return scorecard


# No shrinking, because it takes minutes.
@settings(
    max_examples=150,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(columns_with_steps(), st.sampled_from([*ESTIMATORS]), st.integers(0, 1000))
def test_compile_any_pipeline_matches_it_or_returns_reason(drawn, estimator, seed):
    built = build(*drawn, estimator, seed)
    if built is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert_law(*built)
