"""From the scores to the columns of the answer, as SQL expressions."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from slipway.manifest import Manifest
from slipway.scorecard import Scorecard
from slipway.sql.columns import ZERO, Columns, Pair, add, choose, divide, number, subtract
from slipway.sql.stages import along, power

Answers = dict[str, exp.Expr]


def answers(columns: Columns, manifest: Manifest, scores: Sequence[exp.Column]) -> Answers:
    """Give the columns of the answer by their names.

    Parameters
    ----------
    columns : Columns
        Takes what is used more than once.
    manifest : Manifest
        Of a model that has a scorecard.
    scores : sequence of Column
        Of every sum.

    Returns
    -------
    dict of str to Expr
        A value; or a probability and a label; or a probability for each class and a label.
    """
    scorecard, target = manifest.scorecard, manifest.signature.target
    if scorecard is None:
        raise TypeError("a model without a scorecard has no scores")
    linked = [
        columns.let(along(columns, each.link, score), "answer")
        for each, score in zip(scorecard.sums, scores, strict=True)
    ]
    if len(linked) > 1:
        return _of_classes(columns, scorecard, target.classes, linked)
    if target.positive is None:
        return {"value": linked[0]}
    return {"probability": linked[0], "label": _label(manifest, linked[0])}


def _label(manifest: Manifest, probability: exp.Column) -> exp.Expr:
    """Choose one of two classes; without a threshold an equal chance gives the first of them."""
    target = manifest.signature.target
    first = target.classes[0] == target.positive
    threshold = number(0.5 if manifest.threshold is None else manifest.threshold)
    ties_lose = manifest.threshold is None and not first
    reached = probability > threshold if ties_lose else probability >= threshold
    yes, no = (exp.Literal.string(name) for name in _positive_first(target.classes, first))
    return choose([(reached, yes), (exp.not_(reached), no)])


def _positive_first(classes: Sequence[str], first: bool) -> Sequence[str]:
    return classes if first else classes[::-1]


def _of_classes(
    columns: Columns, scorecard: Scorecard, classes: Sequence[str], linked: Sequence[exp.Column]
) -> Answers:
    """Give all the probabilities, and the most probable class, the first of equal ones."""
    if scorecard.softmax:
        probabilities = _softmax(columns, linked)
    else:
        probabilities = _shares(columns, linked, 0.0 if scorecard.zeros else 1.0 / len(linked))
    highest = columns.let(_greatest(probabilities), "highest")
    names: list[Pair] = [
        (column, exp.Literal.string(name))
        for column, name in zip(probabilities, classes, strict=True)
    ]
    pairs = zip(classes, probabilities, strict=True)
    found: Answers = {f"probability_{name}": column for name, column in pairs}
    return {**found, "label": choose(names, of=highest)}


def _softmax(columns: Columns, scores: Sequence[exp.Column]) -> list[exp.Column]:
    """Turn the scores of all classes into probabilities; none is raised above the highest."""
    highest = columns.let(_greatest(scores), "highest")
    below = [columns.let(subtract(score, highest), "below") for score in scores]
    powers = [columns.let(power(each), "power") for each in below]
    total = columns.let(add(*powers), "total")
    return [columns.let(divide(each, total), "probability") for each in powers]


def _shares(columns: Columns, linked: Sequence[exp.Column], of_zeros: float) -> list[exp.Column]:
    """Divide by the sum, where that is not zero."""
    total = columns.let(add(*linked), "total")
    same = (total.eq(ZERO), number(of_zeros))
    return [columns.let(choose([same], divide(each, total)), "probability") for each in linked]


def _greatest(numbers: Sequence[exp.Column]) -> exp.Expr:
    """Give the greatest number; where one is NULL, so is the sum that is used beside it."""
    return exp.Greatest(this=numbers[0].copy(), expressions=[each.copy() for each in numbers[1:]])
