"""Rows written in parts: no row is lost, and boundaries do not change the result."""

import json
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_problem import PROBLEM, parcels

from slipway.data.dataset import FOLD
from slipway.data.etl import parquet_writer
from slipway.data.etl.parquet_writer import assign_folds, content_sha256, write_parts

SCHEMA = ["number", "day", "depot", "weight", "stops", "late"]


def table(n_rows):
    """Return rows as the query returns them, by day and number."""
    rows = pl.DataFrame(parcels(n_rows), schema=SCHEMA, orient="row")
    return rows.with_columns(pl.lit("north").alias("depot")).sort("day", "number")


def split(rows, ends):
    """Return the rows in batches."""
    edges = [0, *sorted(ends), len(rows)]
    return [rows[a:b] for a, b in pairwise(edges)]


def read_parts(written, folder):
    return pl.concat(pl.read_parquet(folder / part.file) for part in written)


@given(st.lists(st.integers(0, 300), max_size=6), st.integers(20, 400))
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_write_parts_any_batches_store_same_rows(tmp_path, ends, part_rows):
    rows = table(300)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet_writer, "PART_ROWS", part_rows)
        written = list(write_parts(PROBLEM, split(rows, ends), tmp_path))
    kept = read_parts(written, tmp_path)
    assert kept["number"].to_list() == rows["number"].to_list()
    assert content_sha256([kept]) == content_sha256(split(kept, ends))
    # No day is in two parts, so a later run can begin with any part.
    days = [(part.first, part.last) for part in written]
    assert all(before[1] < after[0] for before, after in pairwise(days))


def test_write_parts_bad_rows_are_counted_and_quarantined(tmp_path):
    rows = table(300).with_columns(
        weight=pl.when(pl.col("number") % 50 == 0).then(99.0).otherwise("weight"),
        late=pl.when(pl.col("number") % 30 == 1).then(None).otherwise("late"),
    )
    [part] = write_parts(PROBLEM, [rows], tmp_path)
    assert part.rows_read == 300
    assert part.left_out == {"not yet arrived": 10}
    assert part.quarantined == {"weight: out_of_range": 6}
    assert part.rows == 300 - 10 - 6
    rejected = [json.loads(line) for line in (tmp_path / part.quarantine).open()]
    assert sorted(int(row["number"]) for row in rejected) == [0, 50, 100, 150, 200, 250]
    assert rejected[0]["reasons"] == ["weight: out_of_range"]
    assert rejected[0]["weight"] == "99.0"


def test_write_parts_duplicate_row_is_stored_once(tmp_path):
    rows = table(50)
    repeated = pl.concat([rows, rows[:1]]).sort("day", "number")
    [part] = write_parts(PROBLEM, split(repeated, [1]), tmp_path)
    assert (part.rows, part.quarantined) == (50, {"key: duplicate": 1})


def test_write_parts_same_rows_get_same_file_names(tmp_path):
    first = [part.file for part in write_parts(PROBLEM, [table(100)], tmp_path)]
    assert [part.file for part in write_parts(PROBLEM, [table(100)], tmp_path)] == first


def test_folds_depend_only_on_key():
    rows = table(5_000)
    with_folds = rows.with_columns(assign_folds(PROBLEM, rows))
    other = with_folds.reverse().with_columns(weight=pl.lit(1.0))
    assert assign_folds(PROBLEM, other).to_list() == with_folds[FOLD].reverse().to_list()
    shares = with_folds[FOLD].value_counts(normalize=True)["proportion"].to_list()
    assert len(shares) == 10
    # Five standard deviations of a share of a tenth among 5,000.
    assert all(abs(share - 0.1) < 5 * (0.09 / 5_000) ** 0.5 for share in shares)


@pytest.mark.parametrize(
    "changed",
    [
        {"depot": "north "},
        {"depot": None},
        {"weight": 2.5000000000000004},
        {"weight": None},
        {"stops": 4},
    ],
)
def test_content_hash_changed_value_changes_hash(changed):
    row = {"depot": "north", "weight": 2.5, "stops": 3}
    schema = {"depot": pl.String, "weight": pl.Float64, "stops": pl.Int64}
    before = pl.DataFrame([row], schema=schema)
    after = pl.DataFrame([row | changed], schema=schema)
    assert content_sha256([before]) != content_sha256([after])
