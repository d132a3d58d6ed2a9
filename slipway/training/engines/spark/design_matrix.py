"""Compute the columns of fitted transformers on Spark: one SELECT of codes and numbers.

This module does not depend on types of transformers. The compiler follows the columns through the
fitted steps, and ``slipway.compiler.sql`` writes them as SQL. Mutually exclusive columns, such as
those of an encoder, become one code. Spark's ``OneHotEncoder`` expands the code.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
from sklearn.pipeline import Pipeline
from sqlglot import exp

from slipway.compiler import raw_columns
from slipway.compiler.columns import (
    REJECTED,
    Column,
    DiscreteColumn,
    Intervals,
    Levels,
    NotAScorecard,
    is_missing,
)
from slipway.compiler.sql.expressions import Columns, add, number
from slipway.compiler.sql.terms import build_points
from slipway.compiler.steps import apply_step
from slipway.compiler.terms import build_term
from slipway.core.errors import SlipwayError
from slipway.data.problem import Problem
from slipway.models.features import Feature
from slipway.models.signature import Signature

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

LABEL = "label"
# The name of the input rows in SQLTransformer.
ROWS = "__THIS__"


@dataclass(frozen=True)
class SparkDesign:
    """The Spark expressions for the columns of a pipeline.

    Attributes
    ----------
    statement : str
        A SELECT in Spark's dialect, from the features to ``label``, the codes and the numbers.
    codes : dict of str to int
        Its code columns, with the number of codes. The last code means that all columns of the
        pipeline are zero.
    numbers : tuple of str
        Its columns that are unchanged columns of the pipeline.
    places : tuple of int
        The index of the pipeline's column for each component, first codes, then numbers.
    """

    statement: str
    codes: dict[str, int]
    numbers: tuple[str, ...]
    places: tuple[int, ...]


@dataclass
class _CodeGroup:
    """Columns of which at most one is 1 and the others are 0.

    Attributes
    ----------
    feature : str
    domain : Levels or Intervals
    used_cases : set of int
        The levels or intervals for which one of the columns is 1.
    places : list of int
    """

    feature: str
    domain: Levels | Intervals
    used_cases: set[int]
    places: list[int] = field(default_factory=list)

    def can_add(self, column: DiscreteColumn, cases: set[int]) -> bool:
        """Return whether a column has the same domain and excludes the group's columns."""
        same_domain = column.feature == self.feature and column.domain == self.domain
        return same_domain and not cases & self.used_cases


def spark_design(
    transformers: Pipeline, problem: Problem, with_missing: Collection[str]
) -> SparkDesign:
    """Express the output of fitted transformers in Spark SQL.

    Parameters
    ----------
    transformers : Pipeline
        The fitted transformers, without the regression.
    problem : Problem
    with_missing : collection of str
        The features with missing values in the rows.

    Returns
    -------
    SparkDesign

    Raises
    ------
    SlipwayError
        A step is not supported, combines several features, or rejects a missing value.
    """
    features = {
        feature.name: _accept_all_values(feature, with_missing) for feature in problem.features
    }
    try:
        raw = raw_columns(Signature(problem.features, problem.target))
        columns = apply_step(transformers, raw, [])
        return _Statement(features, columns).design(problem.target_column)
    except NotAScorecard as error:
        fix = "use --engine memory"
        raise SlipwayError(f"this pipeline cannot be fitted on Spark: {error}; {fix}") from error


def _accept_all_values(feature: Feature, with_missing: Collection[str]) -> Feature:
    """Accept all values, since the steps were fitted on the same rows."""
    return msgspec.structs.replace(
        feature,
        minimum=None,
        maximum=None,
        categories=(),
        closed=True,
        nullable=feature.name in with_missing,
    )


def _find_cases(column: Column) -> set[int] | None:
    """Return the cases in which a column is 1, or None if it has other values than 0 and 1."""
    if not isinstance(column, DiscreteColumn):
        return None
    cells = [
        0.0 if cell is REJECTED or is_missing(cell) else cell
        for cell in (*column.values, column.missing, column.unseen)
    ]
    return {i for i, cell in enumerate(cells) if cell} if {*cells} <= {0.0, 1.0} else None


