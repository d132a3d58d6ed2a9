"""Models exported to SQL: four real engines return the scorecard's predictions."""

import math
import random
import sqlite3

import pandas as pd
import pytest
from sql_models import LEVELS, LINEAR, NASTY, VALUE, expected_prediction, feature, frame_of, variant

from slipway.compiler.sql import model_sql
from slipway.models.features import Target
from slipway.models.scorecard import (
    CurveSumTerm,
    CurveTerm,
    LinearPredictor,
    SlopeTerm,
    StepTerm,
    TableTerm,
)
from slipway.models.stages import SIGMOID, Affine, Clip, Named, Pieces, step_function

pytest_plugins = ["engines"]

LINE = Pieces((), (0.0,), ((0.0, 1.0),))
CUBIC = Pieces((0.0, 2.5), (0.0, 1.0, 2.5), ((1.0, -0.5), (0.1, 0.2, 0.3, 0.4), (2.0,)))
SMOOTH = Pieces((0.0, 2.5), (0.0, 0.0, 2.5), ((1.0, -0.5), (1.0, -0.5, 0.3, 0.4), (7.875,)))
NAMED = ["sigmoid", "exp", "expm1", "log", "log1p", "log2", "log10", "sqrt"]
NAMED += ["square", "absolute", "negative", "reciprocal"]
STAGES = {
    "affine": (Affine(0.1, 3.0, 0.7, -1e-3),),
    "clip": (Clip(-1.5, 2.5),),
    "pieces": (CUBIC,),
    "many steps": (step_function([i / 7 for i in range(100)], [i % 13 / 3 for i in range(101)]),),
    "box-cox": (Named("box-cox", (0.3,)),),
    "box-cox 0": (Named("box-cox", (0.0,)),),
    "yeo-johnson": (Named("yeo-johnson", (1.7,)),),
    "yeo-johnson 0": (Named("yeo-johnson", (0.0,)),),
    "yeo-johnson 2": (Named("yeo-johnson", (2.0,)),),
    "quantile": (Named("normal-quantile"), Clip(-5.2, 5.2)),
    "wrap": (Clip(-1e6, 1e6), Named("wrap", (-0.5, 24.0))),
    "chain": (
        Named("log1p"),
        Named("finite"),
        Affine(0.3, 2.0),
        Named("square"),
        Clip(0.0, 9.0),
        SMOOTH,
    ),
    "within": (Named("within", (-1.0, 2.5)),),
    "finite": (Named("finite"),),
    **{name: (Named(name),) for name in NAMED},
}
ALL_FEATURES = [
    feature("colour", "category", nullable=True, categories=("red", "blue")),
    feature("shop", "category", closed=True, categories=("a", "b", "c")),
    feature("size", "integer", nullable=True, categories=(1, 2, 30)),
    feature("gate", "integer", closed=True, categories=(1, 2)),
    feature("speed", minimum=-2, maximum=9, nullable=True),
    feature("age", "integer", minimum=0),
    feature("bent", nullable=True, maximum=50),
    feature("mixed"),
    feature("paid", "flag"),
    feature("vip", "flag", nullable=True),
]
ALL_TERMS = (
    TableTerm("colour", ("red", "blue"), (0.1, -0.25), missing=0.3, unseen=0.7),
    TableTerm("shop", ("a", "b"), (0.5, -0.5), missing=0.0, unseen=0.2),
    TableTerm("size", tuple(range(1, 41)), tuple(i / 9 for i in range(40)), 0.4, 0.9),
    SlopeTerm("gate", 0.1, 1.0, 0.2, 0.0),
    SlopeTerm("speed", 0.1, 1.5, 0.05, 0.6),
    StepTerm("age", (10.0, 20.0), (0.1, 0.2, 0.3), 0.0),
    CurveTerm("bent", (Named("log1p"),), SMOOTH, 0.8),
    CurveSumTerm(
        "mixed",
        (CurveTerm("mixed", (), CUBIC, 0.0), CurveTerm("mixed", (Clip(0, 1),), LINE, 0.0)),
        0.0,
    ),
    TableTerm("paid", (False, True), (-0.1, 0.1), 0.0, 0.0),
    SlopeTerm("vip", 0.3, 0.5, 0.0, 0.15),
)
NUMBERS = [
    *(0.0, -0.0, 1.0, -1.0, 0.1, 0.3, 0.5, 2.0, 2.5, 24.0, 1e-9, -1e-9, 1e-17, 1e-300, 0.999999),
    *(1e-12, 0.074, 0.0751, 0.925, 0.9251, 709.0, 710.0, -709.0, -745.5, 1e6, -1e6, 1e99, None),
    *(i / 7 for i in range(-20, 120, 3)),
]


def query_predictions(engine, manifest, records, **options):
    """Load the records and return the SQL predictions in their order, without the ``id``."""
    engine.load("given rows", frame_of(manifest, records))
    options = {"table": "given rows", "key": "id"} | options
    actual = engine.query(model_sql(manifest, dialect=engine.dialect, **options))
    assert [row[0] for row in sorted(actual, key=row_id)] == list(range(len(records)))
    return [row[1:] for row in sorted(actual, key=row_id)]


