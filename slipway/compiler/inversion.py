"""Convert edges after a monotone function to edges of the raw number.

The edge of a bin after a logarithm corresponds to one raw number. The comparison with that raw
number puts a value on the edge into the same bin as scikit-learn, in Python and in SQL.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from slipway.compiler.floats import LARGEST, Floats, evaluate, find_first_true, shift_floats
from slipway.models.stages import Affine, Clip, Named, Stage

_RISING = {"exp", "expm1", "log", "log1p", "log2", "log10", "sqrt", "sigmoid"}
_RISING |= {"box-cox", "yeo-johnson", "normal-quantile", "within", "finite", "known"}
# Number of floats on each side of an edge that must agree with the search.
_NEIGHBOURS = 16

MovedEdges = tuple[tuple[Stage, ...], tuple[float, ...], list[Any]]


def drop_marks(path: Sequence[Stage]) -> tuple[Stage, ...]:
    """Drop the marks of steps that raise for infinity, where the end of the path finds it."""
    kept: list[Stage] = []
    is_checked = True
    for stage in reversed(path):
        if stage in (Named("finite"), Named("known")):
            if is_checked:
                continue
            is_checked = True
        elif isinstance(stage, Clip | Named):
            is_checked = False
        elif not isinstance(stage, Affine):
            is_checked = True
        kept.append(stage)
    return tuple(reversed(kept))


def move_edges_to_raw(
    path: tuple[Stage, ...], edges: tuple[float, ...], values: Sequence[Any], inside: float
) -> MovedEdges:
    """Move edges from the end of a path to its start.

    Parameters
    ----------
    path : tuple of Stage
    edges : tuple of float
        Edges of the output of the path.
    values : sequence
        One value per interval: one more than there are edges.
    inside : float
        A raw number for which the path is defined.

    Returns
    -------
    path, edges, values
        The rest of the path, and the same intervals after it. The arguments are returned
        unchanged if the path is not monotone.
    """
    direction = _find_direction(path)
    if not path or not direction or not np.isfinite(evaluate(path, np.array([inside])))[0]:
        return path, edges, list(values)
    low, high = find_defined_range(lambda x: np.isfinite(evaluate(path, x)), inside)
    starts = _find_interval_starts(path, edges, direction, low, high)
    if starts is None:
        return path, edges, list(values)
    kept = [(edge, i) for edge, i in starts if edge <= high]
    merged = dict(kept)
    ordered = list(values) if direction > 0 else list(values)[::-1]
    moved_values = [ordered[0], *(ordered[i] for i in merged.values())]
    within = () if (low, high) == (-LARGEST, LARGEST) else (Named("within", (low, high)),)
    if all(isinstance(stage, Affine) for stage in path):
        # A path of scalers ends only where it overflows, which the signature already excludes.
        within = ()
    return within, tuple(merged), moved_values


def find_defined_range(condition: Callable[[Floats], Any], inside: float) -> tuple[float, float]:
    """Return the ends of the range around a number in which a condition holds."""
    ends = []
    for sign in (-1.0, 1.0):
        if condition(np.array([sign * LARGEST]))[0]:
            ends.append(sign * LARGEST)
            continue
        beyond = find_first_true(lambda x, s=sign: ~condition(s * x), sign * inside, LARGEST)  # type: ignore[misc]
        ends.append(sign * float(shift_floats(beyond, -1)[0]))
    return ends[0], ends[1]


def _find_direction(path: Sequence[Stage]) -> int:
    """Return 1 for a rising path, -1 for a falling path, and 0 for other paths."""
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


def _find_interval_starts(
    path: tuple[Stage, ...], edges: tuple[float, ...], direction: int, low: float, high: float
) -> list[tuple[float, int]] | None:
    """Find the first raw number of each interval, except the lowest.

    Returns pairs of that number and the position of the interval; None where the path is not
    monotone near an edge.
    """
    if not edges:
        return []
    ordered = np.array(edges if direction > 0 else edges[::-1])

    def reached(x: Floats) -> Any:
        output = evaluate(path, np.minimum(x, high))
        beyond = output >= ordered if direction > 0 else output < ordered
        return beyond | (x > high)

    end = np.nextafter(high, np.inf)
    end = LARGEST if np.isinf(end) else end
    first = find_first_true(reached, low, end)
    for offset in range(-_NEIGHBOURS, _NEIGHBOURS):
        neighbours = np.clip(shift_floats(first, offset), low, high)
        if (reached(neighbours) != (neighbours >= first)).any():
            return None
    # If the condition fails at the largest float, no number reaches the interval.
    return [(float(x), i) for i, x in enumerate(first, start=1) if reached(first)[i - 1]]
