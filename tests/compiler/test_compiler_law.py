"""Any pipeline: it compiles or gives a reason, and what compiles answers as the pipeline does."""

import warnings

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from odd_models import ESTIMATORS, NUMBERS, OF_NUMBERS, OF_TEXTS, TEXTS, build, odd_rows

from slipway.compiler import answered_ranges
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
        most = 3 if column in NUMBERS else 1
        steps.append(draw(st.lists(st.sampled_from([*known]), min_size=1, max_size=most)))
    return columns, steps


def in_range(signature, ranges, record):
    pairs = zip(signature.names, record, strict=True)
    return all(
        value is None or name not in ranges or ranges[name][0] <= value <= ranges[name][1]
        for name, value in pairs
    )


def differences(model, signature, scorecard, records):
    """The records that a scorecard and its pipeline answer differently."""
    ours, scorer = scorecard.compile_answers()(records), PipelineScorer(model, signature)
    answered = [bool(np.all(np.isfinite(our))) for our in ours]
    due = iter(scorer([record for record, kept in zip(records, answered, strict=True) if kept]))
    found = []
    for record, our, kept in zip(records, ours, answered, strict=True):
        # What the pipeline raises for would spoil a call for the others.
        their = next(due) if kept else scorer([record])[0]
        size = max(1.0, np.max(np.abs(np.nan_to_num(their))))
        if not np.allclose(our, their, rtol=0, atol=TOLERANCE * size, equal_nan=True):
            found.append((record, our, their))
    return found


def assert_law(model, X):
    """Compile, and hold what compiles against the pipeline; give it back."""
    try:
        signature = infer_signature(model, X).signature
    except SlipwayError:
        return None
    scorecard, reason = compile_checked(model, signature, X, to_records(X[:4], signature))
    assert (scorecard is None) == bool(reason)
    if scorecard is None:
        return None
    ranges = answered_ranges(model, signature)
    records = [each for each in odd_rows(signature, X) if in_range(signature, ranges, each)]
    assert not differences(model, signature, scorecard, records)
    return scorecard


# A failing pipeline is printed as it was drawn: to shrink one would take minutes.
@settings(
    max_examples=150,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(columns_with_steps(), st.sampled_from([*ESTIMATORS]), st.integers(0, 1000))
def test_any_pipeline_compiles_to_its_own_answers_or_gives_a_reason(drawn, estimator, seed):
    built = build(*drawn, estimator, seed)
    if built is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert_law(*built)
