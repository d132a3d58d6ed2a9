"""Edges behind a monotone function, as edges of the raw number.

A bin behind a logarithm begins at some raw number. Compared there, a number on the edge falls to
the side that scikit-learn's own function gives, in Python and in SQL alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from slipway.compiler.floats import LARGEST, Floats, evaluate, first_true, moved
from slipway.models.stages import Affine, Clip, Named, Stage

_RISING = {"exp", "expm1", "log", "log1p", "log2", "log10", "sqrt", "sigmoid"}
_RISING |= {"box-cox", "yeo-johnson", "normal-quantile", "within", "finite", "known"}
# How many neighbours of an edge must lie on the side that the search found.
_NEIGHBOURS = 16

Cut = tuple[tuple[Stage, ...], tuple[float, ...], list[Any]]


def without_marks(path: Sequence[Stage]) -> tuple[Stage, ...]:
    """Leave out the marks of steps that raise for infinity, where the end of the path finds it."""
    kept: list[Stage] = []
    found = True
    for stage in reversed(path):
        if stage in (Named("finite"), Named("known")):
            if found:
                continue
            found = True
        elif isinstance(stage, Clip | Named):
            found = False
        elif not isinstance(stage, Affine):
            found = True
        kept.append(stage)
    return tuple(reversed(kept))


def in_raw_numbers(
    path: tuple[Stage, ...], edges: tuple[float, ...], values: Sequence[Any], inside: float
) -> Cut:
    """Move edges to the front of a path.

    Parameters
    ----------
    path : tuple of Stage
    edges : tuple of float
        Of what comes out of the path.
    values : sequence
        By interval; one more than there are edges.
    inside : float
        A raw number for which the path is defined.

    Returns
    -------
    path, edges, values
        What remains of the path, and the same intervals behind it; all as given where the path
        is not monotone.
    """
    direction = _direction(path)
    if not path or not direction or not np.isfinite(evaluate(path, np.array([inside])))[0]:
        return path, edges, list(values)
    low, high = defined(lambda x: np.isfinite(evaluate(path, x)), inside)
    cut = _cut(path, edges, direction, low, high)
    if cut is None:
        return path, edges, list(values)
    kept = [(edge, i) for edge, i in cut if edge <= high]
    merged = dict(kept)
    ordered = list(values) if direction > 0 else list(values)[::-1]
    found = [ordered[0], *(ordered[i] for i in merged.values())]
    within = () if (low, high) == (-LARGEST, LARGEST) else (Named("within", (low, high)),)
    if all(isinstance(stage, Affine) for stage in path):
        # Only an overflow ends the path of a scaler, and the signature ends before it.
        within = ()
    return within, tuple(merged), found


def defined(holds: Callable[[Floats], Any], inside: float) -> tuple[float, float]:
    """Return the ends of the range around a number in which a condition holds."""
    ends = []
    for sign in (-1.0, 1.0):
        if holds(np.array([sign * LARGEST]))[0]:
            ends.append(sign * LARGEST)
            continue
        beyond = first_true(lambda x, s=sign: ~holds(s * x), sign * inside, LARGEST)  # type: ignore[misc]
        ends.append(sign * float(moved(beyond, -1)[0]))
    return ends[0], ends[1]


def _direction(path: Sequence[Stage]) -> int:
    """Return 1 for a rising path, -1 for a falling one, and 0 for any other."""
    direction = 1
    for stage in path:
        if isinstance(stage, Affine):
            direction *= int(np.sign(stage.times) * np.sign(stage.divide))
        elif isinstance(stage, Named) and stage.name == "negative":
            direction = -direction
        elif not isinstance(stage, Clip) and not (
            isinstance(stage, Named) and stage.name in _RISING
        ):
            return 0
    return direction


def _cut(
    path: tuple[Stage, ...], edges: tuple[float, ...], direction: int, low: float, high: float
) -> list[tuple[float, int]] | None:
    """Find the first raw number of each interval but the first, beside the interval's place."""
    if not edges:
        return []
    ordered = np.array(edges if direction > 0 else edges[::-1])

    def reached(x: Floats) -> Any:
        found = evaluate(path, np.minimum(x, high))
        beyond = found >= ordered if direction > 0 else found < ordered
        return beyond | (x > high)

    end = np.nextafter(high, np.inf)
    end = LARGEST if np.isinf(end) else end
    first = first_true(reached, low, end)
    for by in range(-_NEIGHBOURS, _NEIGHBOURS):
        near = np.clip(moved(first, by), low, high)
        if (reached(near) != (near >= first)).any():
            return None
    # At the largest float of all the condition may not hold; then the interval is never reached.
    return [(float(x), i) for i, x in enumerate(first, start=1) if reached(first)[i - 1]]
