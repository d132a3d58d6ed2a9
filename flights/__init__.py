"""The shipped problem: whether a flight leaving New York arrives 15 or more minutes late."""

from importlib.resources import files

from flights.columns import FEATURES, TARGET, labels
from flights.pipeline import make_pipeline
from flights.tables import NAMES, SOURCE, read_tables
from slipway.data.problem import Problem

PROBLEM = Problem(
    name="flights",
    title="Will a flight leaving New York arrive late?",
    source=SOURCE,
    tables=NAMES,
    read_tables=read_tables,
    query=files("flights").joinpath("query.sql").read_text(encoding="utf-8"),
    key=("carrier", "flight", "origin", "hour_id"),
    features=FEATURES,
    target=TARGET,
    target_column="late",
    unlabelled="cancelled or diverted, so that there is no arrival delay",
    order_column="month",
    group_column="local_date",
    watermark_column="local_date",
    time_split=10,
    slices=("origin", "carrier", "day_of_week"),
    pipeline=make_pipeline,
    labels=labels,
    public_rows=True,
)
