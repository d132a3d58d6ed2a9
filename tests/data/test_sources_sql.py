"""Translation of DuckDB's SQL to other engines, and rejection of SQL that is not portable."""

import re

import pytest

from flights import PROBLEM
from slipway.core.errors import SlipwayError
from slipway.data.sources.sql_translation import translate

DIALECTS = ["sqlite", "postgres", "mysql", "spark", "snowflake", "bigquery", "trino"]
# Expressions that depend on the engine, with a part of the suggested replacement.
NOT_PORTABLE = {
    "EXTRACT(dow FROM t)": "STRFTIME",
    "EXTRACT(hour FROM t)": "STRFTIME",
    "DATE_PART('dow', t)": "view",
    "DAYOFWEEK(t)": "Monday is 1",
    "ISODOW(t)": "Monday is 1",
    "WEEK(t)": "/ 7",
    "DAYNAME(t)": "CASE",
    "MONTHNAME(t)": "CASE",
    "DATE_TRUNC('month', t)": "CAST(x AS DATE)",
    "t + INTERVAL '1 day'": "integers",
    "t - INTERVAL 3 HOUR": "integers",
    "MAKE_DATE(2013, 1, 2)": "padded",
    "MAKE_TIMESTAMP(2013, 1, 2, 3, 4, 5)": "padded",
    "TO_CHAR(t, 'YYYY')": "STRFTIME",
    "STRFTIME(t, '%j')": "%Y %m %d %H %M %S",
    "STRFTIME(t, '%d of %m')": "%Y %m %d %H %M %S",
    "EPOCH(t)": "DATE_DIFF",
    "DATE_DIFF('hour', t, t)": "* 24",
    "CAST(t AS DATE) - DATE '2013-01-01'": "DATE_DIFF('day'",
    "DATE '2013-01-01' + 7": "DATE_DIFF('day'",
    "ROUND(x)": "FLOOR",
    "ROUND(x, 2)": "FLOOR",
    "LOG(x)": "LN",
    "LOG10(x)": "LN",
    "s LIKE 'a%'": "ILIKE",
    "s NOT LIKE 'a%'": "ILIKE",
    "REGEXP_MATCHES(s, 'a')": "ILIKE",
    "CONCAT(s, s)": "||",
    "CONCAT_WS('-', s, s)": "||",
    "LPAD(s, 2, '0')": "SUBSTRING",
    "GREATEST(n, k)": "CASE",
    "LEAST(n, k)": "CASE",
    "n // 2": "FLOOR",
    "CAST(2.5 AS INT)": "FLOOR",
    "CAST(n / 2 AS INT)": "FLOOR",
    "(n / 2)::BIGINT": "FLOOR",
    "CAST(AVG(n) AS INT)": "FLOOR",
    "CAST(n / 2 AS VARCHAR)": "FLOOR",
    "CAST(n AS FLOAT)": "DOUBLE",
    "CAST(n AS DECIMAL(9, 2))": "DOUBLE",
    "TRY_CAST(s AS INT)": "CASE",
    "STDDEV(x)": "SUM",
    "VAR_POP(x)": "SUM",
    "MEDIAN(x)": "ROW_NUMBER",
    "QUANTILE_CONT(x, 0.5)": "ROW_NUMBER",
    "PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY x)": "ROW_NUMBER",
    "STRING_AGG(s, ',')": "ROW_NUMBER",
    "LIST(s)": "ROW_NUMBER",
    "MD5(s)": "column",
    "HASH(s)": "view",
}
PORTABLE = [
    "CAST(FLOOR(n / 2) AS BIGINT)",
    "CAST(s AS BIGINT)",
    "CAST(n AS VARCHAR)",
    "DATE_DIFF('day', DATE '2013-01-01', t)",
    "CAST(STRFTIME(t, '%H') AS BIGINT)",
    "SUM(x) FILTER (WHERE n > 0)",
]


@pytest.mark.parametrize("expression", NOT_PORTABLE)
def test_translate_not_portable_expression_raises_error_with_replacement(expression):
    query = f"SELECT {expression} AS y FROM t"
    with pytest.raises(SlipwayError, match="is not the same on every engine; write ") as caught:
        translate(query, "postgres")
    assert NOT_PORTABLE[expression] in caught.value.message
    assert translate(query, "duckdb") == query


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("expression", PORTABLE)
def test_translate_portable_expression_returns_select(expression, dialect):
    assert translate(f"SELECT {expression} AS y FROM t", dialect).startswith("SELECT ")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_translate_flights_query_logs_no_warning(dialect, caplog):
    translated = translate(PROBLEM.query, dialect)
    assert "--" not in translated
    assert not caplog.records


def test_translate_division_and_days_adds_casts():
    query = "SELECT n / 2, AVG(n), DATE_DIFF('day', s, t) FROM t"
    assert translate(query, "mysql") == (
        "SELECT CAST(n AS DOUBLE) / 2, AVG(CAST(n AS DOUBLE)), "
        "DATEDIFF(CAST(t AS DATE), CAST(s AS DATE)) FROM t"
    )


def test_translate_filter_becomes_case():
    query = "SELECT COUNT(*) FILTER (WHERE n > 0), COUNT(DISTINCT k) FILTER (WHERE n > 0) FROM t"
    assert translate(query, "mysql") == (
        "SELECT COUNT(CASE WHEN n > 0 THEN 1 END), "
        "COUNT(DISTINCT CASE WHEN n > 0 THEN k END) FROM t"
    )


def test_translate_bounded_range_keeps_null_order():
    window = "SUM(x) OVER (ORDER BY n RANGE BETWEEN 5 PRECEDING AND CURRENT ROW)"
    assert translate(f"SELECT {window} FROM t", "mysql") == f"SELECT {window} FROM t"


@pytest.mark.parametrize(
    "frame",
    [
        "ROWS BETWEEN 5 PRECEDING AND CURRENT ROW",
        "RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
    ],
)
def test_translate_other_window_without_null_order_raises_error(frame):
    query = "SELECT SUM(x) OVER (ORDER BY n {} {}) FROM t"
    with pytest.raises(SlipwayError, match="write NULLS FIRST in its ORDER BY"):
        translate(query.format("", frame), "mysql")
    assert "NULLS" not in translate(query.format("NULLS FIRST", frame), "mysql")
    assert "NULLS LAST" in translate(query.format("", frame), "spark")


def test_translate_order_by_text_sorts_by_bytes():
    query = 'SELECT * FROM (SELECT s, n FROM t) AS q ORDER BY n, "s" DESC'
    ordered = translate(query, "postgres", ["s"]).partition(" ORDER BY ")[2]
    assert ordered == 'n, "s" COLLATE "C" DESC NULLS LAST'
    ordered = translate(query, "mysql", ["s"]).partition(" ORDER BY ")[2]
    assert re.search(r"n, CAST\(`s` AS BINARY\) DESC$", ordered)
    assert "COLLATE" not in translate(query, "sqlite", ["s"])


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT FROM WHERE", "not SQL in DuckDB's dialect"),
        ("DROP TABLE flights", "must be one SELECT"),
        ("SELECT 1; DROP TABLE flights", "must be one SELECT"),
        ("", "must be one SELECT"),
    ],
)
@pytest.mark.parametrize("dialect", ["duckdb", "postgres"])
def test_translate_other_statement_raises_error(query, message, dialect):
    with pytest.raises(SlipwayError, match=message):
        translate(query, dialect)