def row_id(row):
    return row[0]


def is_close(one, other):
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=1e-12, abs_tol=1e-300)


def assert_matches_api(engine, manifest, records):
    """Compare SQL with the API. A record that the API rejects must be NULL."""
    count = len(manifest.scorecard.sums)
    for record, actual in zip(records, query_predictions(engine, manifest, records), strict=True):
        expected = expected_prediction(manifest, record) or (None,) * count
        assert all(map(is_close, actual[:count], expected)), (record, actual, expected)
        if manifest.signature.target.classes:
            assert (actual[-1] is None) == (expected[0] is None), record


@pytest.mark.slow
def test_model_sql_shipped_model_all_flights_match_scorecard(engine, manifest, rows):
    engine.load("flights", rows.X.assign(id=range(len(rows.X))))
    actual = sorted(
        engine.query(model_sql(manifest, table="flights", dialect=engine.dialect, key="id"))
    )
    columns = [rows.X[name].astype(object).where(rows.X[name].notna(), None) for name in rows.X]
    expected = manifest.scorecard.compile_answers()(list(zip(*columns, strict=True)))
    assert len(actual) == 327_346
    assert max(abs(row[1] - p) for row, p in zip(actual, expected, strict=True)) < 1e-9
    labels = ["late" if p >= manifest.threshold else "on time" for p in expected]
    assert [row[2] for row in actual] == labels


@pytest.mark.slow
def test_model_sql_all_terms_any_value_match_api(engine, manifest):
    rng = random.Random(5)
    numbers = [None, -3.0, 0.0, 1.0, 2.0, 2.5, 10.0, 20.0, 30.0, 60.0, math.inf, -math.inf]
    pools = {
        "category": ["red", "blue", "a", "b", "c", "Red", "", None],
        "flag": [True, False, None],
    }
    typical = {"colour": "red", "shop": "a", "size": 2.0, "gate": 1.0, "speed": 2.0, "age": 10.0}
    typical |= {"bent": 2.5, "mixed": 1.0, "paid": True, "vip": None}
    records = [
        typical | {one.name: rng.choice(pools.get(one.kind, numbers)) for one in sample}
        for sample in (rng.sample(ALL_FEATURES, rng.randrange(3)) for _ in range(400))
    ]
    model = variant(manifest, ALL_FEATURES, LinearPredictor(-0.5, ALL_TERMS))
    rejected = [expected_prediction(model, record) is None for record in records]
    assert 100 < sum(rejected) < 300
    assert_matches_api(engine, model, records)


@pytest.mark.slow
def test_model_sql_all_stages_any_number_match_functions(engine, manifest):
    terms = [CurveTerm(name, stages, LINE, 0.25) for name, stages in STAGES.items()]
    model = variant(
        manifest,
        [feature(name, nullable=True) for name in STAGES],
        LinearPredictor(0.0, tuple(terms)),
    )
    records = [dict.fromkeys(STAGES, x) for x in NUMBERS]
    actual = query_predictions(engine, model, records, explain=True)
    for x, row in zip(NUMBERS, actual, strict=True):
        for term, points in zip(terms, row[3:], strict=True):
            expected = term.compile_points()(x)
            assert is_close(points, None if math.isnan(expected) else expected), (
                term.feature,
                x,
                expected,
            )


# SQLite stores NaN as NULL.
@pytest.mark.slow
@pytest.mark.parametrize("engine", ["duckdb", "postgres", "spark"], indirect=True)
def test_model_sql_nan_is_missing_or_rejected(engine, manifest):
    features = [feature("may", nullable=True), feature("must")]
    model = variant(
        manifest,
        features,
        LinearPredictor(0.0, (SlopeTerm("may", 1.0, 0, 0, 0.5), LINEAR), ()),
        target=VALUE,
    )
    nan = f"CAST('NaN' AS {'FLOAT8' if engine.dialect == 'postgres' else 'DOUBLE'})"
    rows = f"SELECT 1 AS id, {nan} AS may, 2 AS must UNION ALL SELECT 2, 1, {nan}"
    rows += f" UNION ALL SELECT 3, -{nan}, 3"
    sql = model_sql(model, table="numbers", dialect=engine.dialect, key="id").removeprefix("WITH ")
    assert sorted(engine.query(f"WITH numbers AS ({rows}), {sql}")) == [
        (1, 2.5),
        (2, None),
        (3, 3.5),
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "link",
    [
        (),
        SIGMOID,
        (Named("exp"),),
        (Affine(0.0, 1.0, -0.5, 0.1), *SIGMOID, step_function([0.1, 0.5], [0, 0.4, 1])),
    ],
    ids=["none", "sigmoid", "exp", "calibrated"],
)
def test_model_sql_links_any_score_match_functions(engine, manifest, link):
    model = variant(
        manifest, [feature("must")], LinearPredictor(0.0, (LINEAR,), link), target=VALUE
    )
    assert_matches_api(
        engine, model, [{"must": x} for x in [*NUMBERS, 1000.0, -1000.0] if x != 1e99]
    )


