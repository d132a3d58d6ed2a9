"""Property tests of generated models in SQL: the export returns the scorecard's predictions."""

import math
import warnings

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from odd_models import ESTIMATORS, build, odd_rows
from sql_models import frame_of
from test_compiler_law import columns_with_steps, in_range

from slipway.compiler import NotAScorecard, compile_model, find_valid_ranges
from slipway.compiler.sql import model_sql
from slipway.compiler.sql.exactness import why_inexact
from slipway.compiler.sql.expressions import LARGEST
from slipway.core.errors import BadInput
from slipway.models.features import Feature, Target
from slipway.models.scorecard import CurveTerm, LinearPredictor, Scorecard
from slipway.models.signature import Signature
from slipway.models.stages import Fill, Named, step_function
from slipway.training.packaging.signature_inference import infer_signature

pytest_plugins = ["engines"]


def is_supported_in_sql(record, scorecard):
    """Return whether SQL supports all numbers of a record; numbers many periods away are not."""
    limit = 1e3 if "wrap" in repr(scorecard) else LARGEST
    return all(not isinstance(value, int | float) or abs(value) < limit for value in record)


def assert_same_in_sql(engine, manifest, records):
    names = manifest.signature.names
    rows = [dict(zip(names, record, strict=True)) for record in records]
    engine.load("odd", frame_of(manifest, rows))
    if why_inexact(manifest, manifest.scorecard):
        return
    sql = model_sql(manifest, table="odd", dialect=engine.dialect, key="id")
    for row in engine.query(sql):
        expected = manifest.scorecard.compile_answers()([records[row[0]]])[0]
        expected = expected if isinstance(expected, tuple) else (expected,)
        if not all(map(math.isfinite, expected)):
            assert row[1] is None, (records[row[0]], row, expected)
            continue
        for actual, prediction in zip(row[1:], expected, strict=False):
            assert actual is not None, (records[row[0]], row, expected)
            assert math.isclose(actual, prediction, rel_tol=1e-9, abs_tol=1e-9), (
                records[row[0]],
                row,
            )


@settings(
    max_examples=60,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(columns_with_steps(), st.sampled_from([*ESTIMATORS]), st.integers(0, 1000))
def test_model_sql_any_exported_model_matches_scorecard(
    manifest, duckdb_engine, sqlite_engine, drawn, estimator, seed
):
    built = build(*drawn, estimator, seed)
    if built is None:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        signature = infer_signature(*built).signature
        try:
            scorecard = compile_model(built[0], signature)
            ranges = find_valid_ranges(built[0], signature)
        except NotAScorecard:
            return
        records = [
            row for row in odd_rows(signature, built[1]) if is_supported_in_sql(row, scorecard)
        ]
    records = [row for row in records if in_range(signature, ranges, row)]
    model = replace(manifest, signature=signature, scorecard=scorecard, threshold=None)
    for engine in (duckdb_engine, sqlite_engine):
        assert_same_in_sql(engine, model, records)


JUMP = step_function((0.5,), (0.0, 1.0))
LINE = step_function((), (1.0,))


@pytest.mark.parametrize(
    ("feature", "path", "pieces", "reason"),
    [
        ({"dtype": "float32"}, (), JUMP, "x is a 32-bit float"),
        ({}, (Named("log"),), JUMP, "x jumps after a function"),
        ({}, (Named("log"), Fill(0.0)), LINE, "x is imputed where a function has no result"),
        ({}, (Named("log"), Named("exp")), LINE, "x has infinite intermediate results"),
    ],
)
def test_model_sql_inexact_model_raises(manifest, feature, path, pieces, reason):
    term = CurveTerm("x", path, pieces, 0.0)
    signature = Signature((Feature("x", "number", "", 1.0, **feature),), Target("y", "y"))
    model = replace(
        manifest,
        signature=signature,
        scorecard=Scorecard((LinearPredictor(0.0, (term,), ()),)),
        threshold=None,
    )
    with pytest.raises(BadInput, match=reason):
        model_sql(model, table="t", dialect="duckdb")


def test_model_sql_bins_after_logarithm_are_exact(manifest, duckdb_engine):
    model, X = build(["positive"], [["log1p", "standard", "bins"]], "classes", 3)
    signature = infer_signature(model, X).signature
    card = compile_model(model, signature)
    exported = replace(manifest, signature=signature, scorecard=card, threshold=None)
    assert "LN(" not in model_sql(exported, table="odd", dialect="duckdb")
    assert_same_in_sql(duckdb_engine, exported, odd_rows(signature, X))
