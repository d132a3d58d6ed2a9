"""Fit a problem's pipeline on Spark, where the rows are; only counts and sums come back.

What a transformer learns follows from how often each value occurs, which the cluster counts.
The fitted transformers say which columns Spark is to make (``spark_design``), and Spark finds
their coefficients (``spark_newton``). What comes back is a scikit-learn pipeline.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from slipway.core.errors import SlipwayError
from slipway.data.dataset import FOLD, N_FOLDS, Dataset
from slipway.data.problem import Problem
from slipway.data.sources.spark_session import open_spark
from slipway.training.engines.chunked.transformers import assemble, fit_transformers
from slipway.training.engines.chunked.value_counts import Counts, Tally
from slipway.training.engines.spark.design_matrix import (
    LABEL,
    SparkDesign,
    make_vectors,
    spark_design,
)
from slipway.training.engines.spark.optimizer import Floats, Optimum, minimise

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# The counts come to the driver: these take some hundred megabytes there.
MAX_DISTINCT = 2_000_000
# Columns that are counted in one pass; a set of columns has 64 bits.
AT_ONCE = 32
MEMORY = "--engine memory"
# Two features may have names that differ in case only.
CONF = {"spark.sql.caseSensitive": "true"}


def fit_spark(
    problem: Problem,
    stored: Dataset,
    *,
    master: str,
    folds: Container[int],
    progress: Callable[[str], None],
) -> Pipeline:
    """Fit a problem's pipeline on a Spark cluster, as scikit-learn would on the same rows.

    On the 262,000 flights of eight folds, with 437 columns and C = 1, the coefficients are
    within 1e-10 of those of scikit-learn's ``newton-cholesky``, the probabilities within 1e-12.

    Parameters
    ----------
    problem : Problem
        Whose pipeline ends in a ``LogisticRegression`` with a ridge penalty.
    stored : Dataset
        In files that every worker can read under the same path.
    master : str
        For instance ``local[*]`` or ``spark://host:7077``.
    folds : container of int
        Only rows of these folds are fitted on.
    progress : callable
        Told each stage, and how the optimum was found.

    Returns
    -------
    Pipeline
        Of scikit-learn, fitted.

    Raises
    ------
    SlipwayError
        The pipeline has a step that Spark cannot be told, the rows are all of one class, or
        Spark fails.
    """
    _inverse_ridge(problem.pipeline())
    if master.startswith("sc://"):
        raise SlipwayError(
            "a Spark Connect server cannot train; give its cluster: spark://host:port"
        )
    with open_spark(master, f"slipway {problem.name}", **CONF) as session:
        return fit_in_session(session, problem, stored, folds, progress)


def fit_in_session(
    session: SparkSession,
    problem: Problem,
    stored: Dataset,
    folds: Container[int],
    progress: Callable[[str], None],
) -> Pipeline:
    """Fit a problem's pipeline in a session that is open; see ``fit_spark``."""
    pipeline = problem.pipeline()
    C = _inverse_ridge(pipeline)
    with _own_words():
        rows = _read(session, problem, stored, folds)
        progress(f"Spark counts the values of {len(problem.features)} features")
        counts = _count(rows, problem, stored.manifest.rows)
        _require_classes(counts[problem.target_column])
        transformers = fit_transformers(pipeline, counts, problem.features)
        gaps = {feature.name for feature in problem.features if counts[feature.name].missing}
        design = spark_design(transformers, problem, gaps)
        progress(f"Spark makes {len(design.places)} columns and finds their coefficients")
        coef, optimum = _fit(rows, design, C, progress)
    return assemble(pipeline, transformers, coef, optimum.intercept, n_iter=optimum.iterations)


def _inverse_ridge(pipeline: Pipeline) -> float:
    """Give C of the regression at the end, if Spark's objective is the same as its own."""
    name, last = pipeline.steps[-1]
    if type(last) is not LogisticRegression:
        raise _refusal(name, f"{type(last).__name__} has no counterpart; LogisticRegression has")
    if last.l1_ratio or getattr(last, "penalty", "l2") not in ("l2", "deprecated"):
        raise _refusal(name, "only a ridge penalty is provided for: l1_ratio=0")
    if not np.isfinite(last.C):
        raise _refusal(name, "without a penalty the optimum may not be unique: C=1.0")
    if not last.fit_intercept:
        raise _refusal(name, "it must have an intercept: fit_intercept=True")
    if last.class_weight is not None:
        raise _refusal(name, "its classes must have the same weight: class_weight=None")
    return float(last.C)


def _refusal(step: str, reason: str) -> SlipwayError:
    return SlipwayError(f"the step {step!r} cannot be fitted on Spark: {reason}; or use {MEMORY}")


@contextmanager
def _own_words() -> Iterator[None]:
    """Say what Spark could not do without its traces of Java."""
    from py4j.protocol import Py4JError  # type: ignore[import-untyped]
    from pyspark.errors import PySparkException

    try:
        yield
    except (Py4JError, PySparkException) as error:
        java = getattr(error, "java_exception", None)
        said = str(error if java is None else java.getMessage()).strip().splitlines() or [""]
        raise SlipwayError(f"Spark could not finish the training: {said[0]}") from error