@pytest.mark.slow
@pytest.mark.parametrize("softmax", [True, False])
def test_model_sql_classes_tie_returns_first_class(engine, manifest, softmax):
    target = Target("kind", "Kind", ("it's", "B", "b"))
    sums = [
        LinearPredictor(
            intercept, (SlopeTerm("x", slope, 0.0, 0.0, 0.0),), () if softmax else (Clip(0.0, 1.0),)
        )
        for intercept, slope in ((0.1, 1.0), (0.1, -1.0), (-0.5, 0.0))
    ]
    model = variant(manifest, [feature("x")], *sums, target=target, softmax=softmax)
    records = [{"x": x} for x in (0.0, 1.0, -1.0, 0.3, 1e6, -1e6, 5.0, None)]
    assert_matches_api(engine, model, records)
    labels = [row[-1] for row in query_predictions(engine, model, records)]
    assert labels == ["it's", "it's", "B", "it's", "it's", "B", "it's", None]


@pytest.mark.slow
def test_model_sql_names_and_levels_with_any_characters_are_escaped(engine, manifest):
    features = [feature(name, "category", nullable=True) for name in NASTY]
    points = tuple(i / 7 for i in range(len(LEVELS)))
    terms = tuple(TableTerm(name, tuple(LEVELS), points, -1.0, -2.0) for name in NASTY)
    target = Target("late", "Late", ("it's not\\", "it's\nlate"), "it's\nlate")
    model = variant(manifest, features, LinearPredictor(0.0, terms), target=target)
    records = [
        dict.fromkeys(NASTY, None) | {name: text} for name in NASTY for text in [*LEVELS, "é "]
    ]
    assert_matches_api(engine, model, records)
    assert {row[1] for row in query_predictions(engine, model, records)} <= set(target.classes)


@pytest.mark.slow
def test_model_sql_many_levels_match_points(engine, manifest):
    rng = random.Random(9)
    texts = list(
        {
            f"{rng.choice('ABCé')}{rng.randrange(10**4)}{rng.choice(['', 'ü', 'x'])}"
            for _ in range(900)
        }
    )
    table = TableTerm("code", tuple(texts), tuple(rng.gauss() for _ in texts), 0.0, 0.5)
    model = variant(manifest, [feature("code", "category")], LinearPredictor(0.0, (table,)))
    assert_matches_api(engine, model, [{"code": text} for text in [*texts, "A", "", "Aü1", "zz"]])


@pytest.mark.parametrize(
    ("classes", "threshold", "label"),
    [(("yes", "no"), None, "yes"), (("no", "yes"), None, "no"), (("no", "yes"), 0.5, "yes")],
)
def test_model_sql_tie_returns_label_of_model(duckdb_engine, manifest, classes, threshold, label):
    target = Target("late", "Late", classes, "yes")
    model = variant(
        manifest,
        [feature("must")],
        LinearPredictor(0.0, (LINEAR,)),
        target=target,
        threshold=threshold,
    )
    assert query_predictions(duckdb_engine, model, [{"must": 0.0}]) == [(0.5, label)]


def test_model_sql_explain_contributions_add_up_to_log_odds(duckdb_engine, manifest):
    record = {field.name: field.example for field in manifest.signature.features}
    (row,) = query_predictions(duckdb_engine, manifest, [record], explain=True)
    probability, _, *parts = row
    assert math.isclose(math.fsum(parts), math.log(probability / (1 - probability)), rel_tol=1e-12)


def test_model_sql_sqlite_missing_column_raises_and_text_is_null(sqlite_engine, manifest):
    model = variant(manifest, [feature("must")], LinearPredictor(0.0, (LINEAR,), ()), target=VALUE)
    sqlite_engine.load("texts", pd.DataFrame({"id": [1], "must": ["NA"]}))
    sql = model_sql(model, table="texts", dialect="sqlite", key="id")
    assert sqlite_engine.query(sql) == [(1, None)]
    with pytest.raises(sqlite3.OperationalError, match="no such column"):
        sqlite_engine.query(sql.replace('"must"', '"wont"'))


def test_model_sql_sqlite_nocase_column_is_case_sensitive(sqlite_engine, manifest):
    table = TableTerm("must", ("a", "B"), (1.0, 2.0), 0.0, 0.0)
    model = variant(
        manifest, [feature("must", "category")], LinearPredictor(0.0, (table,), ()), target=VALUE
    )
    sqlite_engine.query("CREATE TABLE folded (must TEXT COLLATE NOCASE)")
    sqlite_engine.query("INSERT INTO folded VALUES ('A'), ('B')")
    actual = sqlite_engine.query(model_sql(model, table="folded", dialect="sqlite"))
    assert sorted(actual) == [(0.0,), (2.0,)]
