"""How sure a logistic regression is of its parameters: their covariance, from its own rows.

The notation: ``Z`` is the design, a 1 for the intercept and then the pipeline's columns; ``b``
the parameters; ``p`` the fitted probabilities; ``P`` the ridge, 1/C for each coefficient and 0
for the intercept; ``H = Z' diag(p (1 - p)) Z + P`` the Hessian of what scikit-learn minimises.

Rows that are independent: ``Sigma = H^-1``. It is the posterior covariance where the ridge is
read as a normal prior (Laplace's approximation: Bishop, Pattern Recognition and Machine
Learning, 2006, equation 4.143). It is also what a frequentist wants of a penalised fit: it
equals ``H^-1 Z'WZ H^-1``, the variance, plus ``H^-1 P H^-1``, the squared bias that the ridge
is expected to bring (Wahba 1983; Nychka 1988; Marra and Wood, Scandinavian Journal of
Statistics 39, 2012). The variance alone would be too narrow where the ridge is strong.

Rows that come in groups: ``Sigma = H^-1 (m/(m-1) sum_g s_g s_g' + P) H^-1``, where ``s_g`` is
the sum of ``z (y - p)`` over a group and m counts the groups (Liang and Zeger, Biometrika 73,
1986; the factor is that of Cameron and Miller, Journal of Human Resources 50, 2015). Of our
own is a floor under it: in no direction is the variance less than that of independent rows.
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
# Of the Hessian scaled to a unit diagonal; a variance then keeps six digits or more.
MIN_RECIPROCAL_CONDITION = 1e-10
# A tenth of a standard error, squared.
MAX_DECREMENT = 0.01
AGREEMENT = 1e-6


class NoInterval(Exception):
    """An interval of this model would not be honest, for the reason given."""


def find_uncertainty(
    model: Any,
    X: pd.DataFrame,
    y: npt.ArrayLike,
    signature: Signature,
    records: Sequence[Record],
    groups: npt.ArrayLike | None = None,
) -> Uncertainty:
    """Find the covariance of a fitted model's parameters, and how a record asks it.

    Parameters
    ----------
    model : Pipeline or LogisticRegression
        Fitted.
    X : DataFrame of shape (n_rows, n_features)
        The very rows that it was fitted on, without weights.
    y : array-like of shape (n_rows,)
        Their classes.
    signature : Signature
    records : sequence of tuple
        On these, one at least, what will be served is held against numpy.
    groups : array-like of shape (n_rows,), optional
        Which rows belong together, because they share what the features do not tell: the
        flights of a day share its weather. Without it every row stands for itself.

    Returns
    -------
    Uncertainty

    Raises
    ------
    NoInterval
        With the reason.
    """
    regression = _regression(model)
    Z = _rows_of_design(model, X)
    happened = (np.asarray(y) == regression.classes_[1]).astype(float)
    parameters = np.concatenate([regression.intercept_, regression.coef_[0]])
    penalty = np.concatenate([[0.0], np.full(Z.shape[1] - 1, 1.0 / regression.C)])
    covariance = _covariance(Z, happened, parameters, penalty, groups)
    triangle = array("d", covariance[np.tril_indices(len(covariance))].tolist())
    uncertainty = Uncertainty(_design(model, signature), triangle)
    _require_agreement(uncertainty, model, covariance, signature, records)
    return uncertainty


def _regression(model: Any) -> LogisticRegression:
    """Give the logistic regression at the end of a model, if its Hessian is the one above."""
    regression = model.steps[-1][1] if isinstance(model, Pipeline) else model
    if type(regression) is not LogisticRegression:
        raise NoInterval(f"{type(regression).__name__} has no Hessian that we know of")
    ridge = getattr(regression, "penalty", "l2") in ("deprecated", "l2")
    if regression.l1_ratio or not ridge:
        raise NoInterval("only a ridge penalty has a Hessian")
    if len(regression.classes_) != 2 or not regression.fit_intercept:
        raise NoInterval("only two classes and an intercept are provided for")
    return regression


def _rows_of_design(model: Any, X: Any) -> sparse.csr_matrix:
    """Build the rows of the design."""
    columns = model[:-1].transform(X) if isinstance(model, Pipeline) else X.to_numpy()
    ones = np.ones((len(X), 1))
    return sparse.csr_matrix(sparse.hstack([ones, sparse.csr_matrix(columns)]), dtype=float)


def _covariance(
    Z: sparse.csr_matrix,
    y: Floats,
    parameters: Floats,
    penalty: Floats,
    groups: npt.ArrayLike | None,
) -> Floats:
    """Compute the covariance of the parameters; the module says by which formula."""
    p = 1.0 / (1.0 + np.exp(-(Z @ parameters)))
    root = _root((Z.T @ Z.multiply((p * (1 - p))[:, None])).toarray() + np.diag(penalty))
    # Newton's decrement bounds, by Cauchy and Schwarz, how far the optimum's score lies from
    # the model's own, in standard errors. It also gives away other rows, weights and labels.
    newton = root.T @ (Z.T @ (y - p) - penalty * parameters)
    if not newton @ newton <= MAX_DECREMENT:
        raise NoInterval("the model is not the optimum for these rows")
    if groups is not None:
        scattered = _scatter(Z.multiply((y - p)[:, None]), groups) + np.diag(penalty)
        found, directions = np.linalg.eigh(root.T @ scattered @ root)
        # In a direction that few groups tell anything of, their scatter says nothing either.
        root = root @ directions * np.sqrt(np.maximum(found, 1.0))
    covariance: Floats = root @ root.T
    return covariance


def _root(hessian: Floats) -> Floats:
    """Find a root ``R`` of a Hessian's inverse, ``R R' = H^-1``, if its condition allows.

    One-hot columns without a dropped one add up to the intercept, and only the penalty makes
    their Hessian regular. Scaled to a unit diagonal, its condition is about the best that any
    scaling gives (van der Sluis, Numerische Mathematik 14, 1969).
    """
    scale = np.sqrt(np.diag(hessian))
    if not (scale > 0).all():
        raise NoInterval("a column is never anything but zero")
    scaled = hessian / np.outer(scale, scale)
    try:
        factor = cholesky(scaled, lower=True)
    except (LinAlgError, ValueError) as error:
        raise NoInterval("the rows do not tell its parameters apart") from error
    reciprocal, _ = dpocon(factor, np.abs(scaled).sum(axis=0).max(), uplo="L")
    if reciprocal < MIN_RECIPROCAL_CONDITION:
        raise NoInterval(f"its Hessian is nearly singular, 1/condition is {reciprocal:.0e}")
    root: Floats = solve_triangular(factor, np.eye(len(scale)), lower=True, trans="T")
    return root / scale[:, None]


def _scatter(scores: sparse.csr_matrix, groups: npt.ArrayLike) -> Floats:
    """Compute how far the groups' scores scatter; in each of them the rows are added up."""
    _, member = np.unique(np.asarray(groups), return_inverse=True)
    m = int(member.max()) + 1
    if m < MIN_GROUPS:
        # Cameron and Miller (2015, section VI): few groups give too narrow intervals.
        raise NoInterval(f"the rows fall into {m} groups; that takes at least {MIN_GROUPS}")
    ones = np.ones(len(member))
    sums = sparse.csr_matrix((ones, (member, np.arange(len(member))))) @ scores
    scattered: Floats = (sums.T @ sums).toarray() * (m / (m - 1))
    return scattered


