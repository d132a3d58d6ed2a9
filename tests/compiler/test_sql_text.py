"""The text of the exported SQL statement: names, dialects and the command."""

import pytest
import sqlglot
from msgspec.structs import replace
from sql_models import LEVELS, LINEAR, NASTY, feature, variant
from sqlglot import exp

from slipway.compiler.sql import DIALECTS, model_sql
from slipway.core.errors import BadInput
from slipway.models.features import Target
from slipway.models.scorecard import LinearPredictor, SlopeTerm, TableTerm


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_model_sql_every_dialect_parses_back_to_same_values(manifest, dialect):
    features = [feature(name, "category") for name in NASTY] + [feature("on", "flag")]
    terms = tuple(TableTerm(name, tuple(LEVELS), (0.1,) * len(LEVELS), 0.0, 0.0) for name in NASTY)
    model = variant(
        manifest, features, LinearPredictor(0.1, (*terms, SlopeTerm("on", 1.0, 0.0, 0.0, 0.0)))
    )
    tree = sqlglot.parse_one(
        model_sql(model, table="a.b", dialect=dialect, key="id"), dialect=dialect
    )
    texts = {node.this for node in tree.find_all(exp.Literal) if node.is_string}
    assert set(LEVELS) <= texts
    names = {node.name for node in tree.find_all(exp.Column) if node.table == "given"}
    plain = {"input_1", "select", "on", "id"}
    upper = {name.upper() for name in plain} if dialect == "snowflake" else plain
    assert names == {*NASTY, "on", "id"} - plain | upper


def test_model_sql_unknown_dialect_lists_known_dialects(manifest):
    with pytest.raises(BadInput, match=r"'oracle'; choose one of bigquery, .*trino"):
        model_sql(manifest, table="t", dialect="oracle")


def test_model_sql_without_scorecard_reports_reason(manifest):
    with pytest.raises(BadInput, match="because of trees"):
        model_sql(
            replace(manifest, scorecard=None, reason="because of trees"), table="t", dialect="spark"
        )


def test_model_sql_key_named_like_output_keeps_its_name(manifest):
    sql = model_sql(manifest, table="s.t", dialect="duckdb", key="Probability")
    tree = sqlglot.parse_one(sql, dialect="duckdb")
    assert tree.named_selects == ["Probability", "probability_2", "label"]
    assert "FROM s.t AS given" in sql


def test_model_sql_classes_differing_in_case_get_separate_columns(manifest):
    target = Target("kind", "Kind", ("it's", "B", "b"))
    model = variant(
        manifest, [feature("must")], *[LinearPredictor(0.0, (LINEAR,), ())] * 3, target=target
    )
    sql = model_sql(model, table="t", dialect="duckdb", explain=True)
    names = sqlglot.parse_one(sql, dialect="duckdb").named_selects
    assert names[:4] == ["probability_it_s", "probability_B", "probability_b_2", "label"]
    assert names[4:6] == ["intercept_it_s", "contribution_it_s_must"]


def test_model_sql_mysql_compares_texts_as_bytes(manifest):
    sql = model_sql(manifest, table="t", dialect="mysql")
    assert "CAST(given.`carrier` AS BINARY)" in sql


def test_sql_command_prints_statement(app, manifest):
    arguments = ["model", "sql", "--dialect", "hive", "--table", "a.b", "--key", "id", "--explain"]
    result = app.test_cli_runner().invoke(args=arguments)
    assert result.exit_code == 0, result.output
    sql = model_sql(manifest, table="a.b", dialect="hive", key="id", explain=True)
    assert result.output == f"{sql};\n"


def test_sql_command_unknown_dialect_lists_known_dialects(app):
    result = app.test_cli_runner().invoke(args=["model", "sql", "--dialect", "cobol"])
    assert result.exit_code != 0
    assert "snowflake" in result.output
