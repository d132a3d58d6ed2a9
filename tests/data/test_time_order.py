"""Rows in time: order, time split and watermark as numbers, texts, dates and times."""

import sqlite3
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone

import duckdb
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_problem import COLUMNS, DEPOTS, PROBLEM, parcels

from slipway.core.errors import SlipwayError
from slipway.data.dataset import open_dataset
from slipway.data.etl.run import run_etl
from slipway.data.etl.time_order import in_test_period
from slipway.training.frames import read_rows
from slipway.training.splits import require_split

pytest_plugins = ["engines"]
N_ROWS = 400
START = datetime(2026, 1, 1)
EVERY = timedelta(hours=5, seconds=1, milliseconds=500)
MOMENTS = [START + i * EVERY for i in range(N_ROWS)]
LATER = 300
QUERY = PROBLEM.query.replace("p.day", 'p.day, p."mark"')
# What stands in the column, and values of time_split that all mean row 300.
MARKS = {
    "integer": ([i - 100 for i in range(N_ROWS)], [200, 199.5]),
    "fraction": ([i / 4 - 10 for i in range(N_ROWS)], [65, 65.0, 64.9]),
    "text": ([f"{'Ba'[i // 200]}-{i:04}" for i in range(N_ROWS)], ["a-0300", "a-02999"]),
    "date": (
        [date(2026, 1, 1) + timedelta(days=i) for i in range(N_ROWS)],
        [date(2026, 10, 28), datetime(2026, 10, 28), "2026-10-28", "2026-10-27T12:00:00Z"],
    ),
    "time": (
        MOMENTS,
        [
            MOMENTS[LATER],
            MOMENTS[LATER].isoformat(),
            str(MOMENTS[LATER]),
            MOMENTS[LATER].replace(tzinfo=UTC).astimezone(timezone(timedelta(hours=2))),
        ],
    ),
}


def tables(marks):
    rows = [row for i, row in enumerate(parcels(N_ROWS)) if i < len(marks)]
    frame = pd.DataFrame(rows, columns=COLUMNS["parcels"])
    frame["mark"] = pd.Series(marks, dtype=object if isinstance(marks[0], date) else None)
    return {"parcels": frame, "depots": pd.DataFrame(DEPOTS, columns=COLUMNS["depots"])}


def as_files(folder, marks):
    folder.mkdir(exist_ok=True)
    for name, frame in tables(marks).items():
        frame.to_csv(folder / f"{name}.csv", index=False)
    return str(folder)


def as_sqlite(folder, marks):
    folder.mkdir(exist_ok=True)
    with sqlite3.connect(folder / "own.db") as connection:
        for name, frame in tables(marks).items():
            if name == "parcels" and isinstance(marks[0], date):
                frame["mark"] = frame["mark"].map(lambda moment: moment.isoformat())
            frame.to_sql(name, connection, index=False, if_exists="replace")
    connection.close()
    return f"sqlite:///{folder / 'own.db'}"


def problem_of(split):
    return replace(
        PROBLEM, query=QUERY, order_column="mark", watermark_column="mark", time_split=split
    )


@pytest.mark.parametrize("write", [as_files, as_sqlite])
@pytest.mark.parametrize("kind", MARKS)
def test_time_split_of_any_type_parts_rows_at_the_same_place(tmp_path, kind, write):
    marks, splits = MARKS[kind]
    url = write(tmp_path / "source", marks)
    for split in splits:
        problem = problem_of(split)
        run_etl(problem, url, tmp_path / "rows")
        stored = open_dataset(tmp_path / "rows")
        rows = read_rows(problem, stored)
        require_split(problem, stored)
        assert rows.late.tolist() == [i >= LATER for i in range(N_ROWS)]


@pytest.mark.parametrize("write", [as_files, as_sqlite])
@pytest.mark.parametrize("kind", MARKS)
def test_watermark_of_any_type_gives_in_pieces_what_one_run_gives(
    tmp_path, kind, write, monkeypatch
):
    monkeypatch.setattr("slipway.data.etl.parquet_writer.PART_ROWS", 60)
    marks, splits = MARKS[kind]
    problem = problem_of(splits[0])
    for end in (150, 151, 310, N_ROWS):
        url = write(tmp_path / "source", marks[:end])
        told = run_etl(problem, url, tmp_path / "rows", since="last" if end > 150 else None)
    whole = run_etl(problem, url, tmp_path / "whole")
    assert told.data_sha256 == whole.data_sha256
    assert (told.rows_read, told.rows) == (N_ROWS, N_ROWS)
    again = run_etl(problem, url, tmp_path / "rows", since=str(marks[200]))
    assert again.data_sha256 == whole.data_sha256
    assert again.parts[0] == told.parts[0]


