"""A small problem over two tables: whether a parcel arrives late."""

import csv
import random

from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from slipway.data.problem import Problem
from slipway.models.features import Feature, Target

QUERY = """
SELECT
    d.name AS depot,
    p.weight,
    p.stops,
    p.late,
    p.number,
    p.day
FROM parcels AS p
LEFT JOIN depots AS d ON d.id = p.depot
ORDER BY p.number
"""
COLUMNS = {
    "parcels": ("number", "day", "depot", "weight", "stops", "late"),
    "depots": ("id", "name"),
}
DEPOTS = [(1, "north"), (2, "south"), (3, "west")]


def parcels(n_rows, seed=0):
    """Return parcels, five a day; heavy ones with many stops are late more often."""
    draw = random.Random(seed)
    rows = []
    for number in range(n_rows):
        weight = round(draw.uniform(0.1, 30.0), 1)
        stops = draw.randint(1, 9)
        late = int(draw.random() < (weight + 3 * stops) / 60)
        day = f"2026-{1 + number // 140 % 12:02}-{1 + number // 5 % 28:02}"
        rows.append((number, day, draw.choice(DEPOTS)[0], weight, stops, late))
    return rows


def write_tables(folder, rows, depots=DEPOTS):
    """Write the tables as CSV files; None is an empty cell."""
    folder.mkdir(exist_ok=True)
    for name, table in (("parcels", rows), ("depots", depots)):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([COLUMNS[name], *table])
    return folder


def pipeline():
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["depot"]),
        (make_pipeline(SimpleImputer(), StandardScaler()), ["weight", "stops"]),
    )
    return make_pipeline(columns, LogisticRegression(solver="newton-cholesky", tol=1e-10))


def own_tables(scratch):
    folder = write_tables(scratch / "tables", parcels(2_000))
    return {name: folder / f"{name}.csv" for name in COLUMNS}


PROBLEM = Problem(
    name="parcels",
    title="Will the parcel arrive late?",
    source="made up for tests",
    tables=("parcels", "depots"),
    read_tables=own_tables,
    query=QUERY,
    key=("number",),
    features=(
        Feature("depot", "category", "Where it starts", "north"),
        Feature("weight", "number", "Weight", 2.5, unit="kg", minimum=0, maximum=40, nullable=True),
        Feature("stops", "integer", "Stops on the way", 3, minimum=1, maximum=20),
    ),
    target=Target("late", "Arrives after the day promised", ("on time", "late"), "late"),
    target_column="late",
    unlabelled="not yet arrived",
    order_column="number",
    time_split=1_500,
    slices=("depot",),
    pipeline=pipeline,
    labels=lambda ask: {
        "depot": {name: name.title() for (name,) in ask("SELECT name FROM depots")}
    },
    group_column="day",
    watermark_column="day",
)
