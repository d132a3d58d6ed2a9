"""``flask etl``: complete datasets, repeated runs, one run at a time."""

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
from slipway.core.locking import lock_folder
from slipway.data.dataset import MANIFEST, open_dataset
from slipway.data.etl.run import run_etl

# Run the ETL on two sources in turn, with small parts, until killed.
LOOP_CODE = """
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
RUN_CODE = """
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


def read_dataset(folder):
    return pl.concat(pl.read_parquet(file) for file in open_dataset(folder).files)


def start_python(code, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], env=ENVIRON, **options
    )


def test_etl_manifest_counts_add_up(source, folder):
    rows = [list(row) for row in by_day(parcels(600))]
    rows[3][5] = rows[7][5] = None
    rows[10][3] = 99.0
    write_tables(folder.parent / "source", rows)
    manifest = run_etl(PROBLEM, source, folder)
    assert manifest == open_dataset(folder).manifest
    assert (manifest.rows_read, manifest.rows) == (600, 597)
    assert manifest.left_out == {"not yet arrived": 2}
    assert manifest.quarantined == {"weight: out_of_range": 1}
    assert manifest.watermark == rows[-1][1]
    assert manifest.labels["depot"]["north"] == "North"
    assert manifest.columns["weight"].maximum < 40
    assert manifest.columns["depot"].distinct == 3
    assert sum(part.rows for part in manifest.parts) == manifest.rows == len(read_dataset(folder))


def test_etl_second_run_writes_same_dataset(source, folder):
    first = run_etl(PROBLEM, source, folder)
    second = run_etl(PROBLEM, source, folder)
    assert (first.data_sha256, first.parts) == (second.data_sha256, second.parts)
    parts = {part.file for part in second.parts}
    assert {file.name for file in folder.iterdir()} == parts | {MANIFEST, ".lock"}


def test_etl_incremental_runs_equal_single_run(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("slipway.data.etl.parquet_writer.PART_ROWS", 90)
    rows = by_day(parcels(600))
    for end in (200, 201, 450, 600):
        source = str(write_tables(tmp_path / "source", rows[:end]))
        manifest = run_etl(PROBLEM, source, folder, since="last" if end > 200 else None)
    single_run = run_etl(PROBLEM, source, tmp_path / "whole")
    assert manifest.data_sha256 == single_run.data_sha256
    assert (
        (manifest.rows_read, manifest.rows) == (single_run.rows_read, single_run.rows) == (600, 600)
    )


def test_etl_since_watermark_reads_later_rows_again(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("slipway.data.etl.parquet_writer.PART_ROWS", 90)
    rows = [list(row) for row in by_day(parcels(600))]
    source = str(write_tables(tmp_path / "source", rows))
    first = run_etl(PROBLEM, source, folder)
    rows[0][5] = rows[300][5] = None
    write_tables(tmp_path / "source", rows)
    manifest = run_etl(PROBLEM, source, folder, since=rows[300][1])
    # The run does not read rows before the watermark, so it misses their changes.
    assert manifest.left_out["not yet arrived"] == 1
    assert manifest.parts[0] == first.parts[0]
    assert manifest.rows == first.rows - 1


def test_etl_since_without_dataset_raises_error(source, folder):
    with pytest.raises(SlipwayError, match="no rows in"):
        run_etl(PROBLEM, source, folder, since="last")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"query": PROBLEM.query + "--"}, "the query has changed"),
        ({"watermark_column": None}, "has no watermark"),
    ],
)
def test_etl_since_other_problem_raises_error(source, folder, changed, expected):
    run_etl(PROBLEM, source, folder)
    with pytest.raises(SlipwayError, match=expected):
        run_etl(dataclasses.replace(PROBLEM, **changed), source, folder, since="last")


def test_etl_concurrent_run_raises_error(source, folder):
    with lock_folder(folder), pytest.raises(SlipwayError, match=f"process {os.getpid()}"):
        run_etl(PROBLEM, source, folder)
    run_etl(PROBLEM, source, folder)


