"""Compare a problem's query with the fields that name its tables and columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

if TYPE_CHECKING:
    from slipway.data.problem import Problem


def wanted_columns(problem: Problem) -> dict[str, str]:
    """Return the columns that the query must give, each with the field that names it.

    Parameters
    ----------
    problem : Problem

    Returns
    -------
    dict of str to str
    """
    wanted = {feature.name: "features" for feature in problem.features}
    wanted.setdefault(problem.target_column, "target_column")
    for field in ("order_column", "key", "group_column", "watermark_column"):
        value = getattr(problem, field)
        for name in value if isinstance(value, tuple) else (value,):
            if name is not None:
                wanted.setdefault(name, field)
    return wanted


def query_faults(problem: Problem) -> Iterator[str]:
    """Name what is wrong with the query as far as its text tells.

    Parameters
    ----------
    problem : Problem

    Yields
    ------
    str
        One sentence that names the field.
    """
    try:
        trees = sqlglot.parse(problem.query, read="duckdb")
    except SqlglotError as error:
        yield f"query is not SQL in DuckDB's dialect: {str(error).splitlines()[0]}"
        return
    if len(trees) != 1 or not isinstance(trees[0], exp.Query):
        yield "query must be one SELECT"
        return
    yield from _table_faults(problem, trees[0])
    yield from _column_faults(problem, trees[0])


def _table_faults(problem: Problem, tree: exp.Query) -> Iterator[str]:
    """Find tables of the query that the problem does not name."""
    known = {name.lower() for name in problem.tables}
    known |= {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    for table in tree.find_all(exp.Table):
        plain = isinstance(table.this, exp.Identifier) and not table.db
        if plain and table.name.lower() not in known:
            names = ", ".join(problem.tables)
            yield f"tables does not name {table.name!r}, which query reads; it names {names}"


def _column_faults(problem: Problem, tree: exp.Query) -> Iterator[str]:
    """Find columns that the query does not give, where it lists them by name."""
    given = [select.alias_or_name for select in tree.selects]
    if any(select.is_star for select in tree.selects) or not all(given):
        return
    lower = [name.lower() for name in given]
    for name in given:
        if lower.count(name.lower()) > 1:
            yield f"query gives the column {name!r} more than once; name each with AS"
    for name, field in wanted_columns(problem).items():
        if name.lower() not in lower:
            yield f"{field} names the column {name!r}, and query gives only {', '.join(given)}"
