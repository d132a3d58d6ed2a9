"""Compare models on the held out rows and check the problem's promotion rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from sklearn.metrics import roc_auc_score

from slipway.data.problem import Problem, PromotionRules
from slipway.models.promotion_record import (
    Check,
    Difference,
    Evidence,
    HoldoutScores,
    ModelComparison,
)
from slipway.training.retraining.bootstrap import (
    Floats,
    compare_first,
    scores_from_sums,
    sum_by_group,
)
from slipway.training.retraining.holdout import Holdout

NEW, PRODUCTION, BASE = "new", "production", "base rate"


def compare_models(
    problem: Problem,
    holdout: Holdout,
    base_rate: float,
    checks: Sequence[Check] = (),
    notes: tuple[str, ...] = (),
) -> Evidence:
    """Score the models on the held out rows and check the promotion rules.

    The new model is not inferior if the upper end of the one-sided interval of
    ``score(new) - score(production)`` lies below the margin. It must also be better than the base
    rate. Sources: FDA, Non-Inferiority Clinical Trials to Establish Effectiveness, Guidance for
    Industry, 2016; Piaggio et al., JAMA 308 (2012) 2594-2604.

    Parameters
    ----------
    problem : Problem
    holdout : Holdout
        With predictions of ``new`` and, if available, of ``production``.
    base_rate : float
        The share of the positive class in the new model's training rows.
    checks : sequence of Check
        Checks from before the predictions.
    notes : tuple of str

    Returns
    -------
    Evidence
    """
    checks = [*checks, *_check_sample_size(problem, holdout), *_check_predictions(holdout)]
    scores: dict[str, HoldoutScores] = {}
    compared: dict[str, ModelComparison] = {}
    valid = {name: p for name, p in holdout.answers.items() if not _count_invalid(p)}
    if len(holdout.y) and NEW in valid:
        answers = valid | {BASE: np.full(len(holdout.y), base_rate)}
        scores, compared = _score_models(holdout, answers, problem.promotion)
        checks += _check_non_inferiority(compared, problem.promotion)
    return Evidence(
        rows=len(holdout.y),
        positive=int(holdout.y.sum()),
        groups=holdout.n_groups,
        grouped_by=problem.group_column or "",
        scores=scores,
        compared=compared,
        checks=tuple(checks),
        notes=notes,
    )


def _check_sample_size(problem: Problem, holdout: Holdout) -> Iterator[Check]:
    """Check that there are enough rows to compare two models."""
    rules, n, positive = problem.promotion, len(holdout.y), int(holdout.y.sum())
    yield _check_minimum("held out rows", n, rules.min_rows)
    if problem.group_column:
        rule = f"groups by {problem.group_column}"
        yield _check_minimum(rule, holdout.n_groups, rules.min_groups)
    rule = "rows of the rarer class"
    yield _check_minimum(rule, min(positive, n - positive), problem.min_class_rows)


def _check_minimum(rule: str, count: int, minimum: int) -> Check:
    return Check(rule, f"{count:,}", f"{minimum:,} or more", count >= minimum)


def _check_predictions(holdout: Holdout) -> Iterator[Check]:
    """Check that each model returns a probability for every row."""
    for name, p in holdout.answers.items():
        invalid = _count_invalid(p)
        yield Check(f"without prediction, {name}", f"{invalid:,} rows", "none", not invalid)


def _count_invalid(p: Floats) -> int:
    """Count the values that are not probabilities, including NaN."""
    return int((~((p >= 0.0) & (p <= 1.0))).sum())


def _score_models(
    holdout: Holdout, answers: dict[str, Floats], rules: PromotionRules
) -> tuple[dict[str, HoldoutScores], dict[str, ModelComparison]]:
    """Score each model, and compare the new one with the others."""
    # compare_first compares the first model with the others.
    names = sorted(answers, key=lambda name: name != NEW)
    sums = sum_by_group(holdout.y, np.stack([answers[name] for name in names]), holdout.groups)
    has_both_classes = 0 < holdout.y.sum() < len(holdout.y)
    measured = {
        name: HoldoutScores(
            loss,
            error,
            float(roc_auc_score(holdout.y, answers[name])) if has_both_classes else None,
        )
        for name, (loss, error) in zip(
            names, scores_from_sums(sums.sum(axis=0)).tolist(), strict=True
        )
    }
    return measured, dict(zip(names[1:], compare_first(sums, rules), strict=True))


def _check_non_inferiority(
    compared: dict[str, ModelComparison], rules: PromotionRules
) -> Iterator[Check]:
    """Check the differences against their margins."""
    yield _check_margin("log loss vs base rate", compared[BASE].log_loss, 0.0)
    if PRODUCTION in compared:
        against_production = compared[PRODUCTION]
        yield _check_margin(
            "log loss vs production", against_production.log_loss, rules.log_loss_margin
        )
        rule = "calibration error vs production"
        yield _check_margin(rule, against_production.calibration_error, rules.calibration_margin)


def _check_margin(rule: str, difference: Difference, margin: float) -> Check:
    """Check that the upper end of an interval lies below a margin."""
    message = f"{difference.value:+.5f}, at most {difference.high:+.5f}"
    return Check(rule, message, f"below {margin:g}", difference.high < margin)
