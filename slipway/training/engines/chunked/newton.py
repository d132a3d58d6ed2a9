"""Newton's method with the Hessian of a sample of rows and the gradient of all of them.

Only the gradient must be exact, which takes one pass over the rows. The Hessian only scales the
steps, so that of a sample is enough (Byrd, Chin, Neveitt and Nocedal, SIAM Journal on Optimization
21, 2011; Roosta-Khorasani and Mahoney, Mathematical Programming 174, 2019). The sample must
contain the rows that alone determine a parameter, so rows are drawn by leverage (Xu, Yang,
Roosta-Khorasani, Re and Mahoney, NIPS 2016). L-BFGS corrects the errors of the sample's Hessian
from the gradients (Nocedal and Wright, Numerical Optimization, 2006, algorithm 7.4, with the
Hessian as its initial matrix).
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
MAX_PAIRS = 20
# Limit for half the squared distance from the optimum, in the Hessian's metric, which is at least
# the ridge's. With C = 1, the error of a coefficient is then at most 1e-8.
DECREMENT = 1e-16
# Limit for the gradient by row, as in scikit-learn's newton-cholesky with tol=1e-10.
SLOPE = 1e-10
# A decrement below this that stops shrinking is rounding.
ROUNDING = 1e-10
SINGULAR = 1e-11
SHIFT = 1e-6
PASSES_BEFORE_EXACT = 24
# A mean loss by row below this means that the classes are separable.
NO_LOSS = 1e-8
MAX_PASSES = 1500


@dataclass(frozen=True)
class State:
    """The state of the minimization: loss, gradient norm and squared Newton decrement."""

    step: int
    loss: float
    slope: float
    decrement: float


def make_inverse(hessian: Floats, *, exact: bool) -> Callable[[Floats], Floats]:
    """Return a function that multiplies by the inverse of a Hessian or of its diagonal.

    Parameters
    ----------
    hessian : ndarray of shape (n_parameters, n_parameters) or (n_parameters,)
    exact : bool
        Whether the Hessian is that of all rows, so that its null space is irrelevant.
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
    # Without a penalty, one-hot columns that add up to the intercept leave directions without any
    # effect.
    if exact:
        inverse = np.linalg.pinv(hessian, rcond=SINGULAR, hermitian=True)
        return lambda slope: np.asarray(inverse @ slope)
    # A sample may also lack the rows of a direction that matters for all rows.
    floor = np.maximum(np.diag(hessian), SHIFT * np.diag(hessian).max())
    shifted = cho_factor(hessian + SHIFT * np.diag(floor), lower=True)
    return lambda slope: np.asarray(cho_solve(shifted, slope))


def minimize(
    gradient: Gradient,
    beta: Floats,
    rows: int,
    hessian: Callable[[Floats], Floats],
    *,
    update_hessian: bool = False,
    exact_hessian: Callable[[Floats], Floats] | None = None,
    callback: Callable[[State], None] = lambda state: None,
) -> tuple[Floats, int]:
    """Minimize a convex function.

    Parameters
    ----------
    gradient : callable
        Returns the value and the gradient at a point.
    beta : ndarray of shape (n_parameters,)
        The starting point.
    rows : int
        The number of rows that the function sums over.
    hessian : callable
        Returns an approximate Hessian at a point, or its diagonal.
    update_hessian : bool
        Compute the Hessian at each point, as in Newton's method, or only at the first.
    exact_hessian : callable, optional
        Returns the exact Hessian. It is slow, and only used if the approximate one does not
        converge in ``PASSES_BEFORE_EXACT`` passes.
    callback : callable
        Called with each state.

    Returns
    -------
    tuple of ndarray of shape (n_parameters,) and int
        The minimum, and the number of gradients computed.

    Raises
    ------
    SlipwayError
        The function has no minimum, or the method does not converge.
    """
    solve = make_inverse(hessian(beta), exact=update_hessian)
    pairs: list[tuple[Floats, Floats]] = []
    loss, slope = gradient(beta)
    passes, best, stuck, exact_after = 1, np.inf, 0, PASSES_BEFORE_EXACT
    while passes < MAX_PASSES:
        direction = -_multiply_inverse(slope, pairs, solve)
        decrement = -float(slope @ direction)
        callback(State(passes, loss, float(np.abs(slope).max()) / rows, decrement))
        stuck = 0 if decrement < 0.5 * best else stuck + 1
        best = min(best, decrement)
        if loss <= NO_LOSS * rows:
            break
        small = decrement <= DECREMENT or (stuck >= 3 and best <= ROUNDING)
        if small and np.abs(slope).max() <= SLOPE * rows:
            return beta, passes
        point, loss, new_slope, tried = _line_search(gradient, beta, loss, slope, direction)
        passes += tried
        pairs = [*pairs, (point - beta, new_slope - slope)][-MAX_PAIRS:]
        beta, slope = point, new_slope
        if exact_hessian is not None and passes >= exact_after:
            solve, pairs = make_inverse(exact_hessian(beta), exact=True), []
            exact_after = passes + PASSES_BEFORE_EXACT // 4
        if update_hessian:
            solve, pairs = make_inverse(hessian(beta), exact=True), []
    raise SlipwayError(
        f"logistic regression did not converge after {passes} passes: its columns separate the "
        "classes perfectly, or differ much in scale; use a penalty (a smaller C), or scale the "
        "numeric columns"
    )


def _line_search(
    gradient: Gradient, beta: Floats, loss: float, slope: Floats, direction: Floats
) -> tuple[Floats, float, Floats, int]:
    """Search a step along a direction that decreases the function enough.

    The slope along the direction is used as well, since it remains accurate where rounding hides
    differences of the function.
    """
    start, step = float(slope @ direction), 1.0
    for n_evaluations in range(1, 40):
        point = beta + step * direction
        value, new_slope = gradient(point)
        end = float(new_slope @ direction)
        falls = value <= loss + 1e-4 * step * start
        flat = value <= loss + 1e-12 * abs(loss) and abs(end) <= 0.9 * abs(start)
        if np.isfinite(value) and (falls or flat or abs(start) <= DECREMENT):
            return point, value, new_slope, n_evaluations
        # The zero of the slope by the secant method, within bounds.
        step *= min(0.5, max(0.1, start / (start - end))) if np.isfinite(end) else 0.1
    raise SlipwayError("logistic regression did not converge: the loss stopped decreasing")


def _multiply_inverse(
    slope: Floats,
    pairs: list[tuple[Floats, Floats]],
    solve: Callable[[Floats], Floats],
) -> Floats:
    """Multiply by the inverse Hessian of L-BFGS, in its two loops over steps and changes."""
    pairs = [(step, change) for step, change in pairs if step @ change > 0]
    rest, shares = slope.copy(), []
    for step, change in reversed(pairs):
        shares.append((step @ rest) / (step @ change))
        rest -= shares[-1] * change
    result = solve(rest)
    for (step, change), share in zip(pairs, reversed(shares), strict=True):
        result = result + (share - (change @ result) / (step @ change)) * step
    return result
