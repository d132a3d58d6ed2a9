"""Covariance of the parameters of a logistic regression, computed from its training rows.

Notation: ``Z`` is the design matrix, with a column of ones for the intercept before the
pipeline's columns. ``b`` are the parameters and ``p`` the fitted probabilities. ``P`` is the
ridge: 1/C for each coefficient, 0 for the intercept. ``H = Z' diag(p (1 - p)) Z + P`` is the
Hessian of scikit-learn's objective.

Independent rows: ``Sigma = H^-1``. This is the posterior covariance if the ridge is a normal
prior (Laplace's approximation: Bishop, Pattern Recognition and Machine Learning, 2006, equation
4.143). It also has a frequentist reading for a penalised fit. It equals the variance
``H^-1 Z'WZ H^-1`` plus ``H^-1 P H^-1``, the expected squared bias of the ridge (Wahba 1983;
Nychka 1988; Marra and Wood, Scandinavian Journal of Statistics 39, 2012). The variance alone is
too small if the ridge is strong.

Grouped rows: ``Sigma = H^-1 (m/(m-1) sum_g s_g s_g' + P) H^-1``. ``s_g`` is the sum of
``z (y - p)`` over a group, and m the number of groups (Liang and Zeger, Biometrika 73, 1986). The
factor is from Cameron and Miller, Journal of Human Resources 50, 2015. Slipway adds a floor:
no direction has less variance than with independent rows.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse
from scipy.linalg import LinAlgError, cholesky, solve_triangular
from scipy.linalg.lapack import dpocon
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from slipway.compiler import NotAScorecard, raw_columns
from slipway.compiler.columns import Column, DiscreteColumn, Intervals, Levels, NumericColumn
from slipway.compiler.steps import apply_step
from slipway.models.features import Record
from slipway.models.frames import build_frame
from slipway.models.intervals import ByCurve, ByInterval, ByLevel, Cells, Design, Uncertainty
from slipway.models.signature import Signature

Floats = npt.NDArray[np.float64]
MIN_GROUPS = 50
# Limit for the Hessian scaled to a unit diagonal; variances then keep at least six digits.
MIN_RECIPROCAL_CONDITION = 1e-10
# The square of a tenth of a standard error.
MAX_DECREMENT = 0.01
AGREEMENT = 1e-6


class NoInterval(Exception):
    """Intervals of this model would not be valid; the message says why."""


def find_uncertainty(
    model: Any,
    X: pd.DataFrame,
    y: npt.ArrayLike,
    signature: Signature,
    records: Sequence[Record],
    groups: npt.ArrayLike | None = None,
) -> Uncertainty:
    """Compute the covariance of a fitted model's parameters and the design for records.

    Parameters
    ----------
    model : Pipeline or LogisticRegression
        Fitted.
    X : DataFrame of shape (n_rows, n_features)
        The rows that the model was fitted on, without weights.
    y : array-like of shape (n_rows,)
        The classes of the rows.
    signature : Signature
    records : sequence of tuple
        At least one record, to compare the served variances with numpy.
    groups : array-like of shape (n_rows,), optional
        The group of each row. Rows of a group share influences that are not features, as the
        flights of a day share its weather. Without groups all rows are independent.

    Returns
    -------
    Uncertainty

    Raises
    ------
    NoInterval
        The covariance is not valid for this model or these rows.
    """
    regression = _require_ridge_regression(model)
    Z = _build_design_rows(model, X)
    outcomes = (np.asarray(y) == regression.classes_[1]).astype(float)
    parameters = np.concatenate([regression.intercept_, regression.coef_[0]])
    penalty = np.concatenate([[0.0], np.full(Z.shape[1] - 1, 1.0 / regression.C)])
    covariance = _compute_covariance(Z, outcomes, parameters, penalty, groups)
    triangle = array("d", covariance[np.tril_indices(len(covariance))].tolist())
    uncertainty = Uncertainty(_build_design(model, signature), triangle)
    _require_agreement(uncertainty, model, covariance, signature, records)
    return uncertainty


def _require_ridge_regression(model: Any) -> LogisticRegression:
    """Return the final logistic regression of a model, if it has the Hessian above."""
    regression = model.steps[-1][1] if isinstance(model, Pipeline) else model
    if type(regression) is not LogisticRegression:
        raise NoInterval(
            f"{type(regression).__name__} is not supported; only LogisticRegression is"
        )
    ridge = getattr(regression, "penalty", "l2") in ("deprecated", "l2")
    if regression.l1_ratio or not ridge:
        raise NoInterval("only a ridge penalty is supported")
    if len(regression.classes_) != 2 or not regression.fit_intercept:
        raise NoInterval("only models of two classes with an intercept are supported")
    return regression


def _build_design_rows(model: Any, X: Any) -> sparse.csr_matrix:
    """Build the rows of the design matrix."""
    columns = model[:-1].transform(X) if isinstance(model, Pipeline) else X.to_numpy()
    ones = np.ones((len(X), 1))
    return sparse.csr_matrix(sparse.hstack([ones, sparse.csr_matrix(columns)]), dtype=float)


def _compute_covariance(
    Z: sparse.csr_matrix,
    y: Floats,
    parameters: Floats,
    penalty: Floats,
    groups: npt.ArrayLike | None,
) -> Floats:
    """Compute the covariance of the parameters; see the module for the formulas."""
    p = 1.0 / (1.0 + np.exp(-(Z @ parameters)))
    root = _compute_root((Z.T @ Z.multiply((p * (1 - p))[:, None])).toarray() + np.diag(penalty))
    # By Cauchy and Schwarz, Newton's decrement bounds the distance between the optimum's score
    # and the model's, in standard errors. It also reveals other rows, weights and labels.
    decrement = root.T @ (Z.T @ (y - p) - penalty * parameters)
    if not decrement @ decrement <= MAX_DECREMENT:
        raise NoInterval("the model is not the optimum for these rows")
    if groups is not None:
        scatter = _compute_scatter(Z.multiply((y - p)[:, None]), groups) + np.diag(penalty)
        variances, directions = np.linalg.eigh(root.T @ scatter @ root)
        # The scatter is meaningless in directions that few groups contribute to.
        root = root @ directions * np.sqrt(np.maximum(variances, 1.0))
    covariance: Floats = root @ root.T
    return covariance


def _compute_root(hessian: Floats) -> Floats:
    """Compute a root ``R`` of a Hessian's inverse, ``R R' = H^-1``.

    One-hot columns without a dropped one add up to the intercept, so only the penalty makes
    the Hessian regular. Scaling to a unit diagonal gives nearly the best condition of any
    scaling (van der Sluis, Numerische Mathematik 14, 1969).
    """
    scale = np.sqrt(np.diag(hessian))
    if not (scale > 0).all():
        raise NoInterval("a column is zero in all rows")
    scaled = hessian / np.outer(scale, scale)
    try:
        factor = cholesky(scaled, lower=True)
    except (LinAlgError, ValueError) as error:
        raise NoInterval("the rows cannot tell the parameters apart") from error
    reciprocal, _ = dpocon(factor, np.abs(scaled).sum(axis=0).max(), uplo="L")
    if reciprocal < MIN_RECIPROCAL_CONDITION:
        raise NoInterval(f"the Hessian is nearly singular: 1/condition is {reciprocal:.0e}")
    root: Floats = solve_triangular(factor, np.eye(len(scale)), lower=True, trans="T")
    return root / scale[:, None]


def _compute_scatter(scores: sparse.csr_matrix, groups: npt.ArrayLike) -> Floats:
    """Compute the scatter of the groups' scores, each the sum over its rows."""
    _, member = np.unique(np.asarray(groups), return_inverse=True)
    m = int(member.max()) + 1
    if m < MIN_GROUPS:
        # Few groups give intervals that are too narrow (Cameron and Miller 2015, section VI).
        raise NoInterval(f"the rows have {m} groups; at least {MIN_GROUPS} are required")
    ones = np.ones(len(member))
    sums = sparse.csr_matrix((ones, (member, np.arange(len(member))))) @ scores
    scatter: Floats = (sums.T @ sums).toarray() * (m / (m - 1))
    return scatter


