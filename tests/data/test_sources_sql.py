"""What of DuckDB's SQL is carried to other engines, and what is refused with what to write."""

import re

import pytest

from flights import PROBLEM
from slipway.core.errors import SlipwayError
from slipway.data.sources.sql_translation import translate

OTHERS = ["sqlite", "postgres", "mysql", "spark", "snowflake", "bigquery", "trino"]
# What engines answer differently or not at all, and a word of what to write instead.
REFUSED = {
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
ALLOWED = [
    "CAST(FLOOR(n / 2) AS BIGINT)",
    "CAST(s AS BIGINT)",
    "CAST(n AS VARCHAR)",
    "DATE_DIFF('day', DATE '2013-01-01', t)",
    "CAST(STRFTIME(t, '%H') AS BIGINT)",
    "SUM(x) FILTER (WHERE n > 0)",
]


@pytest.mark.parametrize("expression", REFUSED)
def test_expression_that_differs_is_refused_with_what_to_write(expression):
    query = f"SELECT {expression} AS y FROM t"
    with pytest.raises(SlipwayError, match="is not the same on every engine; write ") as caught:
        translate(query, "postgres")
    assert REFUSED[expression] in caught.value.message
    assert translate(query, "duckdb") == query


@pytest.mark.parametrize("dialect", OTHERS)
@pytest.mark.parametrize("expression", ALLOWED)
def test_expression_that_is_the_same_is_carried(expression, dialect):
    assert translate(f"SELECT {expression} AS y FROM t", dialect).startswith("SELECT ")


@pytest.mark.parametrize("dialect", OTHERS)
def test_query_of_the_flights_is_carried_without_a_warning(dialect, caplog):
    given = translate(PROBLEM.query, dialect)
    assert "--" not in given
    assert not caplog.records


def test_division_is_of_doubles_and_days_are_of_dates():
    query = "SELECT n / 2, AVG(n), DATE_DIFF('day', s, t) FROM t"
    assert translate(query, "mysql") == (
        "SELECT CAST(n AS DOUBLE) / 2, AVG(CAST(n AS DOUBLE)), "
        "DATEDIFF(CAST(t AS DATE), CAST(s AS DATE)) FROM t"
    )


def test_filter_is_a_case():
    query = "SELECT COUNT(*) FILTER (WHERE n > 0), COUNT(DISTINCT k) FILTER (WHERE n > 0) FROM t"
    assert translate(query, "mysql") == (
        "SELECT COUNT(CASE WHEN n > 0 THEN 1 END), "
        "COUNT(DISTINCT CASE WHEN n > 0 THEN k END) FROM t"
    )


def test_null_may_lie_anywhere_in_a_range_between_offsets():
    window = "SUM(x) OVER (ORDER BY n RANGE BETWEEN 5 PRECEDING AND CURRENT ROW)"
    assert translate(f"SELECT {window} FROM t", "mysql") == f"SELECT {window} FROM t"


@pytest.mark.parametrize(
    "frame",
    [
        "ROWS BETWEEN 5 PRECEDING AND CURRENT ROW",
        "RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
    ],
)
def test_null_may_not_lie_anywhere_in_other_windows(frame):
    query = "SELECT SUM(x) OVER (ORDER BY n {} {}) FROM t"
    with pytest.raises(SlipwayError, match="write NULLS FIRST in its ORDER BY"):
        translate(query.format("", frame), "mysql")
    assert "NULLS" not in translate(query.format("NULLS FIRST", frame), "mysql")
    assert "NULLS LAST" in translate(query.format("", frame), "spark")


def test_texts_are_in_the_order_of_their_bytes():
    query = 'SELECT * FROM (SELECT s, n FROM t) AS q ORDER BY n, "s" DESC'
    ordered = translate(query, "postgres", ["s"]).partition(" ORDER BY ")[2]
    assert ordered == 'n, "s" COLLATE "C" DESC NULLS LAST'
    ordered = translate(query, "mysql", ["s"]).partition(" ORDER BY ")[2]
    assert re.search(r"n, CAST\(`s` AS BINARY\) DESC$", ordered)
    assert "COLLATE" not in translate(query, "sqlite", ["s"])


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT FROM WHERE", "not SQL in DuckDB's dialect"),
        ("DROP TABLE flights", "must be one SELECT"),
        ("SELECT 1; DROP TABLE flights", "must be one SELECT"),
        ("", "must be one SELECT"),
    ],
)
@pytest.mark.parametrize("dialect", ["duckdb", "postgres"])
def test_what_is_no_select_is_refused(query, said, dialect):
    with pytest.raises(SlipwayError, match=said):
        translate(query, dialect)
