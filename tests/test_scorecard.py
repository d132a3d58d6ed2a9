"""The scorecard's law: the contributions and the intercept are the log-odds."""

import math
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.scorecard import Scorecard, Slope, Steps, Table, probability

CARD = Scorecard(
    intercept=-1.25,
    terms=(
        Table("colour", ("red", "green"), (0.5, -0.25), missing=0.1, unseen=0.75),
        Slope("speed", slope=0.3, offset=-1.0, missing=0.2),
        Steps("age", edges=(10.0, 20.0), points=(-1.0, 0.0, 2.0), missing=0.4),
    ),
)
records = st.tuples(
    st.sampled_from(["red", "green", "blue", None]),
    st.one_of(st.none(), st.floats(-1e6, 1e6)),
    st.one_of(st.none(), st.floats(-1e6, 1e6)),
)


@given(records)
def test_explain_contributions_sum_with_the_intercept_to_the_log_odds(record):
    contributions = CARD.explain(record)
    assert list(contributions) == ["colour", "speed", "age"]
    total = math.fsum([CARD.intercept, *contributions.values()])
    assert math.isclose(total, CARD.scorer()(record), rel_tol=1e-12, abs_tol=1e-12)


@given(records)
def test_scorecard_json_round_trip_scores_the_same(record):
    again = msgspec.json.decode(msgspec.json.encode(CARD), type=Scorecard)
    assert again == CARD
    assert again.scorer()(record) == CARD.scorer()(record)


@pytest.mark.parametrize(
    ("age", "points"),
    [(9.999, -1.0), (10.0, 0.0), (19.999, 0.0), (20.0, 2.0), (1e300, 2.0), (None, 0.4)],
)
def test_steps_edge_belongs_to_the_interval_above(age, points):
    assert CARD.explain(("red", 0.0, age))["age"] == points


def test_table_missing_and_unseen_values_have_points_of_their_own():
    assert CARD.explain((None, 0.0, 0.0))["colour"] == 0.1
    assert CARD.explain(("blue", 0.0, 0.0))["colour"] == 0.75


@pytest.mark.parametrize("log_odds", [-math.inf, -1e308, -750.0, 0.0, 750.0, 1e308, math.inf])
def test_probability_extreme_log_odds_stay_between_zero_and_one(log_odds):
    assert 0.0 <= probability(log_odds) <= 1.0


@given(st.floats(-700, 700))
def test_probability_is_the_inverse_of_the_logit(log_odds):
    p, q = probability(log_odds), probability(-log_odds)
    assert math.isclose(p + q, 1.0, rel_tol=1e-15)
    assert math.isclose(math.log(p) - math.log(q), log_odds, rel_tol=1e-12, abs_tol=1e-12)


def test_scorer_scores_in_any_order_alike():
    draw = random.Random(0)
    records = [(draw.choice(["red", "x"]), draw.random(), draw.random()) for _ in range(50)]
    score = CARD.scorer()
    assert [score(r) for r in records] == [score(r) for r in reversed(records)][::-1]
