"""Time split and watermark as numbers, texts, dates and times."""

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
# Values of the column by kind, with equivalent values of time_split for row 300.
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


def make_tables(marks):
    rows = [row for i, row in enumerate(parcels(N_ROWS)) if i < len(marks)]
    frame = pd.DataFrame(rows, columns=COLUMNS["parcels"])
    frame["mark"] = pd.Series(marks, dtype=object if isinstance(marks[0], date) else None)
    return {"parcels": frame, "depots": pd.DataFrame(DEPOTS, columns=COLUMNS["depots"])}


def write_files(folder, marks):
    folder.mkdir(exist_ok=True)
    for name, frame in make_tables(marks).items():
        frame.to_csv(folder / f"{name}.csv", index=False)
    return str(folder)


def write_sqlite(folder, marks):
    folder.mkdir(exist_ok=True)
    with sqlite3.connect(folder / "own.db") as connection:
        for name, frame in make_tables(marks).items():
            if name == "parcels" and isinstance(marks[0], date):
                frame["mark"] = frame["mark"].map(lambda to_utc: to_utc.isoformat())
            frame.to_sql(name, connection, index=False, if_exists="replace")
    connection.close()
    return f"sqlite:///{folder / 'own.db'}"


def make_problem(split):
    return replace(
        PROBLEM, query=QUERY, order_column="mark", watermark_column="mark", time_split=split
    )


@pytest.mark.parametrize("write", [write_files, write_sqlite])
@pytest.mark.parametrize("kind", MARKS)
def test_time_split_any_type_splits_rows_at_same_place(tmp_path, kind, write):
    marks, splits = MARKS[kind]
    url = write(tmp_path / "source", marks)
    for split in splits:
        problem = make_problem(split)
        run_etl(problem, url, tmp_path / "rows")
        stored = open_dataset(tmp_path / "rows")
        rows = read_rows(problem, stored)
        require_split(problem, stored)
        assert rows.late.tolist() == [i >= LATER for i in range(N_ROWS)]


@pytest.mark.parametrize("write", [write_files, write_sqlite])
@pytest.mark.parametrize("kind", MARKS)
def test_watermark_any_type_incremental_runs_equal_single_run(tmp_path, kind, write, monkeypatch):
    monkeypatch.setattr("slipway.data.etl.parquet_writer.PART_ROWS", 60)
    marks, splits = MARKS[kind]
    problem = make_problem(splits[0])
    for end in (150, 151, 310, N_ROWS):
        url = write(tmp_path / "source", marks[:end])
        manifest = run_etl(problem, url, tmp_path / "rows", since="last" if end > 150 else None)
    single_run = run_etl(problem, url, tmp_path / "whole")
    assert manifest.data_sha256 == single_run.data_sha256
    assert (manifest.rows_read, manifest.rows) == (N_ROWS, N_ROWS)
    reread = run_etl(problem, url, tmp_path / "rows", since=str(marks[200]))
    assert reread.data_sha256 == single_run.data_sha256
    assert reread.parts[0] == manifest.parts[0]


@pytest.mark.slow
@pytest.mark.parametrize("kind", MARKS)
def test_time_columns_on_postgres_match_files(tmp_path, kind, monkeypatch, postgres_engine):
    monkeypatch.setattr("slipway.data.etl.parquet_writer.PART_ROWS", 60)
    types = {"integer": "BIGINT", "fraction": "DOUBLE PRECISION", "text": "TEXT", "date": "DATE"}
    marks, splits = MARKS[kind]
    ((host, user),) = postgres_engine.query(
        "SELECT current_setting('unix_socket_directories'), current_user"
    )
    url = f"postgresql://{user}@/postgres?host={host}"
    for end in (150, 310, N_ROWS):
        for name, frame in make_tables(marks[:end]).items():
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
        manifest = run_etl(make_problem(splits[0]), url, tmp_path / "rows", since=since)
    from_files = run_etl(
        make_problem(splits[0]), write_files(tmp_path / "files", marks), tmp_path / "whole"
    )
    assert manifest.data_sha256 == from_files.data_sha256
    for split in splits:
        rows = read_rows(make_problem(split), open_dataset(tmp_path / "rows"))
        assert rows.late.tolist() == [i >= LATER for i in range(N_ROWS)]


