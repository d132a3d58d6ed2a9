"""Models whose SELECT would not give the service's answers, and why."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from slipway.models.manifest import Manifest
from slipway.models.scorecard import CurveSumTerm, CurveTerm, LinearPredictor, Scorecard, Term
from slipway.models.stages import Clip, Fill, Named, Pieces, Stage

# Functions whose last digits differ from engine to engine.
ROUNDED = {"exp", "expm1", "log", "log1p", "log2", "log10", "sigmoid"}
ROUNDED |= {"box-cox", "yeo-johnson", "normal-quantile", "wrap"}
# Functions with infinite results, which are NULL in SQL, and those that make them finite again.
INFINITE = {"log", "log1p", "log2", "log10", "exp", "expm1", "reciprocal"}
FINITE_AGAIN = {"exp", "expm1", "reciprocal", "sigmoid"}
MARKS = {"finite", "known", "within"}
# How much of a difference in the last digit may be left in an answer.
STEEPEST = 1e5
JUMP = 1e-9


def why_inexact(manifest: Manifest, scorecard: Scorecard) -> str:
    """Say why a model cannot be written in SQL without a difference.

    Parameters
    ----------
    manifest : Manifest
    scorecard : Scorecard

    Returns
    -------
    str
        Empty where it can.
    """
    for feature in manifest.signature.features:
        if feature.dtype == "float32":
            return f"{feature.name} is a 32-bit float, which engines round in their own ways"
    for total in scorecard.sums:
        for term in total.terms:
            if reason := _of_term(term):
                return f"{term.feature} {reason}"
        if _is_rounded(total) and (reason := _broken((Named("exp"), *total.link))):
            return f"the score {reason}"
    return ""


def _of_term(term: Term) -> str:
    """Say why a term is not exact."""
    for part in _curves(term):
        stages = (*part.path, part.pieces)
        if any(isinstance(stage, Fill) for stage in stages):
            return "is filled where a function has no result, which engines tell as errors"
        if _returns_from_infinity(part.path):
            return "is infinite on its way for some numbers, which is NULL in SQL"
        if reason := _broken(stages):
            return reason
    return ""


def _returns_from_infinity(path: Sequence[Stage]) -> bool:
    """Return whether an infinite result of one function is a number again later."""
    infinite = False
    for stage in path:
        if isinstance(stage, Clip) and infinite:
            return True
        if isinstance(stage, Named):
            if infinite and stage.name in FINITE_AGAIN:
                return True
            infinite = stage.name in INFINITE or (infinite and stage.name not in MARKS)
    return False


def _curves(term: Term) -> Sequence[CurveTerm]:
    if isinstance(term, CurveSumTerm):
        return term.parts
    return (term,) if isinstance(term, CurveTerm) else ()


def _is_rounded(total: LinearPredictor) -> bool:
    """Return whether a score has last digits that differ from engine to engine."""
    parts = (part for term in total.terms for part in _curves(term))
    return any(_rounds(stage) for part in parts for stage in part.path)


def _rounds(stage: Stage) -> bool:
    return isinstance(stage, Named) and stage.name in ROUNDED


def _broken(stages: Sequence[Stage]) -> str:
    """Say whether a jump or a steep piece follows a function that engines round differently."""
    rounded = False
    for stage in stages:
        if rounded and isinstance(stage, Pieces) and _jumps(stage):
            return "jumps behind a function that engines round in their own ways"
        rounded = rounded or _rounds(stage)
    return ""


def _jumps(pieces: Pieces) -> bool:
    """Return whether neighbouring polynomials differ at their edge, or rise steeply."""
    polynomials = list(zip(pieces.origins, pieces.coefficients, strict=True))
    for edge, (below, above) in zip(pieces.edges, pairwise(polynomials), strict=True):
        one, other = _at(edge, *below), _at(edge, *above)
        if abs(one - other) > JUMP * max(1.0, abs(one)):
            return True
    return any(abs(each[1]) > STEEPEST for _, each in polynomials if len(each) > 1)


def _at(x: float, origin: float, coefficients: Sequence[float]) -> float:
    """Evaluate a polynomial."""
    total = 0.0
    for coefficient in reversed(coefficients):
        total = total * (x - origin) + coefficient
    return total
