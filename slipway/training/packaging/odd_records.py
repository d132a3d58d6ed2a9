"""Records that training rows seldom hold: gaps, unseen values, numbers far out and on edges."""

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
# Of one feature; more edges are thinned out.
MOST_EDGES = 300
MOST_CATEGORIES = 1_000


def probe_records(
    signature: Signature, scorecard: Scorecard, records: Sequence[Record]
) -> list[Record]:
    """Make records that differ from a usual one in a single value, or in all of a kind.

    Parameters
    ----------
    signature : Signature
    scorecard : Scorecard
        Its edges are probed on both sides.
    records : sequence of tuple
        Checked records; the first one is the usual one, all of them show the ranges.

    Returns
    -------
    list of tuple
        Those that the signature takes.
    """
    usual = records[0]
    columns = list(zip(*records, strict=True))
    made: list[Record] = []
    for i, feature in enumerate(signature.features):
        terms = [each.terms[i] for each in scorecard.sums]
        values = _values(feature, terms, columns[i])
        made += [(*usual[:i], value, *usual[i + 1 :]) for value in dict.fromkeys(values)]
    pairs = list(zip(signature.features, usual, strict=True))
    made.append(tuple(None if feature.nullable else value for feature, value in pairs))
    made.append(tuple(UNSEEN if feature.kind == "category" else value for feature, value in pairs))
    return list(filter(None, (_checked(signature, record) for record in made)))


def _checked(signature: Signature, record: Record) -> Record | None:
    """Return a record as the signature takes it, or None where it does not."""
    checked, errors, _ = signature.check(dict(zip(signature.names, record, strict=True)))
    return None if errors else checked


def _values(feature: Feature, terms: Sequence[Term], column: Sequence[Value]) -> list[Value]:
    """List the values of one feature that are worth a look."""
    gap: list[Value] = [None] if feature.nullable else []
    known: list[Any] = list(feature.categories)[:MOST_CATEGORIES]
    if feature.kind == "flag":
        return [*gap, *(feature.categories if feature.closed else (False, True))]
    if feature.kind == "category":
        return [*gap, *known, UNSEEN, ""]
    if feature.kind not in ("number", "integer"):
        return gap
    numbers: list[float] = [*known, *_numbers(column), *_around(_edges(terms))]
    if feature.kind == "integer":
        numbers = [math.floor(float(each)) for each in numbers if abs(float(each)) < 2**53]
    return [*gap, *numbers]


def _numbers(column: Sequence[Value]) -> list[float]:
    """List numbers at the ends of the range, far out on both sides, between, and around zero."""
    known = [float(each) for each in column if isinstance(each, int | float)]
    low, high = min(known, default=0.0), max(known, default=1.0)
    far = 10.0 * ((high - low) or abs(high) or 1.0)
    between = [low + (high - low) * share for share in (0.123, 0.5, 0.877)]
    return [0.0, 1.0, -1.0, 0.5, low, high, -low, -high, low - far, high + far, *between]


def _around(edges: Iterable[float]) -> list[float]:
    """List each edge and its neighbours."""
    return [
        number
        for edge in edges
        for number in (edge, math.nextafter(edge, -math.inf), math.nextafter(edge, math.inf))
        if math.isfinite(number)
    ]


def _edges(terms: Sequence[Term]) -> list[float]:
    """Collect the raw numbers at which terms jump or bend."""
    found: set[float] = set()
    for term in terms:
        if isinstance(term, StepTerm):
            found |= {*term.edges}
        for part in term.parts if isinstance(term, CurveSumTerm) else (term,):
            if isinstance(part, CurveTerm):
                found |= {*_raw_edges(part)}
    ordered = sorted(found)
    return ordered[:: 1 + len(ordered) // MOST_EDGES]


def _raw_edges(term: CurveTerm) -> list[float]:
    """Return the edges of a curve as raw numbers, where its path can be inverted."""
    ends = [end for stage in term.path for end in _ends(stage)]
    path = tuple(stage for stage in term.path if not _ends(stage))
    places = range(len(term.pieces.edges) + 1)
    for inside in (1.0, 0.0, -1.0) if term.pieces.edges else ():
        left, edges, _ = move_edges_to_raw(path, term.pieces.edges, places, inside)
        if not left or _ends(left[0]):
            return [*ends, *edges]
    return ends


def _ends(stage: object) -> tuple[float, ...]:
    """Return the ends of a stage's domain."""
    return stage.parameters if isinstance(stage, Named) and stage.name == "within" else ()
