"""Translate a query from DuckDB's dialect to the dialect of another engine."""

from __future__ import annotations

from collections.abc import Callable, Collection

import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel, SqlglotError

from slipway.core.errors import SlipwayError
from slipway.data.sources.portable_sql import require_portable

QUERY_DIALECT = "duckdb"
# Expressions that sort texts by bytes, as DuckDB does, regardless of the collation.
BYTE_ORDER: dict[str, Callable[[exp.Expr], exp.Expr]] = {
    "postgres": lambda text: exp.Collate(this=text, expression=exp.to_identifier("C", quoted=True)),
    "mysql": lambda text: exp.cast(text, "BINARY", dialect="mysql"),
}


def translate(query: str, dialect: str, texts: Collection[str] = ()) -> str:
    """Translate a query so that it returns the same rows on another engine.

    Parameters
    ----------
    query : str
        SQL in DuckDB's dialect.
    dialect : str
        sqlglot's name of the engine's dialect.
    texts : collection of str
        Text columns of the result; ORDER BY sorts them by bytes.

    Returns
    -------
    str

    Raises
    ------
    SlipwayError
        The query is not one SELECT, or other engines return other rows.
    """
    tree = _parse(query)
    if dialect == QUERY_DIALECT:
        return query
    require_portable(tree)
    _leave_nulls_of_bounded_ranges(tree)
    _order_by_bytes(tree, dialect, texts)
    try:
        return tree.transform(_make_explicit).sql(
            dialect=dialect, unsupported_level=ErrorLevel.RAISE, comments=False
        )
    except (SqlglotError, KeyError, ValueError) as error:
        reason = (str(error).splitlines() or [""])[0]
        fix = "; write NULLS FIRST in its ORDER BY" if "NULLS LAST" in reason else ""
        raise SlipwayError(f"cannot translate the query for {dialect}: {reason}{fix}") from error


def _parse(query: str) -> exp.Expr:
    """Parse a query; reject anything but one SELECT."""
    try:
        trees = sqlglot.parse(query, read=QUERY_DIALECT)
    except SqlglotError as error:
        reason = str(error).splitlines()[0]
        raise SlipwayError(f"the query is not SQL in DuckDB's dialect: {reason}") from error
    if len(trees) != 1 or not isinstance(trees[0], exp.Query):
        raise SlipwayError("the query must be one SELECT")
    return trees[0]


def _make_explicit(node: exp.Expr) -> exp.Expr:
    """Make DuckDB's implicit conversions explicit.

    Divisions and averages return doubles; some engines truncate to integers or a few decimals. A
    difference in days counts midnights; some engines count periods of 24 hours. FILTER becomes a
    CASE, which every engine has.
    """
    if isinstance(node, exp.Filter):
        return _filter_to_case(node)
    if isinstance(node, exp.Div | exp.Avg):
        node.set("this", exp.cast(node.this.unnest(), "DOUBLE", dialect=QUERY_DIALECT))
    elif isinstance(node, exp.DateDiff):
        for side in ("this", "expression"):
            node.set(side, exp.cast(node.args[side].unnest(), "DATE", dialect=QUERY_DIALECT))
    return node


def _filter_to_case(node: exp.Filter) -> exp.Expr:
    """Convert an aggregate with FILTER to one over a CASE that is NULL for other rows."""
    aggregate, condition = node.this.copy(), node.expression.this.copy()
    holder = aggregate.this if isinstance(aggregate.this, exp.Distinct) else aggregate
    value = holder.expressions[0] if isinstance(holder, exp.Distinct) else holder.this
    counted = exp.Literal.number(1) if isinstance(value, exp.Star) else value
    case = exp.Case().when(condition, counted)
    holder.set(*(("expressions", [case]) if isinstance(holder, exp.Distinct) else ("this", case)))
    result: exp.Expr = aggregate.transform(_make_explicit)
    return result


def _order_by_bytes(tree: exp.Expr, dialect: str, texts: Collection[str]) -> None:
    """Sort text columns by bytes, regardless of the collation of the database."""
    where, order = tree.args.get("where"), tree.args.get("order")
    # ``ordered_query`` compares a watermark that is not a number like this.
    condition = where.this if where is not None and dialect in BYTE_ORDER else None
    side = condition.this if isinstance(condition, exp.GT) else None
    if isinstance(side, exp.Cast) and side.to.is_type(*exp.DataType.TEXT_TYPES):
        side.replace(BYTE_ORDER[dialect](side.copy()))
    for ordered in order.expressions if order is not None and dialect in BYTE_ORDER else ():
        column = ordered.this
        if isinstance(column, exp.Column) and column.name in texts:
            ordered.set("this", BYTE_ORDER[dialect](column.copy()))


def _leave_nulls_of_bounded_ranges(tree: exp.Expr) -> None:
    """Keep an engine's own order of NULL in a RANGE between two offsets.

    The frame of a row with a NULL key has all such rows, and no other frame has any of them. Their
    position does not change the result, and some engines lack NULLS LAST.
    """
    for window in tree.find_all(exp.Window):
        spec, order = window.args.get("spec"), window.args.get("order")
        if spec is None or order is None or spec.text("kind").upper() != "RANGE":
            continue
        if "UNBOUNDED" not in (spec.text("start").upper(), spec.text("end").upper()):
            for ordered in order.expressions:
                ordered.set("nulls_first", not ordered.args.get("desc"))
