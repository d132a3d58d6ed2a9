"""Make records that training rows rarely contain: missing, unseen, extreme and edge values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from slipway.compiler.inversion import move_edges_to_raw
from slipway.models.features import Feature, Record, Value
from slipway.models.scorecard import CurveSumTerm, CurveTerm, Scorecard, StepTerm, Term
from slipway.models.signature import Signature
from slipway.models.stages import Named

UNSEEN = "never seen in training"
# Per feature; longer lists are thinned out.
MAX_EDGES = 300
MAX_CATEGORIES = 1_000


def make_probe_records(
    signature: Signature, scorecard: Scorecard, records: Sequence[Record]
) -> list[Record]:
    """Make records that differ from an ordinary one in one value, or in all values of a kind.

    Parameters
    ----------
    signature : Signature
    scorecard : Scorecard
        Probe records lie on both sides of its edges.
    records : sequence of tuple
        Checked records. The first is the ordinary one; all of them define the ranges.

    Returns
    -------
    list of tuple
        The records that the signature accepts.
    """
    ordinary = records[0]
    columns = list(zip(*records, strict=True))
    probes: list[Record] = []
    for i, feature in enumerate(signature.features):
        terms = [predictor.terms[i] for predictor in scorecard.sums]
        values = _list_values(feature, terms, columns[i])
        probes += [(*ordinary[:i], value, *ordinary[i + 1 :]) for value in dict.fromkeys(values)]
    pairs = list(zip(signature.features, ordinary, strict=True))
    probes.append(tuple(None if feature.nullable else value for feature, value in pairs))
    probes.append(
        tuple(UNSEEN if feature.kind == "category" else value for feature, value in pairs)
    )
    return list(filter(None, (_checked(signature, record) for record in probes)))


def _checked(signature: Signature, record: Record) -> Record | None:
    """Return the record as checked by the signature, or None if rejected."""
    checked, errors, _ = signature.check(dict(zip(signature.names, record, strict=True)))
    return None if errors else checked


def _list_values(feature: Feature, terms: Sequence[Term], column: Sequence[Value]) -> list[Value]:
    """List the probe values of one feature."""
    missing: list[Value] = [None] if feature.nullable else []
    known: list[Any] = list(feature.categories)[:MAX_CATEGORIES]
    if feature.kind == "flag":
        return [*missing, *(feature.categories if feature.closed else (False, True))]
    if feature.kind == "category":
        return [*missing, *known, UNSEEN, ""]
    if feature.kind not in ("number", "integer"):
        return missing
    numbers: list[float] = [*known, *_spread_numbers(column), *_with_neighbours(_find_edges(terms))]
    if feature.kind == "integer":
        numbers = [math.floor(float(n)) for n in numbers if abs(float(n)) < 2**53]
    return [*missing, *numbers]


def _spread_numbers(column: Sequence[Value]) -> list[float]:
    """List numbers at the ends of the range, inside it, far outside it, and around zero."""
    known = [float(value) for value in column if isinstance(value, int | float)]
    low, high = min(known, default=0.0), max(known, default=1.0)
    far = 10.0 * ((high - low) or abs(high) or 1.0)
    between = [low + (high - low) * share for share in (0.123, 0.5, 0.877)]
    return [0.0, 1.0, -1.0, 0.5, low, high, -low, -high, low - far, high + far, *between]


def _with_neighbours(edges: Iterable[float]) -> list[float]:
    """List each edge and the floating-point numbers beside it."""
    return [
        number
        for edge in edges
        for number in (edge, math.nextafter(edge, -math.inf), math.nextafter(edge, math.inf))
        if math.isfinite(number)
    ]


def _find_edges(terms: Sequence[Term]) -> list[float]:
    """Collect the raw numbers at which terms jump or change slope."""
    edges: set[float] = set()
    for term in terms:
        if isinstance(term, StepTerm):
            edges |= {*term.edges}
        for part in term.parts if isinstance(term, CurveSumTerm) else (term,):
            if isinstance(part, CurveTerm):
                edges |= {*_find_raw_edges(part)}
    ordered = sorted(edges)
    return ordered[:: 1 + len(ordered) // MAX_EDGES]


def _find_raw_edges(term: CurveTerm) -> list[float]:
    """Return the edges of a curve as raw numbers, if its path can be inverted."""
    ends = [end for stage in term.path for end in _domain_ends(stage)]
    path = tuple(stage for stage in term.path if not _domain_ends(stage))
    places = range(len(term.pieces.edges) + 1)
    for inside in (1.0, 0.0, -1.0) if term.pieces.edges else ():
        left, edges, _ = move_edges_to_raw(path, term.pieces.edges, places, inside)
        if not left or _domain_ends(left[0]):
            return [*ends, *edges]
    return ends


def _domain_ends(stage: object) -> tuple[float, ...]:
    """Return the ends of a stage's domain."""
    return stage.parameters if isinstance(stage, Named) and stage.name == "within" else ()