@pytest.mark.parametrize(
    ("kind", "split", "expected"),
    [
        ("integer", "200", "time_split is a text, '200', but order_column mark has the value -100"),
        (
            "integer",
            date(2026, 1, 1),
            "time_split is a date, '2026-01-01', but .* the value -100",
        ),
        ("text", 3, "time_split is a number, '3', but order_column mark has the value 'B-0000'"),
        ("text", date(2026, 1, 1), "time_split is a date.*has the value 'B-0"),
        (
            "date",
            2026,
            "time_split is a number, '2026', but .* has the value '2026-01-01'",
        ),
    ],
)
def test_time_split_other_type_raises_error(tmp_path, kind, split, expected):
    url = write_files(tmp_path / "source", MARKS[kind][0])
    with pytest.raises(SlipwayError, match=expected):
        run_etl(make_problem(split), url, tmp_path / "rows")


@pytest.mark.parametrize(
    ("kind", "since", "expected"),
    [
        ("integer", "2026-01-01", "--since 2026-01-01 is not a number, as the watermark mark is"),
        ("date", "1.2.2026", "--since 1.2.2026 is not a date such as 2026-01-31"),
        ("time", "last week", "--since last week is not a date"),
    ],
)
def test_since_other_type_raises_error(tmp_path, kind, since, expected):
    marks, splits = MARKS[kind]
    url = write_files(tmp_path / "source", marks)
    run_etl(make_problem(splits[0]), url, tmp_path / "rows")
    with pytest.raises(SlipwayError, match=expected):
        run_etl(make_problem(splits[0]), url, tmp_path / "rows", since=since)


@pytest.mark.parametrize(("split", "expected"), [(5_000, "from"), (-5_000, "before")])
def test_time_split_outside_all_rows_raises_error(tmp_path, split, expected):
    problem = make_problem(split)
    run_etl(problem, write_files(tmp_path / "source", MARKS["integer"][0]), tmp_path / "rows")
    with pytest.raises(SlipwayError, match=f"time_split {split} leaves 0 rows {expected} it"):
        require_split(problem, open_dataset(tmp_path / "rows"))


ZONES = st.sampled_from([UTC, timezone(timedelta(hours=-5)), timezone(timedelta(hours=9))])
WITHIN = {"min_value": datetime(2, 1, 1), "max_value": datetime(9998, 12, 31)}
TIMES = st.datetimes(**WITHIN, timezones=ZONES) | st.datetimes(**WITHIN) | st.dates()


@given(st.lists(TIMES, min_size=1), TIMES)
def test_times_in_any_format_compare_in_time_order(moments, split):
    def to_utc(value):
        if not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day)
        return value if value.tzinfo else value.replace(tzinfo=UTC)

    expected = [to_utc(value) >= to_utc(split) for value in moments]
    texts = pl.Series([str(value) for value in moments])
    isos = pl.Series([value.isoformat() for value in moments])
    for column in (texts, isos):
        for given_split in (split, split.isoformat(), str(split)):
            problem = replace(PROBLEM, time_split=given_split)
            assert in_test_period(problem, column).to_list() == expected


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+09:00", "9999-12-31T23:59:59-05:00"])
def test_time_at_calendar_limit_compares(text):
    problem = replace(PROBLEM, time_split=datetime.fromisoformat(text))
    assert in_test_period(problem, pl.Series([text, "2026-01-01"])).to_list() == [
        True,
        text[0] == "0",
    ]


def test_upper_case_headers_match_problem_columns(tmp_path):
    folder = tmp_path / "source"
    url = write_files(folder, MARKS["date"][0])
    lower = run_etl(make_problem("2026-10-28"), url, tmp_path / "lower")
    for file in folder.iterdir():
        duckdb.sql(f"FROM '{file}'").df().rename(columns=str.upper).to_csv(file, index=False)
    upper = run_etl(make_problem("2026-10-28"), url, tmp_path / "upper")
    assert upper.data_sha256 == lower.data_sha256
