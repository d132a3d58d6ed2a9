"""Fit a pipeline's transformers on counts, and put a fitted pipeline together.

The learned attributes are those of an ordinary ``fit`` on all rows. A step of a pipeline that
holds others is fitted by its own ``fit_transform`` too, on two rows, with its parts frozen in
the state that they were given: so every attribute is set by scikit-learn itself.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import singledispatch
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer

from slipway.core.errors import SlipwayError
from slipway.models.features import Feature
from slipway.training.engines.chunked.feature_columns import Columns, raw_columns, transformed
from slipway.training.engines.chunked.value_counts import Counts
from slipway.training.engines.chunked.weighted_fit import NotFromCounts, fit_weighted


def fit_transformers(
    pipeline: Pipeline, counts: Mapping[str, Counts], features: Sequence[Feature]
) -> Pipeline:
    """Fit what comes before a pipeline's last step, exactly as on all rows.

    Parameters
    ----------
    pipeline : Pipeline
        Unfitted, with its regression.
    counts : mapping of str to Counts
        By feature.
    features : sequence of Feature
        In the order of the columns that the pipeline takes.

    Returns
    -------
    Pipeline
        The steps before the last, fitted.

    Raises
    ------
    SlipwayError
        A step learns more than counts tell.
    """
    columns = raw_columns(features, counts)
    if len(pipeline.steps) < 2:
        raise SlipwayError("the pipeline has no step before its last: use --engine memory")
    with warnings.catch_warnings():
        # Whatever scikit-learn has to say here is about rows that are made up.
        warnings.simplefilter("ignore")
        try:
            fitted: Pipeline = fit_step(pipeline[:-1], columns, ())
        except (ValueError, TypeError, ZeroDivisionError) as error:
            raise SlipwayError(f"the pipeline cannot be fitted on these rows: {error}") from error
    return fitted


def fit_step(step: Any, columns: Columns, path: tuple[str, ...]) -> Any:
    """Fit a step on the columns that it is given."""
    if type(step) in _compose.registry:
        return _compose(step, columns, path)
    name = " > ".join(path)
    if type(step) not in fit_weighted.registry:
        step_type = type(step).__name__
        raise SlipwayError(f"{name}: {step_type} cannot be fitted in chunks: use --engine memory")
    try:
        return fit_weighted(step, columns)
    except NotFromCounts as error:
        said = f"{name}: {type(step).__name__} cannot be fitted in chunks, since {error}"
        raise SlipwayError(f"{said}; or use --engine memory") from error
    except (ValueError, TypeError) as error:
        raise SlipwayError(f"{name}: {type(step).__name__}: {error}") from error


@singledispatch
def _compose(step: Any, columns: Columns, path: tuple[str, ...]) -> Any:
    """Fit a step that holds others."""
    raise NotImplementedError(type(step).__name__)


@_compose.register
def _(step: Pipeline, columns: Columns, path: tuple[str, ...]) -> Any:
    fitted: list[tuple[str, Any]] = []
    for i, (name, part) in enumerate(step.steps):
        if part is None or _is(part, "passthrough"):
            fitted.append((name, part))
            continue
        fitted.append((name, fit_step(part, columns, (*path, name))))
        if i + 1 < len(step.steps):
            columns = transformed(fitted[-1][1], columns, " > ".join((*path, name)))
    whole = clone(step)
    whole.steps = fitted
    return whole


@_compose.register
def _(step: FeatureUnion, columns: Columns, path: tuple[str, ...]) -> Any:
    fitted = [
        (name, part if isinstance(part, str) else fit_step(part, columns, (*path, name)))
        for name, part in step.transformer_list
    ]
    whole = clone(step)
    whole.transformer_list = [(name, _frozen(part)) for name, part in fitted]
    whole.fit_transform(columns.first())
    whole.transformer_list = [
        (name, part.estimator if isinstance(part, FrozenEstimator) else part)
        for name, part in whole.transformer_list
    ]
    return whole


@_compose.register
def _(step: ColumnTransformer, columns: Columns, path: tuple[str, ...]) -> Any:
    parts = {
        name: fit_step(part, columns.subset(places), (*path, name))
        for name, part, places in _parts(step, columns)
        if not isinstance(part, str) and len(places)
    }
    whole = clone(step)
    whole.transformers = [
        (name, _frozen(parts.get(name, part)), chosen) for name, part, chosen in step.transformers
    ]
    whole.remainder = _frozen(parts.get("remainder", step.remainder))
    whole.fit_transform(columns.first())
    unfitted = clone(step)
    whole.transformers, whole.remainder = unfitted.transformers, unfitted.remainder
    whole._remainder = (whole._remainder[0], whole.remainder, whole._remainder[2])
    whole.transformers_ = [
        (name, parts.get(name, part), chosen) for name, part, chosen in whole.transformers_
    ]
    whole.sparse_output_ = _is_sparse(whole, columns, path)
    return whole


def _parts(step: ColumnTransformer, columns: Columns) -> list[tuple[str, Any, list[int]]]:
    """Find which columns each part of a ColumnTransformer is given.

    It is asked itself, with parts that do nothing in the place of its own.
    """
    probe = clone(step).set_output(transform="default")
    probe.transformers = [
        (name, part if isinstance(part, str) else FunctionTransformer(), chosen)
        for name, part, chosen in step.transformers
    ]
    if not isinstance(step.remainder, str):
        probe.remainder = FunctionTransformer()
    probe.fit(columns.first())
    parts = [*((name, part) for name, part, _ in step.transformers), ("remainder", step.remainder)]
    indices = probe._transformer_to_input_indices
    return [(name, part, list(indices[name])) for name, part in parts if name in indices]


def _is_sparse(step: ColumnTransformer, columns: Columns, path: tuple[str, ...]) -> bool:
    """Decide as scikit-learn does whether the columns side by side are a sparse matrix."""
    filled = cells = 0
    any_sparse = False
    for name, part, _ in step.transformers_:
        places = step._transformer_to_input_indices[name]
        if not len(places) or _is(part, "drop"):
            continue
        given = columns.subset(places)
        made = given if isinstance(part, str) else transformed(part, given, " > ".join(path))
        any_sparse |= sparse.issparse(made.like)
        filled += _filled(made)
        cells += made.rows * made.width
    return any_sparse and cells > 0 and filled / cells < step.sparse_threshold


def _filled(columns: Columns) -> int:
    """Count the cells of all rows that a sparse matrix stores."""
    if not sparse.issparse(columns.like):
        return columns.rows * columns.width
    stored = {name: np.diff(block.values.tocsr().indptr) for name, block in columns.blocks.items()}
    return sum(int(stored[name] @ columns.times[name]) for name in stored)


def _frozen(part: Any) -> Any:
    return part if isinstance(part, str) else FrozenEstimator(part)


def _is(part: Any, word: str) -> bool:
    return isinstance(part, str) and part == word


def assemble(
    pipeline: Pipeline,
    transformers: Pipeline,
    coef: npt.NDArray[np.float64],
    intercept: float,
    *,
    n_iter: int = 1,
    names: Sequence[str] | None = None,
) -> Pipeline:
    """Put a fitted pipeline together.

    Parameters
    ----------
    pipeline : Pipeline
        Unfitted, as the problem gives it.
    transformers : Pipeline
        From ``fit_transformers``.
    coef : ndarray of shape (n_columns,)
        Of the columns that the transformers give.
    intercept : float
    n_iter : int
        Iterations, or passes over the rows.
    names : sequence of str, optional
        The columns' names, where the transformers give a DataFrame.

    Returns
    -------
    Pipeline
        As its own ``fit`` would have left it.
    """
    whole = clone(pipeline)
    name, regression = whole.steps[-1]
    if names is not None:
        regression.feature_names_in_ = np.asarray(names, dtype=object)
    regression.n_features_in_ = len(coef)
    regression.classes_ = np.array([0, 1], dtype=np.int64)
    regression.n_iter_ = np.array([n_iter], dtype=np.int32)
    regression.coef_ = np.asarray(coef, dtype=np.float64).reshape(1, -1)
    regression.intercept_ = np.array([intercept], dtype=np.float64)
    whole.steps = [*transformers.steps, (name, regression)]
    return whole