def _design(model: Any, signature: Signature) -> Design:
    """Find what each value of each feature switches on."""
    columns: list[Column] = raw_columns(signature)
    try:
        for _, step in model.steps[:-1] if isinstance(model, Pipeline) else ():
            columns = apply_step(step, columns, [])
    except NotAScorecard as error:
        raise NoInterval(str(error)) from error
    placed = list(enumerate(columns, start=1))
    features = tuple(
        _parts([(place, column) for place, column in placed if column.feature == name])
        for name in signature.names
    )
    return Design(len(columns) + 1, features)


def _parts(placed: list[tuple[int, Column]]) -> tuple[ByLevel | ByInterval | ByCurve, ...]:
    """Put the columns of one feature together that tell the same values apart."""
    parts: list[ByLevel | ByInterval | ByCurve] = []
    told: dict[Levels | Intervals, list[tuple[int, DiscreteColumn]]] = {}
    for place, column in placed:
        if isinstance(column, NumericColumn):
            parts.append(ByCurve(place, column.path, _cells([(place, column.missing)])))
        else:
            told.setdefault(column.domain, []).append((place, column))
    return (*parts, *(_switch(domain, members) for domain, members in told.items()))


def _switch(
    domain: Levels | Intervals, members: list[tuple[int, DiscreteColumn]]
) -> ByLevel | ByInterval:
    """List the cells by level, or by interval."""
    by_column = [[(place, value) for value in column.values] for place, column in members]
    cells = tuple(_cells(each) for each in zip(*by_column, strict=True))
    missing = _cells([(place, column.missing) for place, column in members])
    if isinstance(domain, Intervals):
        return ByInterval(domain.path, domain.edges, cells, missing)
    unseen = _cells([(place, column.unseen) for place, column in members])
    return ByLevel(domain.levels, cells, missing, unseen)


def _cells(held: Sequence[tuple[int, Any]]) -> Cells:
    """Keep the cells that are not zero; a value that the pipeline refuses is never asked for."""
    return tuple(
        (place, float(value))
        for place, value in held
        if isinstance(value, int | float) and np.isfinite(value) and value != 0
    )


def _require_agreement(
    uncertainty: Uncertainty,
    model: Any,
    covariance: Floats,
    signature: Signature,
    records: Sequence[Record],
) -> None:
    """Hold the served variances against the pipeline's own columns."""
    Z = _rows_of_design(model, build_frame(signature, records)).toarray()
    due = np.einsum("ij,jk,ik->i", Z, covariance, Z)
    served = np.array([uncertainty.variance(record) for record in records])
    worst = float(np.max(np.abs(served / due - 1.0), initial=0.0))
    if not worst <= AGREEMENT:
        raise NoInterval(f"its variances differ from the pipeline's by {worst:.0e}")
