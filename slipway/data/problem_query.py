"""Check a problem's query against the fields that name its tables and columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

if TYPE_CHECKING:
    from slipway.data.problem import Problem


def required_columns(problem: Problem) -> dict[str, str]:
    """Return the columns that the query must return, each with the field that names it.

    Parameters
    ----------
    problem : Problem

    Returns
    -------
    dict of str to str
    """
    required = {feature.name: "features" for feature in problem.features}
    required.setdefault(problem.target_column, "target_column")
    for field in ("order_column", "key", "group_column", "watermark_column"):
        value = getattr(problem, field)
        for name in value if isinstance(value, tuple) else (value,):
            if name is not None:
                required.setdefault(name, field)
    return required


def check_query(problem: Problem) -> Iterator[str]:
    """Check the text of the query.

    Parameters
    ----------
    problem : Problem

    Yields
    ------
    str
        An error message that names the field.
    """
    try:
        trees = sqlglot.parse(problem.query, read="duckdb")
    except SqlglotError as error:
        yield f"query is not SQL in DuckDB's dialect: {str(error).splitlines()[0]}"
        return
    if len(trees) != 1 or not isinstance(trees[0], exp.Query):
        yield "query must be one SELECT"
        return
    yield from _check_tables(problem, trees[0])
    yield from _check_columns(problem, trees[0])


def _check_tables(problem: Problem, tree: exp.Query) -> Iterator[str]:
    """Yield an error for each table of the query that ``tables`` does not name."""
    known = {name.lower() for name in problem.tables}
    known |= {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    for table in tree.find_all(exp.Table):
        unqualified = isinstance(table.this, exp.Identifier) and not table.db
        if unqualified and table.name.lower() not in known:
            names = ", ".join(problem.tables)
            yield f"tables lacks {table.name!r}, which query reads; tables has {names}"


def _check_columns(problem: Problem, tree: exp.Query) -> Iterator[str]:
    """Yield an error for each duplicate or absent column, if the query lists its columns."""
    selected = [select.alias_or_name for select in tree.selects]
    if any(select.is_star for select in tree.selects) or not all(selected):
        return
    lower = [name.lower() for name in selected]
    for name in selected:
        if lower.count(name.lower()) > 1:
            yield f"query returns the column {name!r} more than once; rename it with AS"
    for name, field in required_columns(problem).items():
        if name.lower() not in lower:
            yield f"{field} names the column {name!r}, but query returns only {', '.join(selected)}"
