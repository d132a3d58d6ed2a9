"""``flask etl``: whole or not at all, again and again, one run at a time."""

import dataclasses
import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import polars as pl
import pytest
from conftest import IMPORTS, ROOT
from small_problem import PROBLEM, parcels, write_tables

from slipway.core.errors import SlipwayError
from slipway.core.locking import locked
from slipway.data.dataset import MANIFEST, open_dataset
from slipway.data.etl.run import run_etl

# Runs between two sources, for ever, with small parts, until it is killed.
FOREVER = """
import itertools, sys
from pathlib import Path
from small_problem import PROBLEM
from slipway.data.etl import parquet_writer as parts
from slipway.data.etl.run import run_etl
parts.PART_ROWS = 100
for source in itertools.cycle(sys.argv[2:]):
    run_etl(PROBLEM, source, Path(sys.argv[1]))
    print("done", flush=True)
"""
ONCE = """
import resource, sys
from pathlib import Path
from small_problem import PROBLEM
from slipway.core.errors import SlipwayError
from slipway.data.etl.run import run_etl
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
try:
    run_etl(PROBLEM, sys.argv[2], Path(sys.argv[1]))
except SlipwayError as error:
    sys.exit(error.message)
"""
ENVIRON = os.environ | {"PYTHONPATH": IMPORTS}


def by_day(rows):
    return sorted(rows, key=lambda row: (row[1], row[0]))


@pytest.fixture
def source(tmp_path):
    return str(write_tables(tmp_path / "source", by_day(parcels(600))))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "rows"


def kept(folder):
    return pl.concat(pl.read_parquet(file) for file in open_dataset(folder).files)


def python(code, *words, **how):
    return subprocess.Popen([sys.executable, "-c", code, *map(str, words)], env=ENVIRON, **how)


def test_etl_counts_add_up_and_the_manifest_tells_all(source, folder):
    rows = [list(row) for row in by_day(parcels(600))]
    rows[3][5] = rows[7][5] = None
    rows[10][3] = 99.0
    write_tables(folder.parent / "source", rows)
    told = run_etl(PROBLEM, source, folder)
    assert told == open_dataset(folder).manifest
    assert (told.rows_read, told.rows) == (600, 597)
    assert told.left_out == {"not yet arrived": 2}
    assert told.quarantined == {"weight: out_of_range": 1}
    assert told.watermark == rows[-1][1]
    assert told.labels["depot"]["north"] == "North"
    assert told.columns["weight"].maximum < 40
    assert told.columns["depot"].distinct == 3
    assert sum(part.rows for part in told.parts) == told.rows == len(kept(folder))


def test_etl_again_gives_the_same_rows(source, folder):
    first = run_etl(PROBLEM, source, folder)
    second = run_etl(PROBLEM, source, folder)
    assert (first.data_sha256, first.parts) == (second.data_sha256, second.parts)
    parts = {part.file for part in second.parts}
    assert {file.name for file in folder.iterdir()} == parts | {MANIFEST, ".lock"}


