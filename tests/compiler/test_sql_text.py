"""The statement that the model is written as: its names, its dialects, its command."""

import pytest
import sqlglot
from msgspec.structs import replace
from sql_models import LEVELS, LINEAR, NASTY, feature, variant
from sqlglot import exp

from slipway.compiler.sql import ENGINES, model_sql
from slipway.core.errors import BadInput
from slipway.models.features import Target
from slipway.models.scorecard import LinearPredictor, SlopeTerm, TableTerm


@pytest.mark.parametrize("dialect", sorted(ENGINES))
def test_every_dialect_is_parsed_back_with_the_same_values(manifest, dialect):
    features = [feature(name, "category") for name in NASTY] + [feature("on", "flag")]
    terms = tuple(TableTerm(name, tuple(LEVELS), (0.1,) * len(LEVELS), 0.0, 0.0) for name in NASTY)
    model = variant(
        manifest, features, LinearPredictor(0.1, (*terms, SlopeTerm("on", 1.0, 0.0, 0.0, 0.0)))
    )
    tree = sqlglot.parse_one(
        model_sql(model, table="a.b", dialect=dialect, key="id"), dialect=dialect
    )
    texts = {each.this for each in tree.find_all(exp.Literal) if each.is_string}
    assert set(LEVELS) <= texts
    names = {each.name for each in tree.find_all(exp.Column) if each.table == "given"}
    plain = {"input_1", "select", "on", "id"}
    upper = {name.upper() for name in plain} if dialect == "snowflake" else plain
    assert names == {*NASTY, "on", "id"} - plain | upper


def test_unknown_dialect_is_refused_with_the_known_ones(manifest):
    with pytest.raises(BadInput, match=r"oracle; the known ones are bigquery, .*trino"):
        model_sql(manifest, table="t", dialect="oracle")


def test_model_without_a_scorecard_is_refused_with_the_reason(manifest):
    with pytest.raises(BadInput, match="because of trees"):
        model_sql(
            replace(manifest, scorecard=None, reason="because of trees"), table="t", dialect="spark"
        )


def test_key_of_an_answers_name_keeps_it(manifest):
    sql = model_sql(manifest, table="s.t", dialect="duckdb", key="Probability")
    tree = sqlglot.parse_one(sql, dialect="duckdb")
    assert tree.named_selects == ["Probability", "probability_2", "label"]
    assert "FROM s.t AS given" in sql


def test_classes_that_differ_in_case_have_columns_of_their_own(manifest):
    target = Target("kind", "Kind", ("it's", "B", "b"))
    model = variant(
        manifest, [feature("must")], *[LinearPredictor(0.0, (LINEAR,), ())] * 3, target=target
    )
    sql = model_sql(model, table="t", dialect="duckdb", explain=True)
    names = sqlglot.parse_one(sql, dialect="duckdb").named_selects
    assert names[:4] == ["probability_it_s", "probability_B", "probability_b_2", "label"]
    assert names[4:6] == ["intercept_it_s", "contribution_it_s_must"]


def test_mysql_texts_are_compared_by_their_bytes(manifest):
    sql = model_sql(manifest, table="t", dialect="mysql")
    assert "CAST(given.`carrier` AS BINARY)" in sql


def test_command_prints_the_statement(app, manifest):
    words = ["model", "sql", "--dialect", "hive", "--table", "a.b", "--key", "id", "--explain"]
    done = app.test_cli_runner().invoke(args=words)
    assert done.exit_code == 0, done.output
    sql = model_sql(manifest, table="a.b", dialect="hive", key="id", explain=True)
    assert done.output == f"{sql};\n"


def test_command_unknown_dialect_is_an_error_with_the_known_ones(app):
    done = app.test_cli_runner().invoke(args=["model", "sql", "--dialect", "cobol"])
    assert done.exit_code != 0
    assert "snowflake" in done.output