def _read(
    session: SparkSession, problem: Problem, stored: Dataset, folds: Container[int]
) -> DataFrame:
    """Read the columns that are needed, of the rows that are fitted on."""
    wanted = [fold for fold in range(N_FOLDS) if fold in folds]
    names = [feature.name for feature in problem.features]
    rows = session.read.parquet(*(f"file://{file.resolve()}" for file in stored.files))
    rows = rows.where(rows[FOLD].isin(wanted))
    return rows.select(*(_quoted(name) for name in (*names, problem.target_column)))


def _count(rows: DataFrame, problem: Problem, rows_stored: int) -> dict[str, Counts]:
    """Count the values of the features and of the target."""
    names = [*(feature.name for feature in problem.features), problem.target_column]
    if rows_stored > MAX_DISTINCT:
        _require_few_values(rows, names)
    counts: dict[str, Counts] = {}
    for start in range(0, len(names), AT_ONCE):
        counts |= _count_columns(rows, names[start : start + AT_ONCE])
    return counts


def _require_few_values(rows: DataFrame, names: Sequence[str]) -> None:
    """Refuse more distinct values than the driver should be sent."""
    from pyspark.sql import functions as F  # noqa: N812

    about = rows.agg(*(F.approx_count_distinct(_quoted(name)) for name in names)).collect()[0]
    for name, distinct in zip(names, about, strict=True):
        if distinct > MAX_DISTINCT:
            said = f"{name} has about {distinct:,} distinct values, more than {MAX_DISTINCT:,}"
            raise SlipwayError(f"{said}: round it in the query, or leave it out")


def _count_columns(rows: DataFrame, names: Sequence[str]) -> dict[str, Counts]:
    """Let the cluster count the values of each column in one pass, and sort them here."""
    from pyspark.sql import functions as F  # noqa: N812

    values = [rows[_quoted(name)].alias(f"value_{i}") for i, name in enumerate(names)]
    some = rows.select(*values)
    own = [some[name] for name in some.columns]
    sets = some.groupingSets([[column] for column in own], *own)
    found = sets.agg(F.grouping_id().alias("set"), F.count("*").alias("times")).toArrow()
    # Of a set's number, the first column's bit is the highest, and 0 if it is grouped by.
    every, first = 2 ** len(names) - 1, 2 ** (len(names) - 1)
    return {
        name: _counts(name, found.filter(pc.equal(found["set"], every ^ (first >> i))), i)
        for i, name in enumerate(names)
    }


def _counts(name: str, found: pa.Table, i: int) -> Counts:
    """Sort what was found of one column."""
    known = pc.is_valid(found[f"value_{i}"])
    missing = pc.sum(found["times"].filter(pc.invert(known)), min_count=0).as_py()
    pending = [
        (batch.column(f"value_{i}"), batch.column("times").to_numpy())
        for batch in found.filter(known).to_batches()
    ]
    return Tally(name, pending, missing).counts()


def _require_classes(target: Counts) -> None:
    """Refuse rows that there is nothing to learn from."""
    if len(target.values) < 2 or target.missing:
        known = {str(int(v)): int(n) for v, n in zip(target.values, target.counts, strict=True)}
        raise SlipwayError(f"the rows must be of two classes, 0 and 1, and are {known}")


def _fit(
    rows: DataFrame, design: SparkDesign, C: float, progress: Callable[[str], None]
) -> tuple[Floats, Optimum]:
    """Find the coefficients of all columns of the pipeline."""
    vectors = make_vectors(_spread(rows), design).persist()
    varying = _varying(vectors)
    if not len(varying):
        raise SlipwayError("there is nothing to learn: every column is the same in all rows")
    if len(varying) < len(design.places):
        whole, vectors = vectors, _sliced(vectors, varying).persist()
        vectors.count()
        whole.unpersist()
    optimum = minimise(vectors, len(varying), C, progress)
    vectors.unpersist()
    # A constant column has the coefficient 0: the intercept does the same without a penalty.
    coef = np.zeros(len(design.places))
    coef[np.array(design.places)[varying]] = optimum.coef
    return coef, optimum


def _spread(rows: DataFrame) -> DataFrame:
    """Give every core work: a Parquet file of a few megabytes would be one part."""
    least = 2 * rows.sparkSession.sparkContext.defaultParallelism
    return rows.repartition(least) if rows.rdd.getNumPartitions() < least else rows


def _varying(vectors: DataFrame) -> npt.NDArray[np.intp]:
    """Find the components that are not the same in all rows."""
    from pyspark.ml.stat import Summarizer

    summary = Summarizer.metrics("min", "max").summary(vectors["features"])
    lowest, highest = vectors.select(summary.alias("s")).select("s.min", "s.max").collect()[0]
    return np.flatnonzero(lowest.toArray() < highest.toArray())


def _sliced(vectors: DataFrame, places: npt.NDArray[np.intp]) -> DataFrame:
    """Keep some components."""
    from pyspark.ml.feature import VectorSlicer

    slicer = VectorSlicer(inputCol="features", outputCol="kept", indices=places.tolist())
    kept = slicer.transform(vectors).select(LABEL, "kept")
    return kept.withColumnRenamed("kept", "features")


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
