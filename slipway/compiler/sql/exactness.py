"""Reasons why a SELECT would not return the same predictions as the service."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from slipway.models.manifest import Manifest
from slipway.models.scorecard import CurveSumTerm, CurveTerm, LinearPredictor, Scorecard, Term
from slipway.models.stages import Clip, Fill, Named, Pieces, Stage

# Functions whose last digits differ between engines.
ROUNDED = {"exp", "expm1", "log", "log1p", "log2", "log10", "sigmoid"}
ROUNDED |= {"box-cox", "yeo-johnson", "normal-quantile", "wrap"}
# Functions with infinite results, which are NULL in SQL, and those that return to finite ones.
INFINITE = {"log", "log1p", "log2", "log10", "exp", "expm1", "reciprocal"}
FINITE = {"exp", "expm1", "reciprocal", "sigmoid"}
MARKS = {"finite", "known", "within"}
# Limits on the effect of a different last digit on a prediction.
MAX_SLOPE = 1e5
MIN_JUMP = 1e-9


def why_inexact(manifest: Manifest, scorecard: Scorecard) -> str:
    """Return the reason why SQL cannot reproduce a model exactly.

    Parameters
    ----------
    manifest : Manifest
    scorecard : Scorecard

    Returns
    -------
    str
        Empty if SQL can reproduce the model.
    """
    for feature in manifest.signature.features:
        if feature.dtype == "float32":
            return f"{feature.name} is a 32-bit float, which engines round differently"
    for predictor in scorecard.sums:
        for term in predictor.terms:
            if reason := _why_term_inexact(term):
                return f"{term.feature} {reason}"
        if _has_rounding(predictor) and (reason := _why_unstable((Named("exp"), *predictor.link))):
            return f"the score {reason}"
    return ""


def _why_term_inexact(term: Term) -> str:
    """Return the reason why a term is not exact, or an empty string."""
    for part in _list_curves(term):
        stages = (*part.path, part.pieces)
        if any(isinstance(stage, Fill) for stage in stages):
            return "is imputed where a function has no result, which engines report as an error"
        if _returns_from_infinity(part.path):
            return "has infinite intermediate results, which are NULL in SQL"
        if reason := _why_unstable(stages):
            return reason
    return ""


def _returns_from_infinity(path: Sequence[Stage]) -> bool:
    """Return whether a later function makes an infinite result finite again."""
    infinite = False
    for stage in path:
        if isinstance(stage, Clip) and infinite:
            return True
        if isinstance(stage, Named):
            if infinite and stage.name in FINITE:
                return True
            infinite = stage.name in INFINITE or (infinite and stage.name not in MARKS)
    return False


def _list_curves(term: Term) -> Sequence[CurveTerm]:
    if isinstance(term, CurveSumTerm):
        return term.parts
    return (term,) if isinstance(term, CurveTerm) else ()


def _has_rounding(predictor: LinearPredictor) -> bool:
    """Return whether the last digits of a score differ between engines."""
    parts = (part for term in predictor.terms for part in _list_curves(term))
    return any(_is_rounding(stage) for part in parts for stage in part.path)


def _is_rounding(stage: Stage) -> bool:
    return isinstance(stage, Named) and stage.name in ROUNDED


def _why_unstable(stages: Sequence[Stage]) -> str:
    """Return a reason if a jump follows a function that engines round differently."""
    rounded = False
    for stage in stages:
        if rounded and isinstance(stage, Pieces) and _has_jump(stage):
            return "jumps after a function that engines round differently"
        rounded = rounded or _is_rounding(stage)
    return ""


def _has_jump(pieces: Pieces) -> bool:
    """Return whether neighbouring polynomials differ at their edge, or one is steep."""
    polynomials = list(zip(pieces.origins, pieces.coefficients, strict=True))
    for edge, (below, above) in zip(pieces.edges, pairwise(polynomials), strict=True):
        one, other = _evaluate_polynomial(edge, *below), _evaluate_polynomial(edge, *above)
        if abs(one - other) > MIN_JUMP * max(1.0, abs(one)):
            return True
    return any(abs(line[1]) > MAX_SLOPE for _, line in polynomials if len(line) > 1)


def _evaluate_polynomial(x: float, origin: float, coefficients: Sequence[float]) -> float:
    """Evaluate a polynomial."""
    total = 0.0
    for coefficient in reversed(coefficients):
        total = total * (x - origin) + coefficient
    return total