@pytest.mark.slow
@pytest.mark.parametrize("kind", MARKS)
def test_watermark_and_time_split_hold_on_postgres(tmp_path, kind, monkeypatch, postgres_engine):
    monkeypatch.setattr("slipway.data.etl.parquet_writer.PART_ROWS", 60)
    types = {"integer": "BIGINT", "fraction": "DOUBLE PRECISION", "text": "TEXT", "date": "DATE"}
    marks, splits = MARKS[kind]
    ((host, user),) = postgres_engine.query(
        "SELECT current_setting('unix_socket_directories'), current_user"
    )
    url = f"postgresql://{user}@/postgres?host={host}"
    for end in (150, 310, N_ROWS):
        for name, frame in tables(marks[:end]).items():
            if "mark" in frame:
                frame["mark"] = frame["mark"].map(
                    lambda mark: mark if isinstance(mark, int | float) else str(mark)
                )
            postgres_engine.load(name, frame)
        change = f"ALTER TABLE parcels ALTER mark TYPE {types.get(kind, 'TIMESTAMP')}"
        if kind in ("date", "time"):
            change += f" USING mark::{types.get(kind, 'TIMESTAMP')}"
        with pytest.MonkeyPatch.context():
            import psycopg

            with psycopg.connect(f"host={host} user={user} dbname=postgres") as connection:
                connection.execute(change)
        since = "last" if end > 150 else None
        told = run_etl(problem_of(splits[0]), url, tmp_path / "rows", since=since)
    own = run_etl(problem_of(splits[0]), as_files(tmp_path / "files", marks), tmp_path / "whole")
    assert told.data_sha256 == own.data_sha256
    for split in splits:
        rows = read_rows(problem_of(split), open_dataset(tmp_path / "rows"))
        assert rows.late.tolist() == [i >= LATER for i in range(N_ROWS)]


@pytest.mark.parametrize(
    ("kind", "split", "due"),
    [
        ("integer", "200", "time_split is a text, '200', and order_column mark holds -100"),
        ("integer", date(2026, 1, 1), "time_split is a date, '2026-01-01', and .* holds -100"),
        ("text", 3, "time_split is a number, '3', and order_column mark holds 'B-0000'"),
        ("text", date(2026, 1, 1), "time_split is a date.*holds 'B-0"),
        ("date", 2026, "time_split is a number, '2026', and order_column mark holds '2026-01-01'"),
    ],
)
def test_time_split_of_another_type_is_rejected_by_etl(tmp_path, kind, split, due):
    url = as_files(tmp_path / "source", MARKS[kind][0])
    with pytest.raises(SlipwayError, match=due):
        run_etl(problem_of(split), url, tmp_path / "rows")


@pytest.mark.parametrize(
    ("kind", "since", "due"),
    [
        ("integer", "2026-01-01", "--since 2026-01-01 is not a number, as the watermark mark is"),
        ("date", "1.2.2026", "--since 1.2.2026 is not a date such as 2026-01-31"),
        ("time", "last week", "--since last week is not a date"),
    ],
)
def test_since_of_another_type_raises_error(tmp_path, kind, since, due):
    marks, splits = MARKS[kind]
    url = as_files(tmp_path / "source", marks)
    run_etl(problem_of(splits[0]), url, tmp_path / "rows")
    with pytest.raises(SlipwayError, match=due):
        run_etl(problem_of(splits[0]), url, tmp_path / "rows", since=since)


@pytest.mark.parametrize(("split", "due"), [(5_000, "from"), (-5_000, "before")])
def test_time_split_beyond_all_rows_raises_error(tmp_path, split, due):
    problem = problem_of(split)
    run_etl(problem, as_files(tmp_path / "source", MARKS["integer"][0]), tmp_path / "rows")
    with pytest.raises(SlipwayError, match=f"time_split {split} leaves 0 rows {due} it"):
        require_split(problem, open_dataset(tmp_path / "rows"))


ZONES = st.sampled_from([UTC, timezone(timedelta(hours=-5)), timezone(timedelta(hours=9))])
WITHIN = {"min_value": datetime(2, 1, 1), "max_value": datetime(9998, 12, 31)}
TIMES = st.datetimes(**WITHIN, timezones=ZONES) | st.datetimes(**WITHIN) | st.dates()


@given(st.lists(TIMES, min_size=1), TIMES)
def test_moments_compare_as_moments_however_they_are_written(moments, split):
    def moment(value):
        if not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day)
        return value if value.tzinfo else value.replace(tzinfo=UTC)

    due = [moment(each) >= moment(split) for each in moments]
    texts = pl.Series([str(each) for each in moments])
    isos = pl.Series([each.isoformat() for each in moments])
    for column in (texts, isos):
        for given_split in (split, split.isoformat(), str(split)):
            problem = replace(PROBLEM, time_split=given_split)
            assert in_test_period(problem, column).to_list() == due


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+09:00", "9999-12-31T23:59:59-05:00"])
def test_moment_on_the_edge_of_the_calendar_compares(text):
    problem = replace(PROBLEM, time_split=datetime.fromisoformat(text))
    assert in_test_period(problem, pl.Series([text, "2026-01-01"])).to_list() == [
        True,
        text[0] == "0",
    ]


def test_headers_in_capitals_are_the_columns_that_the_problem_names(tmp_path):
    folder = tmp_path / "source"
    url = as_files(folder, MARKS["date"][0])
    lower = run_etl(problem_of("2026-10-28"), url, tmp_path / "lower")
    for file in folder.iterdir():
        duckdb.sql(f"FROM '{file}'").df().rename(columns=str.upper).to_csv(file, index=False)
    upper = run_etl(problem_of("2026-10-28"), url, tmp_path / "upper")
    assert upper.data_sha256 == lower.data_sha256
