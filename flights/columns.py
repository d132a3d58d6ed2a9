"""The columns of the query, with descriptions and units."""

from __future__ import annotations

import calendar
from collections.abc import Mapping

from slipway.data.problem import RunQuery
from slipway.models.features import Feature, Target

# Effects of the encoder's handle_unknown="infrequent_if_exist"; the texts are in model.json.
RARE = "it counts as one of the rare ones, those with fewer than 100 flights"
NONE_RARE = "since none is rare enough to stand for it, no category's points are added"

FEATURES = (
    Feature("carrier", "category", "Airline, by its two-character code", "UA", unseen=RARE),
    Feature(
        "origin",
        "category",
        "New York airport that the flight leaves from",
        "EWR",
        unseen=NONE_RARE,
    ),
    Feature("dest", "category", "Airport that the flight goes to", "ORD", unseen=RARE),
    Feature(
        "departure_period",
        "category",
        "Month and part of the day of the scheduled departure, local time: early until 8, "
        "morning until 12, midday until 16, afternoon until 19, then evening",
        "07-afternoon",
        unseen=NONE_RARE,
    ),
    Feature(
        "departure_hour",
        "integer",
        "Hour of the scheduled departure, local time",
        17,
        minimum=0,
        maximum=23,
        unseen=NONE_RARE,
    ),
    Feature(
        "day_of_week",
        "integer",
        "Day of the scheduled departure, Monday is 1",
        5,
        minimum=1,
        maximum=7,
        unseen=NONE_RARE,
    ),
    Feature(
        "distance",
        "number",
        "Distance between the two airports",
        719,
        unit="miles",
        minimum=0,
        maximum=12_500,
    ),
    Feature(
        "departures_in_hour",
        "integer",
        "Flights scheduled to leave the same airport in the same hour, this one included",
        22,
        unit="flights",
        minimum=1,
        maximum=500,
    ),
    Feature(
        "temperature",
        "number",
        "Air temperature at the origin",
        84.2,
        unit="°F",
        minimum=-80,
        maximum=140,
        nullable=True,
    ),
    Feature(
        "wind_speed",
        "number",
        "Mean wind speed at the origin",
        12.7,
        unit="mph",
        minimum=0,
        maximum=250,
        nullable=True,
    ),
    Feature(
        "wind_direction",
        "number",
        "Direction that the wind comes from at the origin",
        220,
        unit="degrees",
        minimum=0,
        maximum=360,
        nullable=True,
    ),
    Feature(
        "visibility",
        "number",
        "Visibility at the origin; the stations report no more than 10",
        10.0,
        unit="miles",
        minimum=0,
        maximum=100,
        nullable=True,
    ),
    Feature(
        "precipitation",
        "number",
        "Rain or melted snow at the origin in the hour",
        0.0,
        unit="inches",
        minimum=0,
        maximum=20,
        nullable=True,
    ),
    Feature(
        "precipitation_6h",
        "number",
        "Rain or melted snow at the origin in the hour and the five before it",
        0.02,
        unit="inches",
        minimum=0,
        maximum=60,
        nullable=True,
    ),
    Feature(
        "pressure_change_6h",
        "number",
        "Change of the air pressure at the origin over six hours",
        -2.1,
        unit="millibars",
        minimum=-100,
        maximum=100,
        nullable=True,
    ),
    Feature(
        "plane_year",
        "integer",
        "Year in which the plane was built",
        1999,
        minimum=1900,
        maximum=2100,
        nullable=True,
    ),
    Feature(
        "seats",
        "integer",
        "Seats of the plane",
        178,
        unit="seats",
        minimum=1,
        maximum=1_000,
        nullable=True,
    ),
)

TARGET = Target(
    "late",
    "Arrives 15 or more minutes after schedule, the US Department of Transportation's "
    "definition of late",
    ("on time", "late"),
    "late",
)


def labels(run_query: RunQuery) -> Mapping[str, Mapping[str, str]]:
    """Return display names of airlines, airports, periods, hours and days.

    Parameters
    ----------
    run_query : callable
        Takes a query on the raw tables and returns its rows.

    Returns
    -------
    mapping of str to mapping of str to str
        Display names by feature and category.
    """
    airports: dict[str, str] = dict(run_query("SELECT faa, name FROM airports"))
    periods = {
        f"{month:02}-{part}": f"{calendar.month_name[month]}, {part}"
        for month in range(1, 13)
        for part in ("early", "morning", "midday", "afternoon", "evening")
    }
    hours = {str(hour): f"{hour:02}:00 to {hour:02}:59" for hour in range(24)}
    days = {str(i + 1): day for i, day in enumerate(calendar.day_name)}
    return {
        "carrier": dict(run_query("SELECT carrier, name FROM airlines")),
        "origin": airports,
        "dest": airports,
        "departure_period": periods,
        "departure_hour": hours,
        "day_of_week": days,
    }
