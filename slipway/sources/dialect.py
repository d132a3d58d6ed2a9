"""A query, written once in DuckDB's dialect, in the dialect of another engine."""

from __future__ import annotations

import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel, SqlglotError

from slipway.errors import SlipwayError
from slipway.sources.portable import require_portable

WRITTEN = "duckdb"


def translate(query: str, dialect: str) -> str:
    """Write a query in another engine's dialect, so that it gives the same rows there.

    Parameters
    ----------
    query : str
        In DuckDB's dialect.
    dialect : str
        As sqlglot calls it.

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
    an average. A difference in days counts midnights, where some engines count 24 hours.
    """
    if isinstance(node, exp.Div | exp.Avg):
        node.set("this", exp.cast(node.this.unnest(), "DOUBLE", dialect=WRITTEN))
    elif isinstance(node, exp.DateDiff):
        for side in ("this", "expression"):
            node.set(side, exp.cast(node.args[side].unnest(), "DATE", dialect=WRITTEN))
    return node


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
