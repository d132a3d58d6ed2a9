"""Generated models in SQL: what is exported gives the scorecard's own answers."""

import math
import warnings

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from odd_models import ESTIMATORS, build, odd_rows
from sql_models import frame_of
from test_compiler_law import columns_with_steps, in_range

from slipway.compiler import NotAScorecard, answered_ranges, compile_model
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


def tame(record, scorecard):
    """Whether SQL answers all numbers of a record: not those many periods away."""
    most = 1e3 if "wrap" in repr(scorecard) else LARGEST
    return all(not isinstance(value, int | float) or abs(value) < most for value in record)


def assert_same_in_sql(engine, manifest, records):
    names = manifest.signature.names
    rows = [dict(zip(names, record, strict=True)) for record in records]
    engine.load("odd", frame_of(manifest, rows))
    if why_inexact(manifest, manifest.scorecard):
        return
    sql = model_sql(manifest, table="odd", dialect=engine.dialect, key="id")
    for row in engine.query(sql):
        due = manifest.scorecard.compile_answers()([records[row[0]]])[0]
        due = due if isinstance(due, tuple) else (due,)
        if not all(map(math.isfinite, due)):
            assert row[1] is None, (records[row[0]], row, due)
            continue
        for found, wanted in zip(row[1:], due, strict=False):
            assert found is not None, (records[row[0]], row, due)
            assert math.isclose(found, wanted, rel_tol=1e-9, abs_tol=1e-9), (records[row[0]], row)


@settings(
    max_examples=60,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(columns_with_steps(), st.sampled_from([*ESTIMATORS]), st.integers(0, 1000))
def test_any_exported_model_gives_the_scorecards_answers(
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
            ranges = answered_ranges(built[0], signature)
        except NotAScorecard:
            return
        records = [each for each in odd_rows(signature, built[1]) if tame(each, scorecard)]
    records = [each for each in records if in_range(signature, ranges, each)]
    model = replace(manifest, signature=signature, scorecard=scorecard, threshold=None)
    for engine in (duckdb_engine, sqlite_engine):
        assert_same_in_sql(engine, model, records)


JUMP = step_function((0.5,), (0.0, 1.0))
LINE = step_function((), (1.0,))


@pytest.mark.parametrize(
    ("feature", "path", "pieces", "reason"),
    [
        ({"dtype": "float32"}, (), JUMP, "x is a 32-bit float"),
        ({}, (Named("log"),), JUMP, "x jumps behind a function"),
        ({}, (Named("log"), Fill(0.0)), LINE, "x is filled where a function has no result"),
        ({}, (Named("log"), Named("exp")), LINE, "x is infinite on its way"),
    ],
)
def test_model_that_sql_cannot_answer_exactly_is_refused(manifest, feature, path, pieces, reason):
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


def test_bins_behind_a_logarithm_are_exact_in_sql(manifest, duckdb_engine):
    model, X = build(["positive"], [["log1p", "standard", "bins"]], "classes", 3)
    signature = infer_signature(model, X).signature
    card = compile_model(model, signature)
    exported = replace(manifest, signature=signature, scorecard=card, threshold=None)
    assert "LN(" not in model_sql(exported, table="odd", dialect="duckdb")
    assert_same_in_sql(duckdb_engine, exported, odd_rows(signature, X))
