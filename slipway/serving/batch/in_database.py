"""Score data where it is: the model's SELECT, run by the source's own engine.

Before anything is written, the engine's answers for a sample are compared with those of the
service. Answers stay in the source, or go into a file a batch at a time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlglot
from sqlglot import exp

from slipway.compiler.sql import model_sql
from slipway.core.errors import SlipwayError
from slipway.data.problem import Problem
from slipway.data.sources import Source
from slipway.data.sources.sql_translation import translate
from slipway.data.sources.table_writer import fetch_native_rows, write_rows
from slipway.models.features import Feature, Value
from slipway.models.manifest import Manifest
from slipway.models.predictor import Predictor

SAMPLE = 1000
ROWS = "slipway_rows"
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Scored:
    """What a run has done.

    Attributes
    ----------
    rows : int
        Rows with an answer, or with NULL where the API would refuse them.
    checked : int
        Rows of the sample on which the answers were the API's.
    seconds : float
        Of the statement that writes the answers.
    out : str
    """

    rows: int
    checked: int
    seconds: float
    out: str

    @property
    def rows_per_second(self) -> float:
        """How fast the answers were written."""
        return self.rows / max(self.seconds, 1e-9)


def score(
    manifest: Manifest,
    problem: Problem,
    source: Source,
    out: str,
    *,
    table: str | None = None,
    replace: bool = False,
    progress: Callable[[str], None] = lambda stage: None,
) -> Scored:
    """Score all rows of a source, and write the answers beside the problem's key.

    Parameters
    ----------
    manifest : Manifest
        Of a model that is a sum of one-feature terms.
    problem : Problem
    source : Source
    out : str
        A ``.parquet`` or ``.csv`` file; ``table:NAME`` in a database; a folder with Spark.
    table : str, optional
        Holds the features' columns; by default the problem's query gives them.
    replace : bool
        Whether an earlier output may be replaced, which happens in one step at the end.
    progress : callable
        Told each stage before it begins.

    Returns
    -------
    Scored

    Raises
    ------
    SlipwayError
        The model cannot be said in SQL, the table lacks a feature, the engine answers other
        than the API, or the output exists.
    """
    keys = problem.key if table is None else _keys(manifest, problem, source, table)
    query = problem.query if table is None else f'SELECT * FROM "{table}"'  # noqa: S608
    progress(f"holding answers of {source.redacted} against the model's own")
    names = manifest.signature.names
    sample = scoring_sql(manifest, query, source.dialect, names, limit=SAMPLE)
    checked = _check(manifest, fetch_native_rows(source, sample))
    progress(f"scoring the rows of {source.redacted}")
    started = time.perf_counter()
    statement = scoring_sql(manifest, query, source.dialect, keys)
    rows = write_rows(source, statement, out, replace=replace)
    return Scored(rows, checked, time.perf_counter() - started, out)


def scoring_sql(
    manifest: Manifest,
    query: str,
    dialect: str,
    keys: Sequence[str],
    *,
    limit: int | None = None,
) -> str:
    """Write one SELECT from raw tables to answers.

    Parameters
    ----------
    manifest : Manifest
    query : str
        In DuckDB's dialect; gives the features.
    dialect : str
        The engine's.
    keys : sequence of str
        Columns of the query that are handed on, before the answers.
    limit : int, optional
        Only so many rows.

    Returns
    -------
    str
    """
    tree = sqlglot.parse_one(model_sql(manifest, table=ROWS, dialect=dialect), read=dialect)
    if not isinstance(tree, exp.Select):
        raise TypeError("a model is one SELECT")
    layers = [step.this for step in tree.ctes]
    for i, key in enumerate(keys):
        passed = exp.column(f"handed_{i}", quoted=True)
        given = exp.column(exp.to_identifier(key, quoted=True), table="given")
        layers[0].select(exp.alias_(given, passed.name, quoted=True), copy=False)
        for layer in layers[1:]:
            layer.select(passed, copy=False)
    handed = [exp.alias_(f'"handed_{i}"', key, quoted=True) for i, key in enumerate(keys)]
    tree.set("expressions", [*handed, *tree.expressions])
    rows = sqlglot.parse_one(translate(_unordered(query), dialect), read=dialect)
    steps = tree.args["with_"]
    first = exp.CTE(this=rows, alias=exp.TableAlias(this=exp.to_identifier(ROWS)))
    steps.set("expressions", [first, *steps.expressions])
    return (tree if limit is None else tree.limit(limit)).sql(dialect=dialect)


def _unordered(query: str) -> str:
    """Leave out the order of the rows, which would be a sort for nothing."""
    tree = sqlglot.parse_one(query, read="duckdb")
    tree.set("order", None)
    return tree.sql(dialect="duckdb")


def _keys(manifest: Manifest, problem: Problem, source: Source, table: str) -> list[str]:
    """Find the key's columns in a table, which must hold the features as well."""
    found: set[str] = set()
    for batch in source.batches(f'SELECT * FROM "{table}" LIMIT 1'):  # noqa: S608
        found |= {*batch.schema.names}
    if not found:
        raise SlipwayError(f"the table {table} of {source.redacted} is empty")
    if source.dialect != "postgres":
        # There the case of a name does not matter, not even in quotation marks.
        lower = {name.lower() for name in found}
        found |= {n for n in (*manifest.signature.names, *problem.key) if n.lower() in lower}
    lacking = [name for name in manifest.signature.names if name not in found]
    if lacking:
        raise SlipwayError(f"the table {table} lacks the features {', '.join(lacking)}")
    keys = [name for name in problem.key if name in found]
    if not keys:
        wanted = ", ".join(problem.key)
        raise SlipwayError(f"the table {table} has none of the columns of the key: {wanted}")
    return keys


def _check(manifest: Manifest, rows: Sequence[tuple[Any, ...]]) -> int:
    """Hold an engine's answers against the service's, row by row."""
    if manifest.scorecard is None:
        raise SlipwayError("the model is not a sum of one-feature terms")
    model = Predictor(manifest, "scorecard", manifest.scorecard.compile_answers())
    features = manifest.signature.features
    for row in rows:
        pairs = zip(features, row, strict=False)
        given = {feature.name: _as_given(feature, value) for feature, value in pairs}
        if _differs(model, given, row[len(features) :]):
            known = ", ".join(f"{name}={value!r}" for name, value in given.items())
            answered = ", ".join(map(str, row[len(features) :]))
            message = "the engine's answer is not the model's, so that nothing was written"
            raise SlipwayError(f"{message}: {answered} for {known}")
    return len(rows)


def _differs(model: Predictor, given: dict[str, Value], answered: Sequence[Any]) -> bool:
    """Whether the columns of an answer are other than the service's."""
    record, errors, _ = model.manifest.signature.check(given)
    if errors:
        return any(each is not None for each in answered)
    due = model.score([record])[0]
    numbers = due if isinstance(due, tuple) else (due,)
    if not all(map(math.isfinite, numbers)):
        return any(each is not None for each in answered)
    if model.task != "regression" and answered[-1] != model.label(due):
        return True
    scale = max(1.0, *map(abs, numbers))
    pairs = zip(answered, numbers, strict=False)
    return any(a is None or not abs(float(a) - n) <= TOLERANCE * scale for a, n in pairs)


def _as_given(feature: Feature, value: Any) -> Value:
    """Give an engine's value as JSON would."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if feature.kind == "category":
        return str(value)
    if feature.kind == "flag":
        return bool(value)
    number = float(value)
    return int(number) if feature.kind == "integer" and number.is_integer() else number
