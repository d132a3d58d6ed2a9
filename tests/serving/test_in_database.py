"""Test in-database scoring of raw tables and of a table of features, on four engines."""

import sqlite3
from dataclasses import replace

import duckdb
import msgspec
import pandas as pd
import pytest
from small_problem import COLUMNS, DEPOTS, PROBLEM, parcels, write_tables
from sql_models import expected_prediction, variant

from slipway.core.errors import SlipwayError
from slipway.data.sources import open_source
from slipway.data.sources import table_writer as writing
from slipway.models.scorecard import LinearPredictor, SlopeTerm, TableTerm
from slipway.models.stages import SIGMOID
from slipway.serving.batch.in_database import score

pytest_plugins = ["engines"]
N_ROWS = 1_500
OVER = replace(PROBLEM, tables=("features",))


@pytest.fixture(scope="module")
def small(manifest):
    """The manifest of a model for the parcels."""
    depot = TableTerm("depot", ("north", "south"), (0.4, -0.3), 0.0, 0.1)
    weight = SlopeTerm("weight", 0.07, 10.0, -0.2, 0.05)
    stops = SlopeTerm("stops", 0.2, 5.0, 0.0, 0.0)
    total = LinearPredictor(-0.5, (depot, weight, stops), SIGMOID)
    return variant(manifest, PROBLEM.features, total, target=PROBLEM.target, threshold=0.4)


@pytest.fixture(scope="module")
def raw():
    """Parcels; one has no weight, another one a weight that the API rejects."""
    rows = parcels(N_ROWS, seed=5)
    rows[3] = (*rows[3][:3], None, *rows[3][4:])
    rows[4] = (*rows[4][:3], 999.0, *rows[4][4:])
    return rows


@pytest.fixture(scope="module")
def files(raw, tmp_path_factory):
    return write_tables(tmp_path_factory.mktemp("files"), raw)


@pytest.fixture(scope="module")
def expected(small, raw):
    """The predictions of the API by the number of the parcel."""
    depots = dict(DEPOTS)
    answers = {}
    for number, _, depot, weight, stops, _ in raw:
        answer = expected_prediction(
            small, {"depot": depots[depot], "weight": weight, "stops": stops}
        )
        p = None if answer is None else answer[0]
        answers[number] = (p, None if p is None else "late" if p >= 0.4 else "on time")
    assert answers[4] == (None, None)
    return answers


def require_expected(rows, expected):
    assert len(rows) == len(expected)
    for number, probability, label in rows:
        p, name = expected[number]
        assert label == name
        assert probability == (None if p is None else pytest.approx(p, abs=1e-12))


def frames(raw):
    """Return the raw tables as frames; None becomes a missing value."""
    tables = {"parcels": raw, "depots": DEPOTS}
    return {name: pd.DataFrame(rows, columns=COLUMNS[name]) for name, rows in tables.items()}


@pytest.fixture
def sqlite_file(raw, tmp_path):
    file = tmp_path / "parcels.db"
    with sqlite3.connect(file) as connection:
        for name, frame in frames(raw).items():
            frame.to_sql(name, connection, index=False)
    connection.close()
    return file


def parquet_rows(path):
    sql = f"SELECT number, probability, label FROM read_parquet('{path}')"
    return duckdb.sql(sql).fetchall()


def sqlite_rows(file, table="scored"):
    with sqlite3.connect(file) as connection:
        return connection.execute(f"SELECT number, probability, label FROM {table}").fetchall()


def test_score_files_to_parquet_equals_the_api(small, files, expected, tmp_path):
    out = tmp_path / "scored.parquet"
    with open_source(str(files), PROBLEM) as source:
        done = score(small, PROBLEM, source, str(out))
    assert (done.rows, done.checked) == (N_ROWS, 1_000)
    assert done.rows_per_second > 0
    require_expected(parquet_rows(out), expected)


def test_score_sqlite_to_table_equals_the_api(small, sqlite_file, expected):
    with open_source(f"sqlite:///{sqlite_file}", PROBLEM) as source:
        done = score(small, PROBLEM, source, "table:scored")
    assert done.rows == N_ROWS
    require_expected(sqlite_rows(sqlite_file), expected)


