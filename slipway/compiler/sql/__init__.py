"""Export a model as one SELECT, to score data inside a database.

A scorecard needs only sums, comparisons and a few functions that every engine has. The statement
is a chain of common table expressions: the values, the points, the score, the prediction. sqlglot
renders it from a syntax tree, so names and values of a model are never interpreted as SQL.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from slipway.compiler.sql.exactness import why_inexact
from slipway.compiler.sql.expressions import Columns, add, choose, number
from slipway.compiler.sql.outputs import build_outputs
from slipway.compiler.sql.terms import TEXTS, build_points
from slipway.core.errors import BadInput
from slipway.models.features import Feature
from slipway.models.manifest import Manifest
from slipway.models.scorecard import LinearPredictor, Scorecard


@dataclass(frozen=True)
class SqlDialect:
    """Properties of a SQL engine that sqlglot does not handle.

    Attributes
    ----------
    exact_texts : bool
        Whether number literals must be cast from texts, because the engine reads them as decimals.
    has_flags : bool
        Whether the engine has booleans. Otherwise they are the numbers 0 and 1.
    any_type : bool
        Whether a numeric column can contain texts, which a cast would convert to 0.
    collates : bool
        Whether texts that differ only in case or accents compare as equal.
    materialized : bool
        Whether the engine supports MATERIALIZED and otherwise evaluates a merged layer repeatedly.
    """

    exact_texts: bool = False
    has_flags: bool = True
    any_type: bool = False
    collates: bool = False
    materialized: bool = False


DIALECTS = {
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
# PostgreSQL truncates names at 63 bytes. A number may be appended.
LONGEST_NAME = 56


def model_sql(
    manifest: Manifest, *, table: str, dialect: str, key: str | None = None, explain: bool = False
) -> str:
    """Return a model as one SELECT statement.

    Parameters
    ----------
    manifest : Manifest
    table : str
        The table, with a column for each feature, named like the feature.
    dialect : str
        One of ``DIALECTS``.
    key : str, optional
        A column to copy to the output, to match predictions with rows.
    explain : bool
        Whether to add the intercept and the contribution of every feature.

    Returns
    -------
    str

    Raises
    ------
    BadInput
        The model has no scorecard, SQL would return other predictions, or the dialect is unknown.
    """
    if manifest.scorecard is None:
        message = "this model cannot be exported to SQL: it has no scorecard"
        raise BadInput(f"{message}; {manifest.reason}".rstrip("; "), code="no_scorecard")
    if dialect not in DIALECTS:
        message = f"unknown dialect {dialect!r}; choose one of {', '.join(DIALECTS)}"
        raise BadInput(message, code="unknown_dialect")
    if reason := why_inexact(manifest, manifest.scorecard):
        raise BadInput(f"this model cannot be exported to SQL: {reason}", code="inexact_in_sql")
    return _Statement(manifest, manifest.scorecard, dialect).render(table, key, explain)


class _Statement:
    """Builder of one statement."""

    def __init__(self, manifest: Manifest, scorecard: Scorecard, dialect: str) -> None:
        self._manifest = manifest
        self._sums = scorecard.sums
        self._engine = DIALECTS[dialect]
        self._dialect = dialect
        self._columns = Columns()
        self._outputs: list[exp.Expr] = []
        self._names: set[str] = set()

    def render(self, table: str, key: str | None, explain: bool) -> str:
        """Build the statement and return its text."""
        if key is not None:
            self._add_output(key, self._columns.add_input(self._source_column(key), "key"))
        inputs = [self._add_input(feature) for feature in self._manifest.signature.features]
        contributions = [self._define_points(predictor, inputs) for predictor in self._sums]
        scores = [
            self._columns.define(add(number(predictor.intercept), *own), "score")
            for predictor, own in zip(self._sums, contributions, strict=True)
        ]
        for name, output in build_outputs(self._columns, self._manifest, scores).items():
            self._add_output(_sanitize_name(name), output)
        for i, own in enumerate(contributions if explain else ()):
            self._add_contributions(i, own)
        source = exp.alias_(exp.to_table(table, dialect=self._dialect), TABLE, table=True)
        query: exp.Expr = self._columns.query(
            source, self._outputs, materialized=self._engine.materialized
        )
        if self._engine.exact_texts:
            query = query.transform(_cast_literal, copy=False)
        return query.sql(dialect=self._dialect, pretty=True)

    def _add_input(self, feature: Feature) -> exp.Column:
        """Cast the column of a feature to a text or a double."""
        column, engine = self._source_column(feature.name), self._engine
        value: exp.Expr = exp.cast(column, "double")
        if feature.kind in TEXTS:
            value = exp.cast(column, "binary" if engine.collates else "text")
            if engine.any_type:
                # A column may be declared with a case-insensitive collation.
                value = exp.Collate(this=value, expression=exp.var("BINARY"))
        elif feature.kind == "flag" and engine.has_flags:
            flag = exp.cast(column, "boolean")
            value = choose([(flag, number(1.0)), (exp.not_(flag), number(0.0))])
        elif engine.any_type:
            texts = map(exp.Literal.string, ("text", "blob"))
            # A text in place of a number must be rejected, as infinity is.
            infinite = exp.Literal.number("9e999")
            value = choose([(exp.func("TYPEOF", column).isin(*texts), infinite)], value)
        return self._columns.add_input(value, "input")

    def _define_points(
        self, predictor: LinearPredictor, inputs: Sequence[exp.Column]
    ) -> list[exp.Column]:
        features = self._manifest.signature.features
        return [
            self._columns.define(build_points(self._columns, feature, term, x), "points")
            for feature, term, x in zip(features, predictor.terms, inputs, strict=True)
        ]

    def _add_contributions(self, i: int, contributions: Sequence[exp.Column]) -> None:
        """Add the intercept and the contributions of one sum."""
        several = len(self._sums) > 1
        suffix = f"_{self._manifest.signature.target.classes[i]}" if several else ""
        self._add_output(_sanitize_name(f"intercept{suffix}"), number(self._sums[i].intercept))
        for name, column in zip(self._manifest.signature.names, contributions, strict=True):
            self._add_output(_sanitize_name(f"contribution{suffix}_{name}"), column)

    def _add_output(self, name: str, expression: exp.Expr) -> None:
        """Add an output column. Most engines ignore the case of names, so make it unique."""
        unique, count = name, 1
        while unique.lower() in self._names:
            count += 1
            unique = f"{name}_{count}"
        self._names.add(unique.lower())
        self._outputs.append(exp.alias_(expression, self._quote_name(unique)))

    def _source_column(self, name: str) -> exp.Column:
        # SQLite reads the quoted name of a missing column as a text, unless qualified.
        return exp.column(self._quote_name(name), table=TABLE)

    def _quote_name(self, name: str) -> exp.Identifier:
        """Quote a name in the case that the engine stores."""
        upper = self._dialect == "snowflake" and re.fullmatch("[a-z_][a-z0-9_]*", name)
        return exp.to_identifier(name.upper() if upper else name, quoted=True)


def _sanitize_name(name: str) -> str:
    """Return a name of letters, digits and underscores, short enough for every engine."""
    return re.sub(r"\W+", "_", name).encode()[:LONGEST_NAME].decode(errors="ignore")


def _cast_literal(node: exp.Expr) -> exp.Expr:
    """Replace the literal of a double by a text to cast. The engine casts once, when it plans."""
    if isinstance(node, exp.Literal) and not node.is_string and "e" in node.this:
        return exp.cast(exp.Literal.string(node.this), "double")
    return node
