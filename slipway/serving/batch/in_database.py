"""Score rows inside a database: its own engine runs the model's SELECT.

Before the run, the engine's predictions for a sample are compared with those of the service. The
predictions go to a table of the database, or to a file in batches.
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

SAMPLE_ROWS = 1000
ROWS_TABLE = "slipway_rows"
TOLERANCE = 1e-9


@dataclass(frozen=True)
class ScoringResult:
    """Result of a run.

    Attributes
    ----------
    rows : int
        Rows written; the prediction is NULL if the API would reject the row.
    checked : int
        Rows of the sample whose predictions were compared with those of the service.
    seconds : float
        Duration of the statement that writes the predictions.
    out : str
    """

    rows: int
    checked: int
    seconds: float
    out: str

    @property
    def rows_per_second(self) -> float:
        """Rows written per second."""
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
) -> ScoringResult:
    """Score all rows of a source, and write the predictions with the key of the problem.

    Parameters
    ----------
    manifest : Manifest
        The manifest of a model with a scorecard.
    problem : Problem
    source : Source
    out : str
        A ``.parquet`` or ``.csv`` file; ``table:NAME`` in a database; a folder with Spark.
    table : str, optional
        A table with the columns of the features; defaults to the query of the problem.
    replace : bool
        Whether to replace an existing output, in one step at the end.
    progress : callable
        Called with the name of each stage before it starts.

    Returns
    -------
    ScoringResult

    Raises
    ------
    SlipwayError
        The model has no scorecard, the table lacks a feature, the engine's predictions differ
        from those of the service, or the output exists.
    """
    keys = problem.key if table is None else _find_keys(manifest, problem, source, table)
    query = problem.query if table is None else f'SELECT * FROM "{table}"'  # noqa: S608
    progress(f"comparing predictions of {source.redacted} with those of the service")
    names = manifest.signature.names
    sample = scoring_sql(manifest, query, source.dialect, names, limit=SAMPLE_ROWS)
    checked = _compare_sample(manifest, fetch_native_rows(source, sample))
    progress(f"scoring the rows of {source.redacted}")
    started = time.perf_counter()
    statement = scoring_sql(manifest, query, source.dialect, keys)
    rows = write_rows(source, statement, out, replace=replace)
    return ScoringResult(rows, checked, time.perf_counter() - started, out)


def scoring_sql(
    manifest: Manifest,
    query: str,
    dialect: str,
    keys: Sequence[str],
    *,
    limit: int | None = None,
) -> str:
    """Return one SELECT from raw tables to predictions.

    Parameters
    ----------
    manifest : Manifest
    query : str
        The query for the features, in DuckDB's dialect.
    dialect : str
        The dialect of the engine.
    keys : sequence of str
        Columns of the query to copy before the predictions.
    limit : int, optional
        The maximum number of rows.

    Returns
    -------
    str
    """
    tree = sqlglot.parse_one(model_sql(manifest, table=ROWS_TABLE, dialect=dialect), read=dialect)
    if not isinstance(tree, exp.Select):
        raise TypeError("the SQL of a model must be one SELECT")
    _copy_keys(tree, keys)
    rows = sqlglot.parse_one(translate(_drop_order(query), dialect), read=dialect)
    steps = tree.args["with_"]
    first = exp.CTE(this=rows, alias=exp.TableAlias(this=exp.to_identifier(ROWS_TABLE)))
    steps.set("expressions", [first, *steps.expressions])
    return (tree if limit is None else tree.limit(limit)).sql(dialect=dialect)


def _copy_keys(tree: exp.Select, keys: Sequence[str]) -> None:
    """Add the key columns to a SELECT and to all of its common table expressions."""
    layers = [step.this for step in tree.ctes]
    for i, key in enumerate(keys):
        copied = exp.column(f"handed_{i}", quoted=True)
        given = exp.column(exp.to_identifier(key, quoted=True), table="given")
        layers[0].select(exp.alias_(given, copied.name, quoted=True), copy=False)
        for layer in layers[1:]:
            layer.select(copied, copy=False)
    columns = [exp.alias_(f'"handed_{i}"', key, quoted=True) for i, key in enumerate(keys)]
    tree.set("expressions", [*columns, *tree.expressions])


def _drop_order(query: str) -> str:
    """Remove the ORDER BY of a query, which would sort for nothing."""
    tree = sqlglot.parse_one(query, read="duckdb")
    tree.set("order", None)
    return tree.sql(dialect="duckdb")


def _find_keys(manifest: Manifest, problem: Problem, source: Source, table: str) -> list[str]:
    """Return the key columns of a table, which must have the features as well."""
    columns: set[str] = set()
    for batch in source.batches(f'SELECT * FROM "{table}" LIMIT 1'):  # noqa: S608
        columns |= {*batch.schema.names}
    if not columns:
        raise SlipwayError(f"the table {table} of {source.redacted} is empty")
    if source.dialect != "postgres":
        # Column names of these engines ignore case, even in quotation marks.
        lower = {name.lower() for name in columns}
        columns |= {n for n in (*manifest.signature.names, *problem.key) if n.lower() in lower}
    missing = [name for name in manifest.signature.names if name not in columns]
    if missing:
        raise SlipwayError(f"the table {table} lacks the features {', '.join(missing)}")
    keys = [name for name in problem.key if name in columns]
    if not keys:
        key_names = ", ".join(problem.key)
        raise SlipwayError(f"the table {table} has no column of the key: {key_names}")
    return keys


def _compare_sample(manifest: Manifest, rows: Sequence[tuple[Any, ...]]) -> int:
    """Compare an engine's predictions with those of the service, row by row."""
    if manifest.scorecard is None:
        raise SlipwayError("this model cannot be exported to SQL: it has no scorecard")
    model = Predictor(manifest, "scorecard", manifest.scorecard.compile_answers())
    features = manifest.signature.features
    for row in rows:
        pairs = zip(features, row, strict=False)
        given = {feature.name: _to_json_value(feature, value) for feature, value in pairs}
        if _differs(model, given, row[len(features) :]):
            known = ", ".join(f"{name}={value!r}" for name, value in given.items())
            answer = ", ".join(map(str, row[len(features) :]))
            message = "the engine's prediction differs from the model's; nothing was written"
            raise SlipwayError(f"{message}: {answer} for {known}")
    return len(rows)


def _differs(model: Predictor, given: dict[str, Value], answer: Sequence[Any]) -> bool:
    """Return whether the cells of a prediction differ from the service's prediction."""
    record, errors, _ = model.manifest.signature.check(given)
    if errors:
        return any(cell is not None for cell in answer)
    expected = model.score([record])[0]
    numbers = expected if isinstance(expected, tuple) else (expected,)
    if not all(map(math.isfinite, numbers)):
        return any(cell is not None for cell in answer)
    if model.task != "regression" and answer[-1] != model.label(expected):
        return True
    scale = max(1.0, *map(abs, numbers))
    pairs = zip(answer, numbers, strict=False)
    return any(a is None or not abs(float(a) - n) <= TOLERANCE * scale for a, n in pairs)


def _to_json_value(feature: Feature, value: Any) -> Value:
    """Return an engine's value as JSON has it."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if feature.kind == "category":
        return str(value)
    if feature.kind == "flag":
        return bool(value)
    number = float(value)
    return int(number) if feature.kind == "integer" and number.is_integer() else number