@pytest.mark.slow
def test_score_postgres_to_table_equals_the_api(small, raw, expected, postgres_engine, tmp_path):
    for name, frame in frames(raw).items():
        postgres_engine.load(name, frame)
    ((host, user),) = postgres_engine.query(
        "SELECT current_setting('unix_socket_directories'), current_user"
    )
    url = f"postgresql://{user}@/postgres?host={host}"
    for again in (False, True):
        with open_source(url, PROBLEM) as source:
            done = score(small, PROBLEM, source, "table:scored", replace=again)
        assert done.rows == N_ROWS
    rows = postgres_engine.query("SELECT number, probability, label FROM scored")
    require_expected(rows, expected)
    out = tmp_path / "scored.parquet"
    with open_source(url, PROBLEM) as source:
        assert score(small, PROBLEM, source, str(out)).rows == N_ROWS
    require_expected(parquet_rows(out), expected)


@pytest.mark.slow
def test_score_spark_to_folder_equals_the_api(small, raw, expected, tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    for name, frame in frames(raw).items():
        duckdb.from_df(frame).write_parquet(str(folder / f"{name}.parquet"))
    out = tmp_path / "scored"
    with open_source(f"spark://local[2]/?path={folder}", PROBLEM) as source:
        score(small, PROBLEM, source, str(out))
        with pytest.raises(SlipwayError, match="exists; --replace"):
            score(small, PROBLEM, source, str(out))
        assert score(small, PROBLEM, source, str(out), replace=True).rows == N_ROWS
        assert score(small, PROBLEM, source, str(tmp_path / "one.csv")).rows == N_ROWS
    require_expected(parquet_rows(out / "*.parquet"), expected)
    one = duckdb.sql(f"SELECT number, probability, label FROM '{tmp_path / 'one.csv'}'").fetchall()
    require_expected(one, expected)
    assert [path.name for path in tmp_path.iterdir() if "scored" in path.name] == ["scored"]


def table_of_features(folder, raw, **more):
    frame = frames(raw)["parcels"]
    frame = frame.assign(depot=frame["depot"].map(dict(DEPOTS)), **more).drop(columns="late")
    duckdb.from_df(frame).write_parquet(str(folder / "features.parquet"))
    return str(folder / "features.parquet")


def test_score_table_of_features_equals_the_api(small, raw, expected, tmp_path):
    out = tmp_path / "scored.parquet"
    with open_source(table_of_features(tmp_path, raw), OVER) as source:
        score(small, OVER, source, str(out), table="features")
    require_expected(parquet_rows(out), expected)


def test_score_table_without_a_feature_raises(small, raw, tmp_path):
    file = tmp_path / "features.parquet"
    duckdb.from_df(frames(raw)["parcels"][["number", "depot"]]).write_parquet(str(file))
    with (
        open_source(str(file), OVER) as source,
        pytest.raises(SlipwayError, match="lacks the features weight, stops"),
    ):
        score(small, OVER, source, str(tmp_path / "out"), table="features")


def test_score_table_without_a_key_raises(small, raw, tmp_path):
    file = table_of_features(tmp_path, raw)
    problem = replace(OVER, key=("parcel_id",))
    with open_source(file, problem) as source, pytest.raises(SlipwayError, match="key: parcel_id"):
        score(small, problem, source, str(tmp_path / "out"), table="features")


def test_score_existing_output_raises_unless_replaced(small, sqlite_file, expected):
    with sqlite3.connect(sqlite_file) as connection:
        connection.execute("CREATE TABLE scored (mine)")
    with open_source(f"sqlite:///{sqlite_file}", PROBLEM) as source:
        with pytest.raises(SlipwayError, match="table:scored exists; --replace"):
            score(small, PROBLEM, source, "table:scored")
        score(small, PROBLEM, source, "table:scored", replace=True)
    require_expected(sqlite_rows(sqlite_file), expected)


def test_write_failed_query_keeps_the_previous_output(small, sqlite_file, files, tmp_path):
    out = tmp_path / "scored.parquet"
    out.write_bytes(b"before")
    with open_source(str(files), PROBLEM) as source, pytest.raises(SlipwayError):
        writing.write_rows(source, "SELECT error('half way')", str(out), replace=True)
    assert out.read_bytes() == b"before"
    assert not list(tmp_path.glob(".*"))
    with sqlite3.connect(sqlite_file) as connection:
        connection.execute(
            "CREATE TABLE scored AS SELECT 1 AS number, 2 AS probability, 3 AS label"
        )
    url = f"sqlite:///{sqlite_file}"
    with open_source(url, PROBLEM) as source, pytest.raises(SlipwayError, match="rejected"):
        writing.write_rows(source, "SELECT nothing FROM nowhere", "table:scored", replace=True)
    assert sqlite_rows(sqlite_file) == [(1, 2, 3)]


def test_score_other_predictions_than_the_model_raises(small, files, tmp_path, monkeypatch):
    from slipway.serving.batch import in_database as module

    wrong = msgspec.structs.replace(small, threshold=0.9)
    original = module.scoring_sql
    monkeypatch.setattr(
        module, "scoring_sql", lambda _, *args, **options: original(wrong, *args, **options)
    )
    out = tmp_path / "scored.parquet"
    with (
        open_source(str(files), PROBLEM) as source,
        pytest.raises(SlipwayError, match="differs from the model's; nothing was written"),
    ):
        score(small, PROBLEM, source, str(out))
    assert not out.exists()


@pytest.mark.parametrize("out", ["scored", "table:", "scored.xlsx"])
def test_score_database_to_unknown_output_raises_error_naming_it(small, sqlite_file, out):
    url = f"sqlite:///{sqlite_file}"
    with open_source(url, PROBLEM) as source, pytest.raises(SlipwayError, match=f"output {out}"):
        score(small, PROBLEM, source, out)


@pytest.mark.parametrize("kind", ["files", "sqlite"])
@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_score_any_source_to_file_writes_the_services_predictions(
    small, files, sqlite_file, expected, tmp_path, kind, suffix, monkeypatch
):
    monkeypatch.setattr(writing, "BATCH_ROWS", 400)
    out = tmp_path / f"scored.{suffix}"
    url = str(files) if kind == "files" else f"sqlite:///{sqlite_file}"
    with open_source(url, PROBLEM) as source:
        done = score(small, PROBLEM, source, str(out))
        with pytest.raises(SlipwayError, match="exists; --replace"):
            score(small, PROBLEM, source, str(out))
        assert score(small, PROBLEM, source, str(out), replace=True).rows == N_ROWS
    assert (done.rows, done.checked) == (N_ROWS, 1_000)
    rows = duckdb.sql(f"SELECT number, probability, label FROM '{out}'").fetchall()
    require_expected(rows, expected)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_score_database_to_file_unifies_types_of_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "BATCH_ROWS", 2)
    with sqlite3.connect(tmp_path / "mixed.db") as connection:
        connection.execute("CREATE TABLE parcels (a)")
        connection.executemany("INSERT INTO parcels VALUES (?)", [(None,), (1,), (2,), (2.5,)])
    problem = replace(PROBLEM, tables=("parcels",))
    with open_source(f"sqlite:///{tmp_path / 'mixed.db'}", problem) as source:
        out = tmp_path / "out.parquet"
        assert writing.write_rows(source, "SELECT a FROM parcels", str(out), replace=False) == 4
    assert duckdb.sql(f"FROM '{out}'").fetchall() == [(None,), (1.0,), (2.0,), (2.5,)]


def test_score_database_to_file_failing_half_way_keeps_the_file_before(sqlite_file, tmp_path):
    out = tmp_path / "scored.csv"
    out.write_text("before")
    url = f"sqlite:///{sqlite_file}"
    with open_source(url, PROBLEM) as source, pytest.raises(SlipwayError, match="rejected"):
        writing.write_rows(source, "SELECT nothing FROM nowhere", str(out), replace=True)
    assert out.read_text() == "before"


def test_score_files_to_table_raises(small, files):
    with open_source(str(files), PROBLEM) as source, pytest.raises(SlipwayError, match="database"):
        score(small, PROBLEM, source, "table:scored")
