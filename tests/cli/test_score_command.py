"""Tests of ``flask score`` with the shipped model: all flights, and its error messages."""

import duckdb
import pytest
from msgspec.structs import replace

from slipway.cli.score import score
from slipway.models.manifest import read_manifest, write_manifest


@pytest.mark.slow
def test_score_all_flights_writes_keys_and_probabilities(app, tmp_path):
    out = tmp_path / "scored.parquet"
    done = app.test_cli_runner().invoke(score, ["--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "336,776 rows scored" in done.output
    assert "1,000 of them compared with" in done.output
    sql = f"SELECT COUNT(DISTINCT (carrier, flight, origin, hour_id)), COUNT(*) FROM '{out}'"
    ((keys, rows),) = duckdb.sql(sql).fetchall()
    assert keys == rows == 336_776
    sql = f"SELECT MIN(probability), MAX(probability) FROM '{out}'"
    ((lowest, highest),) = duckdb.sql(sql).fetchall()
    assert 0 < lowest < 0.1
    assert 0.9 < highest < 1


def test_score_existing_output_is_rejected(app, tmp_path):
    out = tmp_path / "scored.parquet"
    out.touch()
    done = app.test_cli_runner().invoke(score, ["--out", str(out)])
    assert done.exit_code == 1
    assert "exists; --replace overwrites it" in done.output


def test_score_model_without_scorecard_reports_the_reason(app, settings, tmp_path):
    manifest = read_manifest(settings.model)
    other = replace(manifest, scorecard=None, reason="it has trees")
    write_manifest(other, tmp_path / "model.pkl")
    words = ["--model", str(tmp_path / "model.pkl"), "--out", str(tmp_path / "out.parquet")]
    done = app.test_cli_runner().invoke(score, words)
    assert done.exit_code == 1
    assert "cannot be exported to SQL" in done.output
    assert "it has trees" in done.output
