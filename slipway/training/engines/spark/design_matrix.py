"""The columns of a fitted preprocessing as Spark makes them: one SELECT, codes and numbers.

Nothing here knows a transformer. The compiler follows the columns through the fitted steps,
``slipway.compiler.sql`` writes each of them. Columns that exclude one another, as those of one
encoder do, are one code, from which Spark's ``OneHotEncoder`` makes them again.
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
# What SQLTransformer calls the rows that it is given.
ROWS = "__THIS__"


@dataclass(frozen=True)
class SparkDesign:
    """How Spark makes the columns of a pipeline.

    Attributes
    ----------
    statement : str
        A SELECT in Spark's dialect, from the features to ``label``, the codes and the numbers.
    codes : dict of str to int
        Its columns that hold a code, with the number of codes; the last code says that no
        column of the pipeline is other than zero.
    numbers : tuple of str
        Its columns that are columns of the pipeline as they are.
    places : tuple of int
        Which column of the pipeline each component is, in the order of the codes and then the
        numbers.
    """

    statement: str
    codes: dict[str, int]
    numbers: tuple[str, ...]
    places: tuple[int, ...]


@dataclass
class _Coded:
    """Columns of which at most one is other than zero, and then it is 1.

    Attributes
    ----------
    feature : str
    domain : Levels or Intervals
    taken : set of int
        The cases, by level or interval, in which one of the columns is 1.
    places : list of int
    """

    feature: str
    domain: Levels | Intervals
    taken: set[int]
    places: list[int] = field(default_factory=list)

    def takes(self, column: DiscreteColumn, cases: set[int]) -> bool:
        """Whether a column tells the same values apart, and excludes those that are here."""
        same = column.feature == self.feature and column.domain == self.domain
        return same and not cases & self.taken


def spark_design(transformers: Pipeline, problem: Problem, gaps: Collection[str]) -> SparkDesign:
    """Say in Spark's words what fitted transformers make of the features.

    Parameters
    ----------
    transformers : Pipeline
        Fitted, without the regression.
    problem : Problem
    gaps : collection of str
        The features that the rows have gaps in.

    Returns
    -------
    SparkDesign

    Raises
    ------
    SlipwayError
        A step has no rule, or makes a column of several features, or refuses a gap.
    """
    features = {each.name: _as_in_rows(each, gaps) for each in problem.features}
    try:
        raw = raw_columns(Signature(problem.features, problem.target))
        columns = apply_step(transformers, raw, [])
        return _Statement(features, columns).design(problem.target_column)
    except NotAScorecard as error:
        fix = "train it with --engine memory"
        raise SlipwayError(f"this pipeline cannot be fitted on Spark: {error}; {fix}") from error


def _as_in_rows(feature: Feature, gaps: Collection[str]) -> Feature:
    """Take whatever the rows hold: all of their values were there when the steps were fitted."""
    return msgspec.structs.replace(
        feature,
        minimum=None,
        maximum=None,
        categories=(),
        closed=True,
        nullable=feature.name in gaps,
    )


def _cases(column: Column) -> set[int] | None:
    """Give the cases in which a column is 1, or nothing where it can be other than 0 and 1."""
    if not isinstance(column, DiscreteColumn):
        return None
    cells = [
        0.0 if cell is REJECTED or is_missing(cell) else cell
        for cell in (*column.values, column.missing, column.unseen)
    ]
    return {i for i, cell in enumerate(cells) if cell} if {*cells} <= {0.0, 1.0} else None


def _coded(columns: Sequence[Column]) -> tuple[list[_Coded], list[int]]:
    """Part the columns into those that share a code and those that stay by themselves."""
    groups: list[_Coded] = []
    single: list[int] = []
    for place, column in enumerate(columns):
        cases = _cases(column)
        if cases is None or not isinstance(column, DiscreteColumn):
            single.append(place)
            continue
        group = next((each for each in groups if each.takes(column, cases)), None)
        if group is None:
            groups.append(group := _Coded(column.feature, column.domain, set()))
        group.taken |= cases
        group.places.append(place)
    return groups, single


class _Statement:
    """The SELECT in the making."""

    def __init__(self, features: dict[str, Feature], columns: Sequence[Column]) -> None:
        self._features = features
        self._columns = columns
        self._sql = Columns()
        self._inputs = {name: self._input(each) for name, each in features.items()}

    def design(self, target: str) -> SparkDesign:
        """Write the statement, and say what its columns are."""
        groups, single = _coded(self._columns)
        label = self._sql.add_input(exp.cast(_given(target), "double"), LABEL)
        codes = {f"code_{i}": self._code(group) for i, group in enumerate(groups)}
        numbers = {f"number_{i}": self._held([place], [1.0]) for i, place in enumerate(single)}
        answers = [
            exp.alias_(expression, name, quoted=True)
            for name, expression in {LABEL: label, **codes, **numbers}.items()
        ]
        rows = exp.alias_(exp.to_table(ROWS), "given", table=True)
        query = self._sql.query(rows, answers, materialized=False)
        return SparkDesign(
            query.sql(dialect="spark"),
            dict(zip(codes, (len(group.places) + 1 for group in groups), strict=True)),
            tuple(numbers),
            (*(place for group in groups for place in group.places), *single),
        )

    def _code(self, group: _Coded) -> exp.Expr:
        """Count the columns of a group from 0; their number stands for none of them."""
        none = len(group.places)
        held = self._held(group.places, [float(i - none) for i in range(none)])
        return add(held, number(float(none)))

    def _held(self, places: Sequence[int], weights: Sequence[float]) -> exp.Expr:
        """Give what the weighed columns of one feature add up to, as the points of a term."""
        weighed = [(self._columns[place], w) for place, w in zip(places, weights, strict=True)]
        feature = self._features[weighed[0][0].feature]
        term = build_term(feature, weighed)
        return build_points(self._sql, feature, term, self._inputs[feature.name])

    def _input(self, feature: Feature) -> exp.Column:
        """Bring a feature's column to a text or a double; a flag becomes 0 or 1."""
        to = "text" if feature.kind == "category" else "double"
        return self._sql.add_input(exp.cast(_given(feature.name), to), "input")


def _given(name: str) -> exp.Column:
    return exp.column(exp.to_identifier(name, quoted=True), table="given")


def make_vectors(rows: DataFrame, design: SparkDesign) -> DataFrame:
    """Make the columns of the pipeline, as one sparse vector a row.

    Parameters
    ----------
    rows : DataFrame
        With the features and the target.
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
        # Else the encoder would look for the highest code, and a code may not occur.
        attribute = {"ml_attr": {"type": "nominal", "num_vals": size}}
        coded = coded.withMetadata(name, attribute)
    encoded = [f"{name}_columns" for name in design.codes]
    encoder = OneHotEncoder(inputCols=[*design.codes], outputCols=encoded)
    assembler = VectorAssembler(inputCols=[*encoded, *design.numbers], outputCol="features")
    steps: list[Any] = [encoder, assembler] if encoded else [assembler]
    return SparkPipeline(stages=steps).fit(coded).transform(coded).select(LABEL, "features")
