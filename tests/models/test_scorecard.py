"""Scorecards: the contributions and the intercept add up to the score."""

import math
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.models.scorecard import (
    CurveSumTerm,
    CurveTerm,
    LinearPredictor,
    Scorecard,
    SlopeTerm,
    StepTerm,
    TableTerm,
)
from slipway.models.stages import SIGMOID, Affine, Clip, Named, Pieces, sigmoid

BENT = CurveTerm(
    "depth",
    path=(Affine(subtract=1.0, divide=2.0), Clip(-3.0, 3.0)),
    pieces=Pieces((0.0,), (0.0, 0.0), ((0.5, 1.0), (0.5, 0.0, 0.25))),
    missing=0.3,
)
SUM = LinearPredictor(
    intercept=-1.25,
    terms=(
        TableTerm("colour", ("red", "green"), (0.5, -0.25), missing=0.1, unseen=0.75),
        SlopeTerm("speed", slope=0.3, origin=2.0, offset=-1.0, missing=0.2),
        StepTerm("age", edges=(10.0, 20.0), points=(-1.0, 0.0, 2.0), missing=0.4),
        BENT,
        CurveSumTerm("width", parts=(BENT, msgspec.structs.replace(BENT, path=())), missing=-0.1),
    ),
)
OTHER = msgspec.structs.replace(SUM, intercept=0.5)
numbers = st.one_of(st.none(), st.floats(-1e6, 1e6))
records = st.tuples(
    st.sampled_from(["red", "green", "blue", None]), numbers, numbers, numbers, numbers
)


@given(records)
def test_explain_contributions_sum_with_the_intercept_to_the_score(record):
    contributions = SUM.explain(record)
    assert list(contributions) == ["colour", "speed", "age", "depth", "width"]
    total = math.fsum([SUM.intercept, *contributions.values()])
    assert math.isclose(total, SUM.compile_score()(record), rel_tol=1e-12, abs_tol=1e-6)


@given(st.lists(records, min_size=1, max_size=5))
def test_column_score_equals_the_record_score_exactly(several):
    one = SUM.compile_score()
    assert SUM.compile_column_score()(several) == [one(record) for record in several]


@given(records)
def test_scorecard_json_round_trip_scores_the_same(record):
    card = Scorecard((SUM, OTHER, SUM), softmax=True)
    again = msgspec.json.decode(msgspec.json.encode(card), type=Scorecard)
    assert again == card
    assert again.compile_answers()([record]) == card.compile_answers()([record])


@given(records)
def test_softmax_probabilities_have_the_order_of_the_scores(record):
    (shares,) = Scorecard((SUM, OTHER, SUM), softmax=True).compile_answers()([record])
    assert math.isclose(math.fsum(shares), 1.0, rel_tol=1e-12)
    assert shares[1] >= shares[0] == shares[2]


@given(records)
def test_one_versus_rest_probabilities_are_normalized(record):
    (shares,) = Scorecard((SUM, OTHER, SUM)).compile_answers()([record])
    separate = [sigmoid(part.compile_score()(record)) for part in (SUM, OTHER, SUM)]
    total = math.fsum(separate)
    assert shares == (tuple(p / total for p in separate) if total else (1 / 3, 1 / 3, 1 / 3))


@pytest.mark.parametrize(
    ("link", "answer"), [(SIGMOID, sigmoid(-1.25)), ((), -1.25), ((Named("exp"),), math.exp(-1.25))]
)
def test_link_turns_the_score_into_the_prediction(link, answer):
    card = Scorecard((LinearPredictor(-1.25, (), link),))
    assert card.compile_answers()([()]) == [answer]
    assert card.is_log_odds == (link == SIGMOID)


@pytest.mark.parametrize(
    ("age", "points"),
    [(9.999, -1.0), (10.0, 0.0), (19.999, 0.0), (20.0, 2.0), (1e300, 2.0), (None, 0.4)],
)
def test_step_term_edge_belongs_to_the_interval_above(age, points):
    assert SUM.explain(("red", 0.0, age, 0.0, 0.0))["age"] == points


@pytest.mark.parametrize(
    ("depth", "points"), [(1.0, 0.5), (-1.0, -0.5), (-99.0, -2.5), (5.0, 1.5), (None, 0.3)]
)
def test_curve_term_applies_path_then_pieces(depth, points):
    assert SUM.explain(("red", 0.0, 0.0, depth, 0.0))["depth"] == points


def test_curve_sum_term_adds_curves_and_has_one_missing_value():
    assert SUM.explain(("red", 0.0, 0.0, 0.0, 3.0))["width"] == 0.75 + 2.75
    assert SUM.explain(("red", 0.0, 0.0, 0.0, None))["width"] == -0.1


def test_table_term_missing_and_unseen_values_have_separate_points():
    assert SUM.explain((None, 0.0, 0.0, 0.0, 0.0))["colour"] == 0.1
    assert SUM.explain(("blue", 0.0, 0.0, 0.0, 0.0))["colour"] == 0.75


@pytest.mark.parametrize("log_odds", [-math.inf, -1e308, -750.0, 0.0, 750.0, 1e308, math.inf])
def test_sigmoid_extreme_log_odds_stay_between_zero_and_one(log_odds):
    assert 0.0 <= sigmoid(log_odds) <= 1.0


@given(st.floats(-700, 700))
def test_sigmoid_is_the_inverse_of_the_logit(log_odds):
    p, q = sigmoid(log_odds), sigmoid(-log_odds)
    assert math.isclose(p + q, 1.0, rel_tol=1e-15)
    assert math.isclose(math.log(p) - math.log(q), log_odds, rel_tol=1e-12, abs_tol=1e-12)


def test_score_order_of_records_does_not_matter():
    draw = random.Random(0)
    records = [(draw.choice(["red", "x"]), *(draw.random() for _ in range(4))) for _ in range(50)]
    score = SUM.compile_score()
    assert [score(r) for r in records] == [score(r) for r in reversed(records)][::-1]
