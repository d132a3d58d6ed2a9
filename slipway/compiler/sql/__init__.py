"""A model as one SELECT, for data that stays where it is.

A scorecard needs only sums, comparisons and a few functions, which every engine has. The
statement is a chain of common table expressions: the values, the points, the score, the
answer. It is built as a tree and rendered by sqlglot, so that no name and no value of a model
can be taken for SQL.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from slipway.compiler.sql.exactness import why_inexact
from slipway.compiler.sql.expressions import Columns, add, choose, number
from slipway.compiler.sql.outputs import answers
from slipway.compiler.sql.terms import TEXTS, points
from slipway.core.errors import BadInput
from slipway.models.features import Feature
from slipway.models.manifest import Manifest
from slipway.models.scorecard import LinearPredictor, Scorecard


@dataclass(frozen=True)
class SqlDialect:
    """In what an engine differs from the others, beyond what sqlglot knows.

    Attributes
    ----------
    exact_texts : bool
        Whether numbers must be cast from texts, because one with an exponent is a decimal.
    has_flags : bool
        Whether there are booleans; else they are the numbers 0 and 1.
    any_type : bool
        Whether a column of numbers can hold texts, which a cast would turn into 0.
    collates : bool
        Whether texts are equal that differ in case or accents.
    materialized : bool
        Whether a merged layer would be computed wherever it is used, and this can be forbidden.
    """

    exact_texts: bool = False
    has_flags: bool = True
    any_type: bool = False
    collates: bool = False
    materialized: bool = False


ENGINES = {
    "bigquery": SqlDialect(),
    "databricks": SqlDialect(),
    "duckdb": SqlDialect(),
    "hive": SqlDialect(),
    "mysql": SqlDialect(has_flags=False, collates=True),
    "postgres": SqlDialect(exact_texts=True, materialized=True),
    "snowflake": SqlDialect(exact_texts=True),
    "spark": SqlDialect(),
    "sqlite": SqlDialect(has_flags=False, any_type=True, materialized=True),
    "trino": SqlDialect(),
}
TABLE = "given"
# PostgreSQL cuts longer names off, at 63 bytes; a number may follow.
LONGEST_NAME = 56


def model_sql(
    manifest: Manifest, *, table: str, dialect: str, key: str | None = None, explain: bool = False
) -> str:
    """Write a model as one SELECT.

    Parameters
    ----------
    manifest : Manifest
    table : str
        Holds a column for each feature, under the feature's name.
    dialect : str
        One of ``ENGINES``.
    key : str, optional
        A column that is handed on, so that an answer can be told to its row.
    explain : bool
        Whether to give the intercept and every feature's contribution as well.

    Returns
    -------
    str

    Raises
    ------
    BadInput
        The model has no scorecard, SQL would give other answers, or the dialect is unknown.
    """
    if manifest.scorecard is None:
        message = "this model cannot be exported to SQL: it has no scorecard"
        raise BadInput(f"{message}; {manifest.reason}".rstrip("; "), code="no_scorecard")
    if dialect not in ENGINES:
        message = f"no such dialect: {dialect}; the known ones are {', '.join(ENGINES)}"
        raise BadInput(message, code="unknown_dialect")
    if reason := why_inexact(manifest, manifest.scorecard):
        raise BadInput(f"this model cannot be exported to SQL: {reason}", code="inexact_in_sql")
    return _Statement(manifest, manifest.scorecard, dialect).render(table, key, explain)


class _Statement:
    """One statement in the making."""

    def __init__(self, manifest: Manifest, scorecard: Scorecard, dialect: str) -> None:
        self._manifest = manifest
        self._sums = scorecard.sums
        self._engine = ENGINES[dialect]
        self._dialect = dialect
        self._columns = Columns()
        self._outputs: list[exp.Expr] = []
        self._taken: set[str] = set()

    def render(self, table: str, key: str | None, explain: bool) -> str:
        """Build the statement and write it."""
        if key is not None:
            self._output(key, self._columns.take(self._given(key), "key"))
        inputs = [self._input(feature) for feature in self._manifest.signature.features]
        contributions = [self._points(each, inputs) for each in self._sums]
        scores = [
            self._columns.let(add(number(each.intercept), *own), "score")
            for each, own in zip(self._sums, contributions, strict=True)
        ]
        for name, answer in answers(self._columns, self._manifest, scores).items():
            self._output(_plain(name), answer)
        for place, own in enumerate(contributions if explain else ()):
            self._explain(place, own)
        source = exp.alias_(exp.to_table(table, dialect=self._dialect), TABLE, table=True)
        query: exp.Expr = self._columns.query(
            source, self._outputs, materialized=self._engine.materialized
        )
        if self._engine.exact_texts:
            query = query.transform(_exact, copy=False)
        return query.sql(dialect=self._dialect, pretty=True)

    def _input(self, feature: Feature) -> exp.Column:
        """Bring a feature's column to a text or a double."""
        given, engine = self._given(feature.name), self._engine
        value: exp.Expr = exp.cast(given, "double")
        if feature.kind in TEXTS:
            value = exp.cast(given, "binary" if engine.collates else "text")
            if engine.any_type:
                # A column may be declared to know no case.
                value = exp.Collate(this=value, expression=exp.var("BINARY"))
        elif feature.kind == "flag" and engine.has_flags:
            flag = exp.cast(given, "boolean")
            value = choose([(flag, number(1.0)), (exp.not_(flag), number(0.0))])
        elif engine.any_type:
            texts = map(exp.Literal.string, ("text", "blob"))
            # An infinite number is refused, as a text in the place of a number must be.
            infinite = exp.Literal.number("9e999")
            value = choose([(exp.func("TYPEOF", given).isin(*texts), infinite)], value)
        return self._columns.take(value, "input")

    def _points(self, each: LinearPredictor, inputs: Sequence[exp.Column]) -> list[exp.Column]:
        features = self._manifest.signature.features
        return [
            self._columns.let(points(self._columns, feature, term, x), "points")
            for feature, term, x in zip(features, each.terms, inputs, strict=True)
        ]

    def _explain(self, place: int, contributions: Sequence[exp.Column]) -> None:
        """Add the intercept and the contributions of one sum."""
        several = len(self._sums) > 1
        of = f"_{self._manifest.signature.target.classes[place]}" if several else ""
        self._output(_plain(f"intercept{of}"), number(self._sums[place].intercept))
        for name, column in zip(self._manifest.signature.names, contributions, strict=True):
            self._output(_plain(f"contribution{of}_{name}"), column)

    def _output(self, name: str, expression: exp.Expr) -> None:
        """Add a column; to most engines, names that differ in case only are the same."""
        unique, count = name, 1
        while unique.lower() in self._taken:
            count += 1
            unique = f"{name}_{count}"
        self._taken.add(unique.lower())
        self._outputs.append(exp.alias_(expression, self._name(unique)))

    def _given(self, name: str) -> exp.Column:
        # With its table's name it is no text in SQLite, where there is no such column.
        return exp.column(self._name(name), table=TABLE)

    def _name(self, name: str) -> exp.Identifier:
        """Quote a name, in the case in which the engine keeps it."""
        upper = self._dialect == "snowflake" and re.fullmatch("[a-z_][a-z0-9_]*", name)
        return exp.to_identifier(name.upper() if upper else name, quoted=True)


def _plain(name: str) -> str:
    """Make a name of letters, digits and underscores, short enough for every engine."""
    return re.sub(r"\W+", "_", name).encode()[:LONGEST_NAME].decode(errors="ignore")


def _exact(node: exp.Expr) -> exp.Expr:
    """Write a double as a text to cast, which the engine does once, when it plans."""
    if isinstance(node, exp.Literal) and not node.is_string and "e" in node.this:
        return exp.cast(exp.Literal.string(node.this), "double")
    return node