def _group_columns(columns: Sequence[Column]) -> tuple[list[_CodeGroup], list[int]]:
    """Divide the columns into groups with a common code and single columns."""
    groups: list[_CodeGroup] = []
    single: list[int] = []
    for place, column in enumerate(columns):
        cases = _find_cases(column)
        if cases is None or not isinstance(column, DiscreteColumn):
            single.append(place)
            continue
        group = next((g for g in groups if g.can_add(column, cases)), None)
        if group is None:
            groups.append(group := _CodeGroup(column.feature, column.domain, set()))
        group.used_cases |= cases
        group.places.append(place)
    return groups, single


class _Statement:
    """A builder of the SELECT statement."""

    def __init__(self, features: dict[str, Feature], columns: Sequence[Column]) -> None:
        self._features = features
        self._columns = columns
        self._sql = Columns()
        self._inputs = {name: self._cast_input(feature) for name, feature in features.items()}

    def design(self, target: str) -> SparkDesign:
        """Build the statement and describe its columns."""
        groups, single = _group_columns(self._columns)
        label = self._sql.add_input(exp.cast(_input_column(target), "double"), LABEL)
        codes = {f"code_{i}": self._build_code(group) for i, group in enumerate(groups)}
        numbers = {
            f"number_{i}": self._weighted_sum([place], [1.0]) for i, place in enumerate(single)
        }
        outputs = [
            exp.alias_(expression, name, quoted=True)
            for name, expression in {LABEL: label, **codes, **numbers}.items()
        ]
        rows = exp.alias_(exp.to_table(ROWS), "given", table=True)
        query = self._sql.query(rows, outputs, materialized=False)
        return SparkDesign(
            query.sql(dialect="spark"),
            dict(zip(codes, (len(group.places) + 1 for group in groups), strict=True)),
            tuple(numbers),
            (*(place for group in groups for place in group.places), *single),
        )

    def _build_code(self, group: _CodeGroup) -> exp.Expr:
        """Return the index of the column that is 1, or the number of columns if none is."""
        n_columns = len(group.places)
        index = self._weighted_sum(group.places, [float(i - n_columns) for i in range(n_columns)])
        return add(index, number(float(n_columns)))

    def _weighted_sum(self, places: Sequence[int], weights: Sequence[float]) -> exp.Expr:
        """Return the weighted sum of columns of one feature, as the points of a term."""
        weighted = [(self._columns[place], w) for place, w in zip(places, weights, strict=True)]
        feature = self._features[weighted[0][0].feature]
        term = build_term(feature, weighted)
        return build_points(self._sql, feature, term, self._inputs[feature.name])

    def _cast_input(self, feature: Feature) -> exp.Column:
        """Cast a feature's column to text or double; a flag becomes 0 or 1."""
        to = "text" if feature.kind == "category" else "double"
        return self._sql.add_input(exp.cast(_input_column(feature.name), to), "input")


def _input_column(name: str) -> exp.Column:
    return exp.column(exp.to_identifier(name, quoted=True), table="given")


def make_vectors(rows: DataFrame, design: SparkDesign) -> DataFrame:
    """Compute the columns of the pipeline as one sparse vector for each row.

    Parameters
    ----------
    rows : DataFrame
        Rows with the features and the target.
    design : SparkDesign

    Returns
    -------
    DataFrame
        ``label``, and ``features`` in the order of the design's places.
    """
    from pyspark.ml import Pipeline as SparkPipeline
    from pyspark.ml.feature import OneHotEncoder, SQLTransformer, VectorAssembler

    coded = SQLTransformer(statement=design.statement).transform(rows)
    for name, size in design.codes.items():
        # Without the number of codes, the encoder would use the highest code that occurs.
        attribute = {"ml_attr": {"type": "nominal", "num_vals": size}}
        coded = coded.withMetadata(name, attribute)
    encoded = [f"{name}_columns" for name in design.codes]
    encoder = OneHotEncoder(inputCols=[*design.codes], outputCols=encoded)
    assembler = VectorAssembler(inputCols=[*encoded, *design.numbers], outputCol="features")
    steps: list[Any] = [encoder, assembler] if encoded else [assembler]
    return SparkPipeline(stages=steps).fit(coded).transform(coded).select(LABEL, "features")
