"""A linear model as a sum of one-feature terms: score one record, many, or explain one.

    score = intercept + sum of term_f(x_f);    answer = link(score)

For a logistic regression the score is the log-odds and the link is the sigmoid. A model of
more than two classes has such a sum for each. Nothing here needs scikit-learn:
``slipway.compiler`` makes a scorecard from a fitted pipeline, JSON carries it, and the
standard library scores with it.
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
    """Points by category, for a missing value, and for one that training has not seen."""

    feature: str
    levels: tuple[str | bool | int | float, ...]
    points: tuple[float, ...]
    missing: float
    unseen: float

    def compile_points(self) -> Points:
        """Build the function from a value to its points."""
        table = _Levels(zip(self.levels, self.points, strict=True))
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
    """Points by interval: ``points[i]`` from ``edges[i - 1]``, itself included, on."""

    feature: str
    edges: tuple[float, ...]
    points: tuple[float, ...]
    missing: float

    def compile_points(self) -> Points:
        """Build the function from a number to its points."""
        edges, points, missing = self.edges, self.points, self.missing
        return lambda x: missing if x is None else points[bisect_right(edges, x)]


class CurveTerm(msgspec.Struct, frozen=True, tag="bent", tag_field="kind"):
    """Points along a curve: the number goes through the stages of ``path``, then ``pieces``."""

    feature: str
    path: tuple[Stage, ...]
    pieces: Pieces
    missing: float

    def compile_points(self) -> Points:
        """Build the function from a number to its points."""
        curve, missing = compose_stages((*self.path, self.pieces)), self.missing
        return lambda x: missing if x is None else curve(x)


class CurveSumTerm(msgspec.Struct, frozen=True, tag="mixed", tag_field="kind"):
    """Points along several curves, added up, because each has a path of its own."""

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
    """The intercept and one term a feature, in the order of the signature's features.

    The terms are centred on the training rows where those are known, so that the intercept is
    the average row's score and a contribution says how far a value moves it from there.

    Attributes
    ----------
    intercept : float
    terms : tuple of Term
    link : tuple of Stage
        From the score to the answer; none of them where the score is the answer.
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

        It adds the same numbers in the same order as ``scorer``, a feature at a time: the
        loops are C's then, and a value that comes again is looked up once.
        """
        intercept = self.intercept
        tables = [(term.compile_points(), _tells_zeros_apart(term)) for term in self.terms]

        def score(records: Iterable[Record]) -> list[float]:
            totals: Iterable[float] = repeat(intercept)
            known = [points if signed else _Known(points).__getitem__ for points, signed in tables]
            for points, column in zip(known, zip(*records, strict=True), strict=True):
                totals = map(add, totals, map(points, column))
            return list(totals)

        return score

    def compile_answers(
        self, link: Callable[[float], float] | None = None
    ) -> Callable[[Sequence[Record]], Any]:
        """Build the function from records to their scores, each through the link.

        A single record is added up at once, several of them a feature at a time.
        """
        one, many = self.compile_score(), self.compile_column_score()
        link = link or (compose_stages(self.link) if self.link else float)

        def answers(records: Sequence[Record]) -> list[float]:
            if len(records) == 1:
                return [link(one(records[0]))]
            return list(map(link, many(records)))

        return answers

    def explain(self, record: Record) -> dict[str, float]:
        """Give each feature's contribution to the score of a record.

        Parameters
        ----------
        record : tuple
            Checked values in the features' order.

        Returns
        -------
        dict of str to float
            With the intercept these sum to the score.
        """
        pairs = zip(self.terms, record, strict=True)
        return {term.feature: term.compile_points()(value) for term, value in pairs}


class Scorecard(msgspec.Struct, frozen=True):
    """What answers in place of a pipeline.

    Attributes
    ----------
    sums : tuple of LinearPredictor
        One where the answer is a number: a value, or the probability of the positive class.
        Else one a class, in the order of the target's.
    softmax : bool
        Whether several scores become probabilities together; else each goes through its link,
        and they are divided by their sum. Without links, the scores are the answer.
    label_from : {"answers", "scores"}
        What the pipeline's ``predict`` goes by. They differ where scores are so large or so
        near to each other that the probabilities are equal.
    zeros : bool, optional
        Whether probabilities that are all zero stay so; else they become all the same.
    """

    sums: tuple[LinearPredictor, ...]
    softmax: bool = False
    label_from: Literal["answers", "scores"] = "answers"
    zeros: bool | msgspec.UnsetType = msgspec.UNSET

    @property
    def is_log_odds(self) -> bool:
        """Whether the answer is a probability and the score its log-odds."""
        return len(self.sums) == 1 and self.sums[0].link == SIGMOID

    def compile_answers(self, *, labels: bool = True) -> Callable[[Sequence[Record]], list[Answer]]:
        """Build the function from records to their answers.

        Parameters
        ----------
        labels : bool
            Whether an answer carries its label where the number does not imply it; the owner's
            threshold makes that superfluous.

        Returns
        -------
        callable
        """
        by_score = labels and self.label_from == "scores"
        if len(self.sums) == 1:
            return self.sums[0].compile_answers(
                labelled_sigmoid if by_score and self.is_log_odds else None
            )
        answerers = [each.compile_answers() for each in self.sums]
        together = self._together()

        def answers(records: Sequence[Record]) -> list[Answer]:
            columns = [answer(records) for answer in answerers]
            return list(map(together, zip(*columns, strict=True)))

        return self._by_score(answers) if by_score else answers

    def _together(self) -> Callable[[Sequence[float]], tuple[float, ...]]:
        """Choose what makes one answer of the numbers of all classes."""
        if self.softmax:
            return softmax
        if not any(each.link for each in self.sums):
            return tuple
        return normalize_or_zero if self.zeros else normalize

    def _by_score(
        self, answers: Callable[[Sequence[Record]], list[Answer]]
    ) -> Callable[[Sequence[Record]], list[Answer]]:
        """Attach labels where probabilities are tied and the scores are not.

        Scores and probabilities have one order, so that only a tie can hide the greatest score.
        """
        scorers = [each.compile_score() for each in self.sums]

        def labelled(records: Sequence[Record]) -> list[Answer]:
            given: list[Any] = answers(records)
            for row, answer in enumerate(given):
                if answer.count(max(answer)) > 1:
                    scores = [score(records[row]) for score in scorers]
                    place = scores.index(max(scores))
                    if place != answer.index(max(answer)):
                        given[row] = LabelledNumbers(answer, place)
            return given

        return labelled


def _tells_zeros_apart(term: Term) -> bool:
    """Return whether 0.0 and -0.0, which are one key of a table, have different points."""
    parts = term.parts if isinstance(term, CurveSumTerm) else (term,)
    curves = (part for part in parts if isinstance(part, CurveTerm))
    return any(stage == Named("reciprocal") for curve in curves for stage in curve.path)


class _Known(dict[Any, float]):
    """A table that looks a value up when it first comes, and remembers its points."""

    def __init__(self, points: Points) -> None:
        super().__init__()
        self._points = points

    def __missing__(self, value: object) -> float:
        points = self[value] = self._points(value)
        return points


class _Levels(dict[Any, float]):
    """A table that answers for unseen values too, at a dictionary's own speed for the rest."""

    unseen: float

    def __missing__(self, value: object) -> float:
        return self.unseen