def with_value(rows, column, value, *, every=1):
    return [
        [*row[:column], value, *row[column + 1 :]] if i % every == 0 else row
        for i, row in enumerate(rows)
    ]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], "empty"),
        (with_value(by_day(parcels(600)), 5, 0), "only 0 of 600 rows are 'late'"),
        (with_value(by_day(parcels(600)), 5, None), "no row passed the checks"),
        (with_value(by_day(parcels(600)), 3, None), "weight is missing in 600 of 600 rows"),
        (
            with_value(by_day(parcels(600)), 3, "heavy", every=20),
            r"30 of 600 rows.*weight: not_a_number \(30\).*quarantine-",
        ),
        (with_value(by_day(parcels(600)), 2, 7), r"depot: missing_field \(600\)"),
    ],
)
def test_etl_invalid_rows_keep_previous_dataset(source, folder, tmp_path, rows, expected):
    before = run_etl(PROBLEM, source, folder)
    bad = write_tables(tmp_path / "bad", rows)
    with pytest.raises(SlipwayError, match=expected):
        run_etl(PROBLEM, str(bad), folder)
    assert open_dataset(folder).manifest == before


def test_etl_query_multiplying_rows_raises_error(source, folder, tmp_path):
    depots = [(1, "north"), (1, "north"), (2, "south"), (3, "west")]
    write_tables(tmp_path / "source", by_day(parcels(600)), depots)
    with pytest.raises(SlipwayError, match="rows for the 600 of parcels"):
        run_etl(PROBLEM, source, folder)


@pytest.mark.slow
def test_etl_killed_run_keeps_complete_dataset(folder, tmp_path):
    sources = [write_tables(tmp_path / str(n), by_day(parcels(2_000, n))) for n in (1, 2)]
    complete = {run_etl(PROBLEM, str(source), tmp_path / "once").data_sha256 for source in sources}
    draw = random.Random(0)
    for _ in range(4):
        with start_python(LOOP_CODE, folder, *sources, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            time.sleep(draw.uniform(0.0, 0.3))
            process.send_signal(signal.SIGKILL)
        assert open_dataset(folder).manifest.data_sha256 in complete
    run_etl(PROBLEM, str(sources[0]), folder)
    assert not list(folder.glob(".*.tmp"))


def test_etl_full_disk_keeps_previous_dataset(source, folder, tmp_path):
    before = run_etl(PROBLEM, source, folder)
    large = write_tables(tmp_path / "large", by_day(parcels(5_000)))
    with start_python(RUN_CODE, folder, large, 4_096, stderr=subprocess.PIPE) as process:
        manifest = process.communicate()[1].decode()
    assert process.returncode == 1
    assert re.match(r"the disk of \S+ is full[:;] free some space", manifest)
    assert open_dataset(folder).manifest == before


def test_open_dataset_changed_file_raises_error(source, folder):
    manifest = run_etl(PROBLEM, source, folder)
    with (folder / manifest.parts[0].file).open("ab") as file:
        file.write(b"x")
    with pytest.raises(SlipwayError, match="was changed; run `slipway etl`"):
        open_dataset(folder)


def flask(*arguments, **environ):
    command = [sys.executable, "-m", "flask", "--app", "app", *map(str, arguments)]
    environ = ENVIRON | {"SLIPWAY_PROBLEM": "small_problem"} | environ
    return subprocess.run(
        command, check=False, cwd=ROOT, env=environ, capture_output=True, text=True
    )


def test_etl_command_prints_row_counts(source, folder):
    result = flask("etl", "--source", source, "--rows", folder)
    assert result.returncode == 0, result.stderr
    assert f"600 rows read, 600 kept in {folder}" in result.stdout
    second = flask("etl", "--rows", folder, "--since", "last", SLIPWAY_SOURCE=source)
    assert second.returncode == 0, second.stderr
    assert json.loads((folder / MANIFEST).read_bytes())["rows"] == 600


def test_etl_command_missing_source_prints_error(folder, tmp_path):
    result = flask("etl", "--source", tmp_path / "nowhere", "--rows", folder)
    assert result.returncode == 1
    assert "nowhere" in result.stderr
    assert "Traceback" not in result.stderr
