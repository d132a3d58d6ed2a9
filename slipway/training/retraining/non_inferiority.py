"""Hold what the rows say against the problem's rules."""

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
from slipway.training.retraining.bootstrap import Floats, compare_first, group_sums, scores
from slipway.training.retraining.holdout import Holdout

NEW, PRODUCTION, BASE = "new", "production", "base rate"


def compare_models(
    problem: Problem,
    holdout: Holdout,
    base_rate: float,
    checks: Sequence[Check] = (),
    notes: tuple[str, ...] = (),
) -> Evidence:
    """Find what the rows held out say, and which rules hold.

    The new model is not inferior if the upper end of the one-sided interval of
    ``score(new) - score(production)`` lies below the margin (FDA: Non-Inferiority Clinical
    Trials to Establish Effectiveness, Guidance for Industry, 2016; Piaggio et al., JAMA 308
    (2012) 2594-2604). And in any case it has to be better than the base rate.

    Parameters
    ----------
    problem : Problem
    holdout : Holdout
        With the answers of ``new`` and, where it can be asked, of ``production``.
    base_rate : float
        The share of the positive class among the rows that the new model was fitted on.
    checks : sequence of Check
        What was found before anything was asked.
    notes : tuple of str

    Returns
    -------
    Evidence
    """
    checks = [*checks, *_check_sample_size(problem, holdout), *_answered(holdout)]
    scored: dict[str, HoldoutScores] = {}
    compared: dict[str, ModelComparison] = {}
    asked = {name: p for name, p in holdout.answers.items() if not _count_invalid(p)}
    if len(holdout.y) and NEW in asked:
        answers = asked | {BASE: np.full(len(holdout.y), base_rate)}
        scored, compared = _measured(holdout, answers, problem.promotion)
        checks += _check_non_inferiority(compared, problem.promotion)
    return Evidence(
        rows=len(holdout.y),
        positive=int(holdout.y.sum()),
        groups=holdout.n_groups,
        grouped_by=problem.group_column or "",
        scores=scored,
        compared=compared,
        checks=tuple(checks),
        notes=notes,
    )


def _check_sample_size(problem: Problem, holdout: Holdout) -> Iterator[Check]:
    """Check whether the rows could tell two models apart."""
    rules, n, positive = problem.promotion, len(holdout.y), int(holdout.y.sum())
    yield _at_least("rows held out", n, rules.min_rows)
    if problem.group_column:
        groups = f"groups by {problem.group_column}"
        yield _at_least(groups, holdout.n_groups, rules.min_groups)
    fewest = "rows of the rarer class"
    yield _at_least(fewest, min(positive, n - positive), problem.min_class_rows)


def _at_least(rule: str, found: int, least: int) -> Check:
    return Check(rule, f"{found:,}", f"{least:,} or more", found >= least)


def _answered(holdout: Holdout) -> Iterator[Check]:
    """Check whether each model gives a probability for every row."""
    for name, p in holdout.answers.items():
        wrong = _count_invalid(p)
        yield Check(f"no answer, {name}", f"{wrong:,} rows", "none", not wrong)


def _count_invalid(p: Floats) -> int:
    """Count what is no probability; NaN is none."""
    return int((~((p >= 0.0) & (p <= 1.0))).sum())


def _measured(
    holdout: Holdout, answers: dict[str, Floats], rules: PromotionRules
) -> tuple[dict[str, HoldoutScores], dict[str, ModelComparison]]:
    """Score each model, and compare the new one with the others."""
    # The first is the one that is compared with the others.
    names = sorted(answers, key=lambda name: name != NEW)
    sums = group_sums(holdout.y, np.stack([answers[name] for name in names]), holdout.groups)
    both = 0 < holdout.y.sum() < len(holdout.y)
    scored = {
        name: HoldoutScores(
            loss, error, float(roc_auc_score(holdout.y, answers[name])) if both else None
        )
        for name, (loss, error) in zip(names, scores(sums.sum(axis=0)).tolist(), strict=True)
    }
    return scored, dict(zip(names[1:], compare_first(sums, rules), strict=True))


def _check_non_inferiority(
    compared: dict[str, ModelComparison], rules: PromotionRules
) -> Iterator[Check]:
    """Hold the differences against their margins."""
    yield _check_margin("log loss vs base rate", compared[BASE].log_loss, 0.0)
    if PRODUCTION in compared:
        there = compared[PRODUCTION]
        yield _check_margin("log loss vs production", there.log_loss, rules.log_loss_margin)
        rule = "calibration error vs production"
        yield _check_margin(rule, there.calibration_error, rules.calibration_margin)


def _check_margin(rule: str, found: Difference, margin: float) -> Check:
    """Check that the upper end of an interval lies below a margin."""
    told = f"{found.value:+.5f}, at most {found.high:+.5f}"
    return Check(rule, told, f"below {margin:g}", found.high < margin)
