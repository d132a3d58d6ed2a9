"""Reject SQL that engines evaluate differently, and suggest portable SQL.

sqlglot translates most SQL to any engine. Some translations return other values, or use functions
that an engine lacks. An error is better than silently different rows. The tests run the accepted
SQL on real engines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sqlglot import exp

from slipway.core.errors import SlipwayError

Findings = Iterator[tuple[exp.Expr, str, str]]

DAYS = "DATE_DIFF('day', DATE '1970-01-01', CAST(x AS DATE))"
WEEKDAY = f"1 + ({DAYS} + 3) % 7, in which Monday is 1"
PARTS = "CAST(STRFTIME(x, '%Y') AS BIGINT), or '%m', '%d', '%H'"
NTH_ROW = "a row chosen by ROW_NUMBER"
SUMS = "COUNT(x), SUM(x) and SUM(x * x)"
DATES = "CAST(x AS DATE), STRFTIME or DATE_DIFF('day', ...)"
STRFTIME = re.compile(r"(%[YmdHMS]|[-/: .])+")

# Expressions that differ or fail on some engine: name and replacement.
REPLACEMENTS: dict[type[exp.Expr], tuple[str, str]] = {
    exp.ArrayAgg: ("a list", NTH_ROW),
    exp.Concat: ("CONCAT", "||, which returns NULL for a NULL"),
    exp.ConcatWs: ("CONCAT_WS", "||, which returns NULL for a NULL"),
    exp.DateFromParts: ("MAKE_DATE", "CAST(year || '-' || month || '-' || day AS DATE), padded"),
    exp.DateTrunc: ("DATE_TRUNC", DATES),
    exp.DayOfWeek: ("a weekday", WEEKDAY),
    exp.DayOfWeekIso: ("a weekday", WEEKDAY),
    exp.DayOfYear: ("a day of the year", "DATE_DIFF('day', ...) since the first of January"),
    exp.Dayname: ("a weekday's name", f"CASE over {WEEKDAY}"),
    exp.Extract: ("EXTRACT", f"{PARTS}; a weekday is {WEEKDAY}"),
    exp.Greatest: ("GREATEST", "CASE with an explicit result for NULL"),
    exp.GroupConcat: ("STRING_AGG", NTH_ROW),
    exp.IntDiv: ("//", "FLOOR(a / b)"),
    exp.Interval: ("INTERVAL", "days or hours counted as integers, by DATE_DIFF('day', ...)"),
    exp.Least: ("LEAST", "CASE with an explicit result for NULL"),
    exp.Like: ("LIKE, which is case-sensitive on some engines,", "ILIKE, or SUBSTRING and ="),
    exp.Log: ("LOG", "LN(x), or LN(x) / LN(10)"),
    exp.MD5: ("MD5", "a column with the hash"),
    exp.Median: ("MEDIAN", NTH_ROW),
    exp.Monthname: ("a month's name", "CASE over STRFTIME(x, '%m')"),
    exp.Pad: ("LPAD or RPAD", "SUBSTRING(CAST(100 + x AS VARCHAR), 2, 2)"),
    exp.PercentileCont: ("PERCENTILE_CONT", NTH_ROW),
    exp.PercentileDisc: ("PERCENTILE_DISC", NTH_ROW),
    exp.Quantile: ("QUANTILE", NTH_ROW),
    exp.RegexpLike: ("a regular expression", "ILIKE, or SUBSTRING and ="),
    exp.Round: ("ROUND", "FLOOR(x * 100 + 0.5) / 100"),
    exp.Stddev: ("STDDEV", SUMS),
    exp.StddevPop: ("STDDEV", SUMS),
    exp.StddevSamp: ("STDDEV", SUMS),
    exp.TimeToUnix: ("EPOCH", f"{DAYS}, times 24 and the hour"),
    exp.TimestampFromParts: ("MAKE_TIMESTAMP", "a text of padded parts, cast to TIMESTAMP"),
    exp.TimestampTrunc: ("DATE_TRUNC", DATES),
    exp.ToChar: ("TO_CHAR", "STRFTIME"),
    exp.TryCast: ("TRY_CAST", "CAST within a CASE that checks the value"),
    exp.Variance: ("VARIANCE", SUMS),
    exp.VariancePop: ("VARIANCE", SUMS),
    exp.Week: ("a week", f"FLOOR({DAYS} / 7)"),
    exp.WeekOfYear: ("a week", f"FLOOR({DAYS} / 7)"),
}
CASTS = {
    exp.DType.FLOAT: "DOUBLE, which has the same width on every engine",
    exp.DType.DECIMAL: "DOUBLE, since not every engine has decimals",
}


def require_portable(tree: exp.Expr) -> None:
    """Raise an error for a query whose result depends on the engine.

    Parameters
    ----------
    tree : Expr

    Raises
    ------
    SlipwayError
        The message suggests a replacement.
    """
    checks = (_find_listed, _find_unknown_functions, _find_dates, _find_formats, _find_casts)
    for check in checks:
        for node, what, replacement in check(tree):
            text = node.sql(dialect="duckdb", comments=False)
            text = text if len(text) <= 80 else text[:77] + "..."
            raise SlipwayError(
                f"the query has {text}: {what} is not the same on every engine; write {replacement}"
            )


def _find_listed(tree: exp.Expr) -> Findings:
    """Find the expressions listed in ``REPLACEMENTS``."""
    for node in tree.find_all(*REPLACEMENTS):
        yield node, *REPLACEMENTS[type(node)]


def _find_unknown_functions(tree: exp.Expr) -> Findings:
    """Find functions that sqlglot does not know and would copy by name."""
    for node in tree.find_all(exp.Anonymous, exp.AnonymousAggFunc):
        yield node, f"{node.name.upper()}", "standard SQL, or create a view on the engine"


def _find_dates(tree: exp.Expr) -> Findings:
    """Find arithmetic on dates, and differences in units other than days."""
    for node in tree.find_all(exp.DateDiff, exp.TimestampDiff, exp.Sub, exp.Add):
        if isinstance(node, exp.Binary):
            if _is_date(node.this) or _is_date(node.expression):
                yield node, "arithmetic on dates", "DATE_DIFF('day', earlier, later)"
        elif node.text("unit").upper() != "DAY":
            yield node, "a difference in units other than days", f"{DAYS} * 24 + the hour"


def _find_formats(tree: exp.Expr) -> Findings:
    """Find time formats with other than numeric fields."""
    for node in tree.find_all(exp.TimeToStr):
        if not STRFTIME.fullmatch(node.text("format")):
            yield node, "this format", "one of %Y %m %d %H %M %S with - / : . or spaces between"


def _find_casts(tree: exp.Expr) -> Findings:
    """Find casts that round or truncate by engine, and types that not every engine has."""
    for node in tree.find_all(exp.Cast):
        if node.to.this in CASTS:
            yield node, "this type", CASTS[node.to.this]
        elif node.to.is_type(*exp.DataType.INTEGER_TYPES) and _has_fraction(node.this):
            yield node, "the rounding of a fraction to an integer", "CAST(FLOOR(x) AS BIGINT)"
        elif node.to.is_type(*exp.DataType.TEXT_TYPES) and _has_fraction(node.this):
            yield node, "the text of a fraction", "FLOOR of a multiple of it, as a number"


def _is_date(node: exp.Expr) -> bool:
    """Return whether an operand is a date or time literal, cast or function."""
    node = node.unnest()
    return isinstance(node, exp.CurrentDate | exp.CurrentTimestamp) or (
        isinstance(node, exp.Cast) and node.to.is_type(*exp.DataType.TEMPORAL_TYPES)
    )


def _has_fraction(node: exp.Expr) -> bool:
    """Return whether an operand is recognisably a fraction; types of columns are unknown."""
    whole = (exp.Floor, exp.Ceil, exp.Count, exp.Length, exp.Case)
    for part in node.walk(prune=lambda inner: isinstance(inner, whole)):
        if isinstance(part, exp.Div | exp.Avg | exp.Sqrt | exp.Ln | exp.Exp | exp.Pow):
            return True
        if isinstance(part, exp.Literal) and not part.is_string and not part.is_int:
            return True
        if isinstance(part, exp.Cast) and part.to.is_type(*exp.DataType.REAL_TYPES):
            return True
    return False