def test_etl_in_pieces_gives_what_one_run_gives(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("slipway.data.etl.parquet_writer.PART_ROWS", 90)
    rows = by_day(parcels(600))
    for end in (200, 201, 450, 600):
        source = str(write_tables(tmp_path / "source", rows[:end]))
        told = run_etl(PROBLEM, source, folder, since="last" if end > 200 else None)
    whole = run_etl(PROBLEM, source, tmp_path / "whole")
    assert told.data_sha256 == whole.data_sha256
    assert (told.rows_read, told.rows) == (whole.rows_read, whole.rows) == (600, 600)


def test_etl_since_reads_changed_rows_anew(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("slipway.data.etl.parquet_writer.PART_ROWS", 90)
    rows = [list(row) for row in by_day(parcels(600))]
    source = str(write_tables(tmp_path / "source", rows))
    first = run_etl(PROBLEM, source, folder)
    rows[0][5] = rows[300][5] = None
    write_tables(tmp_path / "source", rows)
    told = run_etl(PROBLEM, source, folder, since=rows[300][1])
    # What came before the day asked for was not read, so that its change is not seen.
    assert told.left_out["not yet arrived"] == 1
    assert told.parts[0] == first.parts[0]
    assert told.rows == first.rows - 1


def test_etl_since_without_an_earlier_run_is_refused(source, folder):
    with pytest.raises(SlipwayError, match="there are no rows"):
        run_etl(PROBLEM, source, folder, since="last")


@pytest.mark.parametrize(
    ("changed", "due"),
    [
        ({"query": PROBLEM.query + "--"}, "the query has changed"),
        ({"watermark_column": None}, "names no watermark"),
    ],
)
def test_etl_since_for_another_problem_is_refused(source, folder, changed, due):
    run_etl(PROBLEM, source, folder)
    with pytest.raises(SlipwayError, match=due):
        run_etl(dataclasses.replace(PROBLEM, **changed), source, folder, since="last")


def test_etl_second_run_at_the_same_time_is_refused(source, folder):
    with locked(folder), pytest.raises(SlipwayError, match=f"process {os.getpid()}"):
        run_etl(PROBLEM, source, folder)
    run_etl(PROBLEM, source, folder)


def spoiled(rows, column, value, *, every=1):
    return [
        [*row[:column], value, *row[column + 1 :]] if i % every == 0 else row
        for i, row in enumerate(rows)
    ]


@pytest.mark.parametrize(
    ("rows", "due"),
    [
        ([], "empty"),
        (spoiled(by_day(parcels(600)), 5, 0), "only 0 of 600 rows are 'late'"),
        (spoiled(by_day(parcels(600)), 5, None), "no row is left"),
        (spoiled(by_day(parcels(600)), 3, None), "weight is missing in 600 of 600 rows"),
        (
            spoiled(by_day(parcels(600)), 3, "heavy", every=20),
            r"30 of 600 rows.*weight: not_a_number \(30\).*quarantine-",
        ),
        (spoiled(by_day(parcels(600)), 2, 7), r"depot: missing_field \(600\)"),
    ],
)
def test_etl_rows_that_are_no_good_leave_the_last_ones(source, folder, tmp_path, rows, due):
    before = run_etl(PROBLEM, source, folder)
    bad = write_tables(tmp_path / "bad", rows)
    with pytest.raises(SlipwayError, match=due):
        run_etl(PROBLEM, str(bad), folder)
    assert open_dataset(folder).manifest == before


def test_etl_query_that_multiplies_rows_is_refused(source, folder, tmp_path):
    depots = [(1, "north"), (1, "north"), (2, "south"), (3, "west")]
    write_tables(tmp_path / "source", by_day(parcels(600)), depots)
    with pytest.raises(SlipwayError, match="rows for the 600 of parcels"):
        run_etl(PROBLEM, source, folder)


@pytest.mark.slow
def test_etl_killed_at_any_moment_leaves_whole_rows(folder, tmp_path):
    sources = [write_tables(tmp_path / str(n), by_day(parcels(2_000, n))) for n in (1, 2)]
    whole = {run_etl(PROBLEM, str(each), tmp_path / "once").data_sha256 for each in sources}
    draw = random.Random(0)
    for _ in range(4):
        with python(FOREVER, folder, *sources, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            time.sleep(draw.uniform(0.0, 0.3))
            process.send_signal(signal.SIGKILL)
        assert open_dataset(folder).manifest.data_sha256 in whole
    run_etl(PROBLEM, str(sources[0]), folder)
    assert not list(folder.glob(".*.tmp"))


def test_etl_disk_full_leaves_the_last_rows(source, folder, tmp_path):
    before = run_etl(PROBLEM, source, folder)
    large = write_tables(tmp_path / "large", by_day(parcels(5_000)))
    with python(ONCE, folder, large, 4_096, stderr=subprocess.PIPE) as process:
        told = process.communicate()[1].decode()
    assert process.returncode == 1
    assert re.match(r"the disk of \S+ is full[:;] free some space", told)
    assert open_dataset(folder).manifest == before


def test_rows_that_were_changed_are_not_opened(source, folder):
    told = run_etl(PROBLEM, source, folder)
    with (folder / told.parts[0].file).open("ab") as file:
        file.write(b"x")
    with pytest.raises(SlipwayError, match="was changed; run `flask etl`"):
        open_dataset(folder)


def flask(*words, **environ):
    command = [sys.executable, "-m", "flask", "--app", "app", *map(str, words)]
    environ = ENVIRON | {"SLIPWAY_PROBLEM": "small_problem"} | environ
    return subprocess.run(
        command, check=False, cwd=ROOT, env=environ, capture_output=True, text=True
    )


def test_etl_command_says_what_became_of_the_rows(source, folder):
    done = flask("etl", "--source", source, "--rows", folder)
    assert done.returncode == 0, done.stderr
    assert f"600 rows read, 600 kept in {folder}" in done.stdout
    again = flask("etl", "--rows", folder, "--since", "last", SLIPWAY_SOURCE=source)
    assert again.returncode == 0, again.stderr
    assert json.loads((folder / MANIFEST).read_bytes())["rows"] == 600


def test_etl_command_that_fails_says_what_to_do(folder, tmp_path):
    done = flask("etl", "--source", tmp_path / "nowhere", "--rows", folder)
    assert done.returncode == 1
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stderr
