"""A query, written once in DuckDB's dialect, in the dialect of another engine."""

from __future__ import annotations

from collections.abc import Callable, Collection

import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel, SqlglotError

from slipway.core.errors import SlipwayError
from slipway.data.sources.portable_sql import require_portable

WRITTEN = "duckdb"


# How a text is put in the order of its bytes, as DuckDB does, whatever the database's language.
BY_BYTES: dict[str, Callable[[exp.Expr], exp.Expr]] = {
    "postgres": lambda text: exp.Collate(this=text, expression=exp.to_identifier("C", quoted=True)),
    "mysql": lambda text: exp.cast(text, "BINARY", dialect="mysql"),
}


def translate(query: str, dialect: str, texts: Collection[str] = ()) -> str:
    """Write a query in another engine's dialect, so that it gives the same rows there.

    Parameters
    ----------
    query : str
        In DuckDB's dialect.
    dialect : str
        As sqlglot calls it.
    texts : collection of str
        The columns of the result that are texts, where their order is to be told.

    Returns
    -------
    str

    Raises
    ------
    SlipwayError
        It is no query, or the other engine would give other rows or none.
    """
    tree = _parsed(query)
    if dialect == WRITTEN:
        return query
    require_portable(tree)
    _leave_nulls_of_bounded_ranges(tree)
    _order_by_bytes(tree, dialect, texts)
    try:
        return tree.transform(_explicit).sql(
            dialect=dialect, unsupported_level=ErrorLevel.RAISE, comments=False
        )
    except (SqlglotError, KeyError, ValueError) as error:
        said = (str(error).splitlines() or [""])[0]
        fix = "; write NULLS FIRST in its ORDER BY" if "NULLS LAST" in said else ""
        raise SlipwayError(f"the query cannot be translated for {dialect}: {said}{fix}") from error


def _parsed(query: str) -> exp.Expr:
    """Read the one SELECT that a query is."""
    try:
        trees = sqlglot.parse(query, read=WRITTEN)
    except SqlglotError as error:
        said = str(error).splitlines()[0]
        raise SlipwayError(f"the query is not SQL in DuckDB's dialect: {said}") from error
    if len(trees) != 1 or not isinstance(trees[0], exp.Query):
        raise SlipwayError("the query must be one SELECT")
    return trees[0]


def _explicit(node: exp.Expr) -> exp.Expr:
    """Say what DuckDB means by itself and other engines do not.

    A division gives a double, where some engines cut to integers or to a few decimals; so does
    an average. A difference in days counts midnights, where some engines count 24 hours. FILTER
    is a CASE, which every engine has.
    """
    if isinstance(node, exp.Filter):
        return _by_case(node)
    if isinstance(node, exp.Div | exp.Avg):
        node.set("this", exp.cast(node.this.unnest(), "DOUBLE", dialect=WRITTEN))
    elif isinstance(node, exp.DateDiff):
        for side in ("this", "expression"):
            node.set(side, exp.cast(node.args[side].unnest(), "DATE", dialect=WRITTEN))
    return node


def _by_case(node: exp.Filter) -> exp.Expr:
    """Write an aggregate of some rows as one of a CASE that is NULL for the others."""
    aggregate, condition = node.this.copy(), node.expression.this.copy()
    holder = aggregate.this if isinstance(aggregate.this, exp.Distinct) else aggregate
    value = holder.expressions[0] if isinstance(holder, exp.Distinct) else holder.this
    counted = exp.Literal.number(1) if isinstance(value, exp.Star) else value
    case = exp.Case().when(condition, counted)
    holder.set(*(("expressions", [case]) if isinstance(holder, exp.Distinct) else ("this", case)))
    explicit: exp.Expr = aggregate.transform(_explicit)
    return explicit


def _order_by_bytes(tree: exp.Expr, dialect: str, texts: Collection[str]) -> None:
    """Put the rows in one order, whatever language the database sorts in."""
    where, order = tree.args.get("where"), tree.args.get("order")
    # ``ordered_query`` writes such a comparison, of a watermark that is no number.
    later = where.this if where is not None and dialect in BY_BYTES else None
    side = later.this if isinstance(later, exp.GT) else None
    if isinstance(side, exp.Cast) and side.to.is_type(*exp.DataType.TEXT_TYPES):
        side.replace(BY_BYTES[dialect](side.copy()))
    for ordered in order.expressions if order is not None and dialect in BY_BYTES else ():
        column = ordered.this
        if isinstance(column, exp.Column) and column.name in texts:
            ordered.set("this", BY_BYTES[dialect](column.copy()))


def _leave_nulls_of_bounded_ranges(tree: exp.Expr) -> None:
    """Let an engine put NULL where it likes in the order of a RANGE between two offsets.

    A row whose key is NULL has all such rows in its frame, and no other row has any of them,
    so that their place changes nothing. An engine without NULLS LAST could not be told it.
    """
    for window in tree.find_all(exp.Window):
        spec, order = window.args.get("spec"), window.args.get("order")
        if spec is None or order is None or spec.text("kind").upper() != "RANGE":
            continue
        if "UNBOUNDED" not in (spec.text("start").upper(), spec.text("end").upper()):
            for ordered in order.expressions:
                ordered.set("nulls_first", not ordered.args.get("desc"))
