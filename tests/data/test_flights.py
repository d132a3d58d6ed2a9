"""The shipped problem: rows, rows without target, joins, rare categories."""

import pickle
from dataclasses import replace

import duckdb
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from flights import PROBLEM
from flights.tables import read_tables
from slipway.core.errors import SlipwayError
from slipway.data.etl.run import default_dataset, run_etl
from slipway.data.problem_loading import load_problem

DOUBLED = "FROM departures AS f CROSS JOIN (VALUES (1), (2)) AS twice (copy)"
AFTERWARDS = {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"}


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    return read_tables(tmp_path_factory.mktemp("raw"))


@pytest.fixture(scope="module")
def flights(tables):
    return pd.read_csv(tables["flights"])


def test_flights_counts_add_up(rows, stored, flights):
    manifest = stored.manifest
    assert manifest.rows_read == len(flights) == 336_776
    assert list(manifest.left_out.values()) == [9_430]
    assert manifest.quarantined == {}
    assert len(rows.X) == len(rows.y) == manifest.rows == manifest.rows_read - 9_430 == 327_346
    assert list(rows.X) == [feature.name for feature in PROBLEM.features]


def test_flights_target_is_delay_of_15_minutes_or_more(rows, flights):
    delays = flights["arr_delay"].dropna()
    assert rows.y.sum() == (delays >= 15).sum()
    assert set(rows.y) == {0, 1}


def test_flights_features_are_known_before_departure():
    assert not AFTERWARDS & {feature.name for feature in PROBLEM.features}


def test_flights_values_match_raw_tables(rows, flights):
    flown = flights.dropna(subset=["arr_delay"])
    for name in ("carrier", "origin", "dest"):
        assert rows.X[name].value_counts().to_dict() == flown[name].value_counts().to_dict()
    assert rows.X["distance"].sum() == flown["distance"].sum()
    hours = rows.X["departure_hour"].value_counts().to_dict()
    assert hours == flown["hour"].value_counts().to_dict()
    days = pd.to_datetime(flown[["year", "month", "day"]]).dt.dayofweek + 1
    assert rows.X["day_of_week"].value_counts().to_dict() == days.value_counts().to_dict()


def test_flights_weather_is_joined_by_utc_hour(rows, flights, tables):
    weather = pd.read_csv(tables["weather"])
    local = ["origin", "year", "month", "day", "hour"]
    # The local hour is not a key: it occurs twice when summer time ends.
    assert weather.duplicated(local).sum() == 3
    assert not weather.duplicated(["origin", "time_hour"]).any()
    flown = flights.dropna(subset=["arr_delay"])
    joined = flown.merge(weather, on=["origin", "time_hour"], how="left")
    assert len(joined) == len(rows.X)
    for ours, theirs in (("temperature", "temp"), ("visibility", "visib")):
        assert rows.X[ours].isna().sum() == joined[theirs].isna().sum() > 0
        assert np.isclose(rows.X[ours].sum(), joined[theirs].sum())


def test_flights_unknown_planes_have_missing_values(rows):
    assert 0.1 < rows.X["seats"].isna().mean() < 0.2
    assert rows.X["plane_year"].isna().mean() > rows.X["seats"].isna().mean()


def test_flights_second_run_returns_same_rows(stored):
    with default_dataset(PROBLEM) as again:
        assert again.manifest.data_sha256 == stored.manifest.data_sha256


def test_flights_rare_destinations_share_points(rows, manifest):
    (dest,) = (term for term in manifest.scorecard.sums[0].terms if term.feature == "dest")
    points = dict(zip(dest.levels, dest.points, strict=True))
    counts = rows.X["dest"].value_counts()
    assert counts["LEX"] == 1
    rare = {points[code] for code in counts[counts < 80].index if code in points}
    # Rare and unseen destinations share one column of the encoder, and so their points.
    assert rare == {dest.unseen}
    assert max(abs(p) for p in dest.points) < 1


def test_flights_evaluation_meets_requirements(manifest):
    holdout, later = (manifest.evaluations[name] for name in ("holdout", "time"))
    assert holdout.rows_fit + holdout.rows_test == later.rows_fit + later.rows_test == 327_346
    ours, boosted = holdout.scores["model"], holdout.scores["gradient boosting"]
    assert ours.roc_auc >= 0.727
    assert ours.calibration_error < 0.01
    assert ours.roc_auc < boosted.roc_auc
    assert later.scores["model"].roc_auc > 0.68
    assert later.scores["model"].log_loss < later.scores["base rate"].log_loss


def test_flights_query_multiplying_rows_raises_error(tmp_path):
    twice = replace(PROBLEM, query=PROBLEM.query.replace("FROM departures AS f", DOUBLED))
    with pytest.raises(SlipwayError, match="673,552 rows for the 336,776 of flights"):
        run_etl(twice, None, tmp_path)


def test_flights_query_weekdays_match_calendar():
    with duckdb.connect() as connection:
        days = connection.execute(
            "SELECT 1 + (DATE_DIFF('day', DATE '2013-01-07', d) + 364) % 7 FROM "
            "(SELECT UNNEST(GENERATE_SERIES(DATE '2013-01-01', DATE '2013-12-31', "
            "INTERVAL 1 DAY))::DATE AS d)"
        ).fetchall()
    expected = pd.date_range("2013-01-01", "2013-12-31").dayofweek + 1
    assert [day for (day,) in days] == list(expected)


@pytest.mark.parametrize("name", ["no_such_module", "json"])
def test_load_problem_module_without_problem_raises_error_naming_it(name):
    with pytest.raises(SlipwayError, match=name):
        load_problem(name)


def test_flights_signature_unseen_text_matches_encoder(manifest):
    pipeline = pickle.loads((ROOT / "model.pkl").read_bytes())
    encoder = pipeline["columns"].named_transformers_["category"]
    assert encoder.handle_unknown == "infrequent_if_exist"
    merged = dict(zip(encoder.feature_names_in_, encoder.infrequent_categories_, strict=True))
    for feature in manifest.signature.features:
        if feature.categories:
            counts_as_rare = "counts as one of the rare ones" in feature.unseen
            assert counts_as_rare == (merged[feature.name] is not None)
