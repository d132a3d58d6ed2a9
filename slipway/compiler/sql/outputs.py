"""The output columns of a prediction as SQL expressions of the scores."""

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
from slipway.compiler.sql.stages import apply_stages, build_exp
from slipway.models.labels import Labels
from slipway.models.manifest import Manifest

Outputs = dict[str, exp.Expr]


def build_outputs(columns: Columns, manifest: Manifest, scores: Sequence[exp.Column]) -> Outputs:
    """Build the output columns of a prediction, by name.

    Parameters
    ----------
    columns : Columns
        Receives expressions that are used more than once.
    manifest : Manifest
        Of a model that has a scorecard.
    scores : sequence of Column
        The score of every sum.

    Returns
    -------
    dict of str to Expr
        A value; or a probability and a label; or a probability for each class and a label. If the
        model has scores only, they replace the probabilities.
    """
    scorecard, target = manifest.scorecard, manifest.signature.target
    if scorecard is None:
        raise TypeError("a model without a scorecard has no scores")
    linked = [
        columns.define(apply_stages(columns, predictor.link, score), "answer")
        for predictor, score in zip(scorecard.sums, scores, strict=True)
    ]
    if len(linked) > 1:
        return _build_class_outputs(columns, manifest, scores, linked)
    if target.positive is None:
        return {"value": linked[0]}
    deciding = scores[0] if _is_label_by_score(manifest) else linked[0]
    return {target.measure_name: linked[0], "label": _choose_label(manifest, deciding)}


def _is_label_by_score(manifest: Manifest) -> bool:
    """Return whether the scores choose the label, as in the pipeline's ``predict``."""
    scorecard = manifest.scorecard
    by_score = scorecard is not None and scorecard.label_from == "scores"
    return by_score and manifest.threshold is None


def _choose_label(manifest: Manifest, deciding: exp.Column) -> exp.Expr:
    """Choose one of two classes. Without a threshold, the first class wins a tie."""
    target = manifest.signature.target
    is_first = target.classes[0] == target.positive
    border = 0.0 if _is_label_by_score(manifest) else Labels(target).tie_point
    threshold = number(border if manifest.threshold is None else manifest.threshold)
    ties_lose = manifest.threshold is None and not is_first
    is_positive = deciding > threshold if ties_lose else deciding >= threshold
    yes, no = (exp.Literal.string(name) for name in _order_positive_first(target.classes, is_first))
    return choose([(is_positive, yes), (exp.not_(is_positive), no)])


def _order_positive_first(classes: Sequence[str], is_first: bool) -> Sequence[str]:
    return classes if is_first else classes[::-1]


def _build_class_outputs(
    columns: Columns,
    manifest: Manifest,
    scores: Sequence[exp.Column],
    linked: Sequence[exp.Column],
) -> Outputs:
    """Build the numbers of all classes and the label. The first class wins a tie."""
    target, numbers = manifest.signature.target, list(linked)
    if target.measure == "probability" and manifest.scorecard is not None:
        if manifest.scorecard.softmax:
            numbers = _softmax(columns, linked)
        else:
            equal = 0.0 if manifest.scorecard.zeros else 1.0 / len(linked)
            numbers = _normalize(columns, linked, equal)
    deciding = scores if _is_label_by_score(manifest) else numbers
    highest = columns.define(_build_greatest(deciding), "highest")
    names: list[Pair] = [
        (column, exp.Literal.string(name))
        for column, name in zip(deciding, target.classes, strict=True)
    ]
    pairs = zip(target.classes, numbers, strict=True)
    outputs: Outputs = {f"{target.measure_name}_{name}": column for name, column in pairs}
    return {**outputs, "label": choose(names, of=highest)}


def _softmax(columns: Columns, scores: Sequence[exp.Column]) -> list[exp.Column]:
    """Convert the scores of all classes to probabilities, without overflow."""
    highest = columns.define(_build_greatest(scores), "highest")
    below = [columns.define(subtract(score, highest), "below") for score in scores]
    powers = [columns.define(build_exp(score), "power") for score in below]
    total = columns.define(add(*powers), "total")
    return [columns.define(divide(part, total), "probability") for part in powers]


def _normalize(
    columns: Columns, linked: Sequence[exp.Column], share_of_zeros: float
) -> list[exp.Column]:
    """Divide each number by the sum of all; use ``share_of_zeros`` where the sum is zero."""
    total = columns.define(add(*linked), "total")
    same = (total.eq(ZERO), number(share_of_zeros))
    return [columns.define(choose([same], divide(part, total)), "probability") for part in linked]


def _build_greatest(numbers: Sequence[exp.Column]) -> exp.Expr:
    """Build the greatest number. A NULL among the numbers makes the sum NULL as well."""
    return exp.Greatest(
        this=numbers[0].copy(), expressions=[column.copy() for column in numbers[1:]]
    )
