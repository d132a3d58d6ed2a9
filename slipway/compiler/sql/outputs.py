"""From the scores to the columns of the answer, as SQL expressions."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from slipway.compiler.sql.expressions import (
    ZERO,
    Columns,
    Pair,
    add,
    choose,
    divide,
    number,
    subtract,
)
from slipway.compiler.sql.stages import along, power
from slipway.models.labels import Labels
from slipway.models.manifest import Manifest

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
        Scores stand in the place of probabilities where the model has only those.
    """
    scorecard, target = manifest.scorecard, manifest.signature.target
    if scorecard is None:
        raise TypeError("a model without a scorecard has no scores")
    linked = [
        columns.let(along(columns, each.link, score), "answer")
        for each, score in zip(scorecard.sums, scores, strict=True)
    ]
    if len(linked) > 1:
        return _of_classes(columns, manifest, scores, linked)
    if target.positive is None:
        return {"value": linked[0]}
    decides = scores[0] if _by_score(manifest) else linked[0]
    return {target.measure_name: linked[0], "label": _label(manifest, decides)}


def _by_score(manifest: Manifest) -> bool:
    """Whether the scores choose the label, as they do for the pipeline's ``predict``."""
    scorecard = manifest.scorecard
    by_score = scorecard is not None and scorecard.label_from == "scores"
    return by_score and manifest.threshold is None


def _label(manifest: Manifest, decides: exp.Column) -> exp.Expr:
    """Choose one of two classes; without a threshold a tie gives the first of them."""
    target = manifest.signature.target
    first = target.classes[0] == target.positive
    middle = 0.0 if _by_score(manifest) else Labels(target).tie_point
    threshold = number(middle if manifest.threshold is None else manifest.threshold)
    ties_lose = manifest.threshold is None and not first
    reached = decides > threshold if ties_lose else decides >= threshold
    yes, no = (exp.Literal.string(name) for name in _positive_first(target.classes, first))
    return choose([(reached, yes), (exp.not_(reached), no)])


def _positive_first(classes: Sequence[str], first: bool) -> Sequence[str]:
    return classes if first else classes[::-1]


def _of_classes(
    columns: Columns,
    manifest: Manifest,
    scores: Sequence[exp.Column],
    linked: Sequence[exp.Column],
) -> Answers:
    """Give the numbers of all classes, and the class of the highest, the first of equal ones."""
    target, numbers = manifest.signature.target, list(linked)
    if target.measure == "probability" and manifest.scorecard is not None:
        if manifest.scorecard.softmax:
            numbers = _softmax(columns, linked)
        else:
            equal = 0.0 if manifest.scorecard.zeros else 1.0 / len(linked)
            numbers = _shares(columns, linked, equal)
    decide = scores if _by_score(manifest) else numbers
    highest = columns.let(_greatest(decide), "highest")
    names: list[Pair] = [
        (column, exp.Literal.string(name))
        for column, name in zip(decide, target.classes, strict=True)
    ]
    pairs = zip(target.classes, numbers, strict=True)
    found: Answers = {f"{target.measure_name}_{name}": column for name, column in pairs}
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
