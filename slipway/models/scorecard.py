"""Linear models as sums of one-feature terms: score records and explain them.

    score = intercept + sum of term_f(x_f);    answer = link(score)

For a logistic regression, the score is the log-odds and the link is the sigmoid. A model of more
than two classes has one sum for each class. ``slipway.compiler`` builds a scorecard from a fitted
pipeline, and the manifest stores it. Scoring needs only the standard library.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from operator import add
from typing import Any, Literal

import msgspec

from slipway.models.features import Answer, Record
from slipway.models.labels import LabelledNumbers
from slipway.models.links import labelled_sigmoid, normalize, normalize_or_zero, softmax
from slipway.models.stages import SIGMOID, Named, Pieces, Stage, compose_stages

Points = Callable[[Any], float]


class TableTerm(msgspec.Struct, frozen=True, tag="table", tag_field="kind"):
    """Points by category, for a missing value, and for an unseen category."""

    feature: str
    levels: tuple[str | bool | int | float, ...]
    points: tuple[float, ...]
    missing: float
    unseen: float

    def compile_points(self) -> Points:
        """Build the function from a value to its points."""
        table = _PointsTable(zip(self.levels, self.points, strict=True))
        table[None] = self.missing
        table.unseen = self.unseen
        return table.__getitem__


class SlopeTerm(msgspec.Struct, frozen=True, tag="slope", tag_field="kind"):
    """Points in proportion to a number: ``offset + slope * (x - origin)``."""

    feature: str
    slope: float
    origin: float
    offset: float
    missing: float

    def compile_points(self) -> Points:
        """Build the function from a number to its points."""
        slope, origin, offset, missing = self.slope, self.origin, self.offset, self.missing
        return lambda x: missing if x is None else offset + slope * (x - origin)


class StepTerm(msgspec.Struct, frozen=True, tag="steps", tag_field="kind"):
    """Points by interval; ``points[i]`` applies from ``edges[i - 1]``, inclusive."""

    feature: str
    edges: tuple[float, ...]
    points: tuple[float, ...]
    missing: float

    def compile_points(self) -> Points:
        """Build the function from a number to its points."""
        edges, points, missing = self.edges, self.points, self.missing
        return lambda x: missing if x is None else points[bisect_right(edges, x)]


class CurveTerm(msgspec.Struct, frozen=True, tag="bent", tag_field="kind"):
    """Points along a curve: the stages of ``path``, followed by ``pieces``."""

    feature: str
    path: tuple[Stage, ...]
    pieces: Pieces
    missing: float

    def compile_points(self) -> Points:
        """Build the function from a number to its points."""
        curve, missing = compose_stages((*self.path, self.pieces)), self.missing
        return lambda x: missing if x is None else curve(x)


class CurveSumTerm(msgspec.Struct, frozen=True, tag="mixed", tag_field="kind"):
    """The sum of the points along several curves with different paths."""

    feature: str
    parts: tuple[CurveTerm, ...]
    missing: float

    def compile_points(self) -> Points:
        """Build the function from a number to its points."""
        curves = [part.compile_points() for part in self.parts]
        missing = self.missing
        return lambda x: missing if x is None else sum(curve(x) for curve in curves)


Term = TableTerm | SlopeTerm | StepTerm | CurveTerm | CurveSumTerm


class LinearPredictor(msgspec.Struct, frozen=True):
    """The intercept and one term for each feature, in the order of the signature.

    Terms are centred on the training rows if those are known. The intercept is then the average
    score, and a contribution is the difference that a value makes to it.

    Attributes
    ----------
    intercept : float
    terms : tuple of Term
    link : tuple of Stage
        From the score to the prediction; empty if the score is the prediction.
    """

    intercept: float
    terms: tuple[Term, ...]
    link: tuple[Stage, ...] = SIGMOID

    def compile_score(self) -> Callable[[Iterable[Any]], float]:
        """Build the function from one record to its score."""
        intercept = self.intercept
        lookups = [term.compile_points() for term in self.terms]

        def score(record: Iterable[Any]) -> float:
            total = intercept
            for points, value in zip(lookups, record, strict=True):
                total += points(value)
            return total

        return score

    def compile_column_score(self) -> Callable[[Iterable[Record]], list[float]]:
        """Build the function from many records to their scores.

        The function adds the same numbers in the same order as ``compile_score``, one feature at
        a time. Its loops run in C, and it looks up repeated values once.
        """
        intercept = self.intercept
        tables = [(term.compile_points(), _distinguishes_zeros(term)) for term in self.terms]

        def score(records: Iterable[Record]) -> list[float]:
            totals: Iterable[float] = repeat(intercept)
            cached = [points if signed else _Cache(points).__getitem__ for points, signed in tables]
            for points, column in zip(cached, zip(*records, strict=True), strict=True):
                totals = map(add, totals, map(points, column))
            return list(totals)

        return score

    def compile_answers(
        self, link: Callable[[float], float] | None = None
    ) -> Callable[[Sequence[Record]], Any]:
        """Build the function from records to their predictions: the link of each score.

        The function scores a single record term by term, and several records by column.
        """
        one, many = self.compile_score(), self.compile_column_score()
        link = link or (compose_stages(self.link) if self.link else float)

        def answers(records: Sequence[Record]) -> list[float]:
            if len(records) == 1:
                return [link(one(records[0]))]
            return list(map(link, many(records)))

        return answers

    def explain(self, record: Record) -> dict[str, float]:
        """Return the contribution of each feature to the score of a record.

        Parameters
        ----------
        record : tuple
            Checked values in the features' order.

        Returns
        -------
        dict of str to float
            The contributions; with the intercept they add up to the score.
        """
        pairs = zip(self.terms, record, strict=True)
        return {term.feature: term.compile_points()(value) for term, value in pairs}


class Scorecard(msgspec.Struct, frozen=True):
    """The compiled form of a pipeline.

    Attributes
    ----------
    sums : tuple of LinearPredictor
        One if the prediction is a number: a value, or the probability of the positive class.
        Otherwise one for each class, in the order of the target.
    softmax : bool
        Whether the softmax of the scores gives the probabilities. Otherwise each score passes
        through its link, and the results are divided by their sum. Without links, the scores are
        the prediction.
    label_from : {"answers", "scores"}
        Whether the pipeline's ``predict`` compares predictions or scores. They differ if scores
        are so large or so close that the probabilities are equal.
    zeros : bool, optional
        Whether probabilities that are all zero stay zero. Otherwise they become equal.
    """

    sums: tuple[LinearPredictor, ...]
    softmax: bool = False
    label_from: Literal["answers", "scores"] = "answers"
    zeros: bool | msgspec.UnsetType = msgspec.UNSET

    @property
    def is_log_odds(self) -> bool:
        """Whether the prediction is a probability and the score its log-odds."""
        return len(self.sums) == 1 and self.sums[0].link == SIGMOID

    def compile_answers(self, *, labels: bool = True) -> Callable[[Sequence[Record]], list[Answer]]:
        """Build the function from records to their predictions.

        Parameters
        ----------
        labels : bool
            Whether a prediction carries its label if the number does not imply it; not needed
            if the owner has set a threshold.

        Returns
        -------
        callable
        """
        by_score = labels and self.label_from == "scores"
        if len(self.sums) == 1:
            return self.sums[0].compile_answers(
                labelled_sigmoid if by_score and self.is_log_odds else None
            )
        by_class = [total.compile_answers() for total in self.sums]
        combine = self._choose_combination()

        def answers(records: Sequence[Record]) -> list[Answer]:
            columns = [class_answers(records) for class_answers in by_class]
            return list(map(combine, zip(*columns, strict=True)))

        return self._label_by_score(answers) if by_score else answers

    def _choose_combination(self) -> Callable[[Sequence[float]], tuple[float, ...]]:
        """Return the function that combines the numbers of all classes into a prediction."""
        if self.softmax:
            return softmax
        if not any(total.link for total in self.sums):
            return tuple
        return normalize_or_zero if self.zeros else normalize

    def _label_by_score(
        self, answers: Callable[[Sequence[Record]], list[Answer]]
    ) -> Callable[[Sequence[Record]], list[Answer]]:
        """Attach labels to predictions whose probabilities are tied but whose scores differ.

        Scores and probabilities have the same order, so that only ties need the scores.
        """
        scorers = [total.compile_score() for total in self.sums]

        def labelled_answers(records: Sequence[Record]) -> list[Answer]:
            labelled: list[Any] = answers(records)
            for row, answer in enumerate(labelled):
                if answer.count(max(answer)) > 1:
                    scores = [score(records[row]) for score in scorers]
                    index = scores.index(max(scores))
                    if index != answer.index(max(answer)):
                        labelled[row] = LabelledNumbers(answer, index)
            return labelled

        return labelled_answers


def _distinguishes_zeros(term: Term) -> bool:
    """Whether 0.0 and -0.0, which are equal as dictionary keys, have different points."""
    parts = term.parts if isinstance(term, CurveSumTerm) else (term,)
    curves = (part for part in parts if isinstance(part, CurveTerm))
    return any(stage == Named("reciprocal") for curve in curves for stage in curve.path)


class _Cache(dict[Any, float]):
    """A cache of the points of values."""

    def __init__(self, points: Points) -> None:
        super().__init__()
        self._points = points

    def __missing__(self, value: object) -> float:
        points = self[value] = self._points(value)
        return points


class _PointsTable(dict[Any, float]):
    """Points by category, with a default for unseen categories that costs known ones nothing."""

    unseen: float

    def __missing__(self, value: object) -> float:
        return self.unseen
