"""What SQL means the same on every engine, and what to write in place of what does not.

sqlglot carries most of SQL to any engine. What it carries to another value, or to something
that an engine does not know, is refused here: a difference that nobody sees is worse than a
query that does not run. The tests run what is allowed on real engines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sqlglot import exp

from slipway.core.errors import SlipwayError

Found = Iterator[tuple[exp.Expr, str, str]]

DAYS = "DATE_DIFF('day', DATE '1970-01-01', CAST(x AS DATE))"
WEEKDAY = f"1 + ({DAYS} + 3) % 7, in which Monday is 1"
PARTS = "CAST(STRFTIME(x, '%Y') AS BIGINT), or '%m', '%d', '%H'"
NTH_ROW = "a row chosen by ROW_NUMBER"
MOMENTS = "COUNT(x), SUM(x) and SUM(x * x)"
DATES = "CAST(x AS DATE), STRFTIME or DATE_DIFF('day', ...)"
STRFTIME = re.compile(r"(%[YmdHMS]|[-/: .])+")

# What differs or fails on some engine, and what to write instead.
INSTEAD: dict[type[exp.Expr], tuple[str, str]] = {
    exp.ArrayAgg: ("a list", NTH_ROW),
    exp.Concat: ("CONCAT", "||, which gives NULL for a NULL"),
    exp.ConcatWs: ("CONCAT_WS", "||, which gives NULL for a NULL"),
    exp.DateFromParts: ("MAKE_DATE", "CAST(year || '-' || month || '-' || day AS DATE), padded"),
    exp.DateTrunc: ("DATE_TRUNC", DATES),
    exp.DayOfWeek: ("a weekday", WEEKDAY),
    exp.DayOfWeekIso: ("a weekday", WEEKDAY),
    exp.DayOfYear: ("a day of the year", "DATE_DIFF('day', ...) since the first of January"),
    exp.Dayname: ("a weekday's name", f"CASE over {WEEKDAY}"),
    exp.Extract: ("EXTRACT", f"{PARTS}; a weekday is {WEEKDAY}"),
    exp.Greatest: ("GREATEST", "CASE, which says what NULL gives"),
    exp.GroupConcat: ("STRING_AGG", NTH_ROW),
    exp.IntDiv: ("//", "FLOOR(a / b)"),
    exp.Interval: ("INTERVAL", "days or hours counted as integers, by DATE_DIFF('day', ...)"),
    exp.Least: ("LEAST", "CASE, which says what NULL gives"),
    exp.Like: ("LIKE, which minds case on some engines,", "ILIKE, or SUBSTRING and ="),
    exp.Log: ("LOG", "LN(x), or LN(x) / LN(10)"),
    exp.MD5: ("MD5", "a column that holds it"),
    exp.Median: ("MEDIAN", NTH_ROW),
    exp.Monthname: ("a month's name", "CASE over STRFTIME(x, '%m')"),
    exp.Pad: ("LPAD or RPAD", "SUBSTRING(CAST(100 + x AS VARCHAR), 2, 2)"),
    exp.PercentileCont: ("PERCENTILE_CONT", NTH_ROW),
    exp.PercentileDisc: ("PERCENTILE_DISC", NTH_ROW),
    exp.Quantile: ("QUANTILE", NTH_ROW),
    exp.RegexpLike: ("a regular expression", "ILIKE, or SUBSTRING and ="),
    exp.Round: ("ROUND", "FLOOR(x * 100 + 0.5) / 100"),
    exp.Stddev: ("STDDEV", MOMENTS),
    exp.StddevPop: ("STDDEV", MOMENTS),
    exp.StddevSamp: ("STDDEV", MOMENTS),
    exp.TimeToUnix: ("EPOCH", f"{DAYS}, times 24 and the hour"),
    exp.TimestampFromParts: ("MAKE_TIMESTAMP", "a text of padded parts, cast to TIMESTAMP"),
    exp.TimestampTrunc: ("DATE_TRUNC", DATES),
    exp.ToChar: ("TO_CHAR", "STRFTIME"),
    exp.TryCast: ("TRY_CAST", "CAST, within a CASE that lets through what can be cast"),
    exp.Variance: ("VARIANCE", MOMENTS),
    exp.VariancePop: ("VARIANCE", MOMENTS),
    exp.Week: ("a week", f"FLOOR({DAYS} / 7)"),
    exp.WeekOfYear: ("a week", f"FLOOR({DAYS} / 7)"),
}
CASTS = {
    exp.DType.FLOAT: "DOUBLE, which is as wide on every engine",
    exp.DType.DECIMAL: "DOUBLE, since not every engine has decimals",
}


def require_portable(tree: exp.Expr) -> None:
    """Refuse a query that engines would answer differently.

    Parameters
    ----------
    tree : Expr

    Raises
    ------
    SlipwayError
        The message says what to write instead.
    """
    for check in (_listed, _unknown, _dates, _formats, _casts):
        for node, what, instead in check(tree):
            said = node.sql(dialect="duckdb", comments=False)
            said = said if len(said) <= 80 else said[:77] + "..."
            raise SlipwayError(
                f"the query says {said}: {what} is not the same on every engine; write {instead}"
            )


def _listed(tree: exp.Expr) -> Found:
    """Find what is in the list above."""
    for node in tree.find_all(*INSTEAD):
        yield node, *INSTEAD[type(node)]


def _unknown(tree: exp.Expr) -> Found:
    """Find functions that sqlglot would hand on by name, whatever they mean elsewhere."""
    for node in tree.find_all(exp.Anonymous, exp.AnonymousAggFunc):
        yield node, f"{node.name.upper()}", "standard SQL, or make a view of it on the engine"


def _dates(tree: exp.Expr) -> Found:
    """Find arithmetic on dates, and their difference in anything but days."""
    for node in tree.find_all(exp.DateDiff, exp.TimestampDiff, exp.Sub, exp.Add):
        if isinstance(node, exp.Binary):
            if _is_date(node.this) or _is_date(node.expression):
                yield node, "arithmetic on dates", "DATE_DIFF('day', earlier, later)"
        elif node.text("unit").upper() != "DAY":
            yield node, "a difference in anything but days", f"{DAYS} * 24 + the hour"


def _formats(tree: exp.Expr) -> Found:
    """Find formats of times beyond the plain numbers."""
    for node in tree.find_all(exp.TimeToStr):
        if not STRFTIME.fullmatch(node.text("format")):
            yield node, "such a format", "one of %Y %m %d %H %M %S with - / : . or spaces between"


def _casts(tree: exp.Expr) -> Found:
    """Find casts that round here and cut there, and types that not every engine has."""
    for node in tree.find_all(exp.Cast):
        if node.to.this in CASTS:
            yield node, "this type", CASTS[node.to.this]
        elif node.to.is_type(*exp.DataType.INTEGER_TYPES) and _has_fraction(node.this):
            yield node, "how a fraction becomes a whole number", "CAST(FLOOR(x) AS BIGINT)"
        elif node.to.is_type(*exp.DataType.TEXT_TYPES) and _has_fraction(node.this):
            yield node, "how a fraction is written", "FLOOR of a multiple of it, as a number"


def _is_date(node: exp.Expr) -> bool:
    """Whether an operand is a date or time by its own words; a column's type is not known."""
    node = node.unnest()
    return isinstance(node, exp.CurrentDate | exp.CurrentTimestamp) or (
        isinstance(node, exp.Cast) and node.to.is_type(*exp.DataType.TEMPORAL_TYPES)
    )


def _has_fraction(node: exp.Expr) -> bool:
    """Whether an operand can be seen to be a fraction; a column's type is not known."""
    whole = (exp.Floor, exp.Ceil, exp.Count, exp.Length, exp.Case)
    for each in node.walk(prune=lambda inner: isinstance(inner, whole)):
        if isinstance(each, exp.Div | exp.Avg | exp.Sqrt | exp.Ln | exp.Exp | exp.Pow):
            return True
        if isinstance(each, exp.Literal) and not each.is_string and not each.is_int:
            return True
        if isinstance(each, exp.Cast) and each.to.is_type(*exp.DataType.REAL_TYPES):
            return True
    return False
