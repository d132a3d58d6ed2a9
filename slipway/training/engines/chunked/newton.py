"""Newton's method with the Hessian of a sample of rows and the gradient of all of them.

What must be exact is the gradient, which takes one look at each row; the Hessian only says how
far to go in each direction. That of a sample will do (Byrd, Chin, Neveitt and Nocedal, SIAM
Journal on Optimization 21, 2011; Roosta-Khorasani and Mahoney, Mathematical Programming 174,
2019), if the rows that alone tell something of a parameter are in it: they are drawn by their
leverage (Xu, Yang, Roosta-Khorasani, Re and Mahoney, NIPS 2016). What the sample's Hessian gets
wrong, L-BFGS learns from the gradients on the way (Nocedal and Wright, Numerical Optimization,
2006, algorithm 7.4, with the Hessian as its initial matrix).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from slipway.core.errors import SlipwayError

Floats = npt.NDArray[np.float64]
Gradient = Callable[[Floats], tuple[float, Floats]]
MEMORY = 20
# Of the objective's sum: half the squared distance from the optimum, in the Hessian's metric,
# which is at least the ridge's. A coefficient is then off by 1e-8 at most where C is 1.
DECREMENT = 1e-16
# Of the gradient by row, as scikit-learn's newton-cholesky has it with tol=1e-10.
SLOPE = 1e-10
# What comes below this and does not get smaller is rounding.
ROUNDING = 1e-10
SINGULAR = 1e-11
SHIFT = 1e-6
PATIENCE = 24
# Of a mean row, this loss is none.
NO_LOSS = 1e-8
MOST = 1500


@dataclass(frozen=True)
class State:
    """Where a descent is: the loss, its slope, and Newton's decrement, squared."""

    step: int
    loss: float
    slope: float
    decrement: float


def inverse_of(hessian: Floats, *, exact: bool) -> Callable[[Floats], Floats]:
    """Give what multiplies by the inverse of a Hessian, or of its diagonal alone.

    Parameters
    ----------
    hessian : ndarray of shape (n_parameters, n_parameters) or (n_parameters,)
    exact : bool
        Whether it is that of the function itself, so that what it does not know does not matter.
    """
    if hessian.ndim == 1:
        floor = 1e-12 * hessian.max()
        return lambda slope: slope / np.maximum(hessian, floor)
    try:
        factor = cho_factor(hessian, lower=True)
        if np.diag(factor[0]).min() ** 2 > SINGULAR * np.diag(hessian).max():
            return lambda slope: np.asarray(cho_solve(factor, slope))
    except LinAlgError:
        pass
    # Without a penalty, one-hot columns that add up to the intercept leave directions in which
    # nothing changes.
    if exact:
        inverse = np.linalg.pinv(hessian, rcond=SINGULAR, hermitian=True)
        return lambda slope: np.asarray(inverse @ slope)
    # A sample may besides know nothing of a direction in which all rows do change.
    floor = np.maximum(np.diag(hessian), SHIFT * np.diag(hessian).max())
    shifted = cho_factor(hessian + SHIFT * np.diag(floor), lower=True)
    return lambda slope: np.asarray(cho_solve(shifted, slope))


def descend(
    gradient: Gradient,
    beta: Floats,
    rows: int,
    curve: Callable[[Floats], Floats],
    *,
    always: bool = False,
    instead: Callable[[Floats], Floats] | None = None,
    told: Callable[[State], None] = lambda state: None,
) -> tuple[Floats, int]:
    """Find the least of a convex function.

    Parameters
    ----------
    gradient : callable
        Gives the value and the gradient at a point.
    beta : ndarray of shape (n_parameters,)
        Where to begin.
    rows : int
        The rows that the function is a sum over.
    curve : callable
        Gives the Hessian at a point, or its diagonal, roughly.
    always : bool
        Whether to ask for it at each point, which is Newton's method, or at the first alone.
    instead : callable, optional
        Gives the Hessian exactly. It takes long, and is asked for where a rough one does not
        lead to the least in ``PATIENCE`` looks.
    told : callable
        Told each state.

    Returns
    -------
    tuple of ndarray of shape (n_parameters,) and int
        The least, and how often the gradient was computed.

    Raises
    ------
    SlipwayError
        There is no least, or it is not found.
    """
    solve = inverse_of(curve(beta), exact=always)
    pairs: list[tuple[Floats, Floats]] = []
    loss, slope = gradient(beta)
    looks, best, stuck, patience = 1, np.inf, 0, PATIENCE
    while looks < MOST:
        direction = -_inverse(slope, pairs, solve)
        decrement = -float(slope @ direction)
        told(State(looks, loss, float(np.abs(slope).max()) / rows, decrement))
        stuck = 0 if decrement < 0.5 * best else stuck + 1
        best = min(best, decrement)
        if loss <= NO_LOSS * rows:
            break
        small = decrement <= DECREMENT or (stuck >= 3 and best <= ROUNDING)
        if small and np.abs(slope).max() <= SLOPE * rows:
            return beta, looks
        point, loss, new, tried = _searched(gradient, beta, loss, slope, direction)
        looks += tried
        pairs = [*pairs, (point - beta, new - slope)][-MEMORY:]
        beta, slope = point, new
        if instead is not None and looks >= patience:
            solve, pairs = inverse_of(instead(beta), exact=True), []
            patience = looks + PATIENCE // 4
        if always:
            solve, pairs = inverse_of(curve(beta), exact=True), []
    raise SlipwayError(
        f"the logistic regression is not found after {looks} passes: its columns tell the classes "
        "apart without error, or differ much in scale; give it a penalty (a smaller C), or scale "
        "its numbers"
    )


def _searched(
    gradient: Gradient, beta: Floats, loss: float, slope: Floats, direction: Floats
) -> tuple[Floats, float, Floats, int]:
    """Go along a direction as far as the function falls enough.

    Along it a convex function is judged by its slope, which keeps its digits where differences
    of the function itself have lost theirs.
    """
    start, step = float(slope @ direction), 1.0
    for tried in range(1, 40):
        point = beta + step * direction
        found, new = gradient(point)
        end = float(new @ direction)
        falls = found <= loss + 1e-4 * step * start
        flat = found <= loss + 1e-12 * abs(loss) and abs(end) <= 0.9 * abs(start)
        if np.isfinite(found) and (falls or flat or abs(start) <= DECREMENT):
            return point, found, new, tried
        # The secant's zero of the slope, within bounds.
        step *= min(0.5, max(0.1, start / (start - end))) if np.isfinite(end) else 0.1
    raise SlipwayError("the logistic regression is not found: the loss does not fall any more")


def _inverse(
    slope: Floats,
    pairs: list[tuple[Floats, Floats]],
    solve: Callable[[Floats], Floats],
) -> Floats:
    """Multiply by L-BFGS's inverse of the Hessian, by its two loops over steps and changes."""
    pairs = [(step, change) for step, change in pairs if step @ change > 0]
    left, shares = slope.copy(), []
    for step, change in reversed(pairs):
        shares.append((step @ left) / (step @ change))
        left -= shares[-1] * change
    found = solve(left)
    for (step, change), share in zip(pairs, reversed(shares), strict=True):
        found = found + (share - (change @ found) / (step @ change)) * step
    return found