def _build_design(model: Any, signature: Signature) -> Design:
    """Build the design: the columns that each value of each feature sets."""
    columns: list[Column] = raw_columns(signature)
    try:
        for _, step in model.steps[:-1] if isinstance(model, Pipeline) else ():
            columns = apply_step(step, columns, [])
    except NotAScorecard as error:
        raise NoInterval(str(error)) from error
    placed = list(enumerate(columns, start=1))
    features = tuple(
        _group_columns([(place, column) for place, column in placed if column.feature == name])
        for name in signature.names
    )
    return Design(len(columns) + 1, features)


def _group_columns(placed: list[tuple[int, Column]]) -> tuple[ByLevel | ByInterval | ByCurve, ...]:
    """Group the columns of one feature that have the same domain."""
    parts: list[ByLevel | ByInterval | ByCurve] = []
    by_domain: dict[Levels | Intervals, list[tuple[int, DiscreteColumn]]] = {}
    for place, column in placed:
        if isinstance(column, NumericColumn):
            parts.append(ByCurve(place, column.path, _nonzero_cells([(place, column.missing)])))
        else:
            by_domain.setdefault(column.domain, []).append((place, column))
    return (*parts, *(_group_cells(domain, members) for domain, members in by_domain.items()))


def _group_cells(
    domain: Levels | Intervals, members: list[tuple[int, DiscreteColumn]]
) -> ByLevel | ByInterval:
    """Return the cells of columns with one domain, by level or interval."""
    by_column = [[(place, value) for value in column.values] for place, column in members]
    cells = tuple(_nonzero_cells(pairs) for pairs in zip(*by_column, strict=True))
    missing = _nonzero_cells([(place, column.missing) for place, column in members])
    if isinstance(domain, Intervals):
        return ByInterval(domain.path, domain.edges, cells, missing)
    unseen = _nonzero_cells([(place, column.unseen) for place, column in members])
    return ByLevel(domain.levels, cells, missing, unseen)


def _nonzero_cells(pairs: Sequence[tuple[int, Any]]) -> Cells:
    """Keep the cells that are not zero; records never contain rejected values."""
    return tuple(
        (place, float(value))
        for place, value in pairs
        if isinstance(value, int | float) and np.isfinite(value) and value != 0
    )


def _require_agreement(
    uncertainty: Uncertainty,
    model: Any,
    covariance: Floats,
    signature: Signature,
    records: Sequence[Record],
) -> None:
    """Compare the served variances with those from the pipeline's own columns."""
    Z = _build_design_rows(model, build_frame(signature, records)).toarray()
    expected = np.einsum("ij,jk,ik->i", Z, covariance, Z)
    served = np.array([uncertainty.variance(record) for record in records])
    worst = float(np.max(np.abs(served / expected - 1.0), initial=0.0))
    if not worst <= AGREEMENT:
        raise NoInterval(f"the served variances differ from the pipeline's by {worst:.0e}")
