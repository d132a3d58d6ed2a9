"""Fit a pipeline's transformers on counts, and assemble the fitted pipeline.

The learned attributes are those of an ordinary ``fit`` on all rows. A composite step is fitted by
its own ``fit_transform`` on two rows, with its fitted parts frozen. scikit-learn therefore sets
every attribute itself.
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
from slipway.training.engines.chunked.feature_columns import Columns, raw_columns, transform_columns
from slipway.training.engines.chunked.value_counts import Counts
from slipway.training.engines.chunked.weighted_fit import NotFromCounts, fit_weighted


def fit_transformers(
    pipeline: Pipeline, counts: Mapping[str, Counts], features: Sequence[Feature]
) -> Pipeline:
    """Fit the steps before a pipeline's last one, exactly as on all rows.

    Parameters
    ----------
    pipeline : Pipeline
        The unfitted pipeline, with its regression.
    counts : mapping of str to Counts
        By feature.
    features : sequence of Feature
        The features, in the column order of the pipeline.

    Returns
    -------
    Pipeline
        The fitted steps before the last.

    Raises
    ------
    SlipwayError
        A step cannot be fitted from counts.
    """
    columns = raw_columns(features, counts)
    if len(pipeline.steps) < 2:
        raise SlipwayError("the pipeline has no step before its last: use --engine memory")
    with warnings.catch_warnings():
        # Warnings of scikit-learn are about generated rows here.
        warnings.simplefilter("ignore")
        try:
            fitted: Pipeline = fit_step(pipeline[:-1], columns, ())
        except (ValueError, TypeError, ZeroDivisionError) as error:
            raise SlipwayError(f"the pipeline cannot be fitted on these rows: {error}") from error
    return fitted


def fit_step(step: Any, columns: Columns, path: tuple[str, ...]) -> Any:
    """Fit a step on its input columns."""
    if type(step) in _compose.registry:
        return _compose(step, columns, path)
    name = " > ".join(path)
    if type(step) not in fit_weighted.registry:
        step_type = type(step).__name__
        raise SlipwayError(f"{name}: {step_type} cannot be fitted in chunks: use --engine memory")
    try:
        return fit_weighted(step, columns)
    except NotFromCounts as error:
        message = f"{name}: {type(step).__name__} cannot be fitted in chunks: {error}"
        raise SlipwayError(f"{message}; use --engine memory") from error
    except (ValueError, TypeError) as error:
        raise SlipwayError(f"{name}: {type(step).__name__}: {error}") from error


@singledispatch
def _compose(step: Any, columns: Columns, path: tuple[str, ...]) -> Any:
    """Fit a composite step."""
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
            columns = transform_columns(fitted[-1][1], columns, " > ".join((*path, name)))
    fitted_step = clone(step)
    fitted_step.steps = fitted
    return fitted_step


@_compose.register
def _(step: FeatureUnion, columns: Columns, path: tuple[str, ...]) -> Any:
    fitted = [
        (name, part if isinstance(part, str) else fit_step(part, columns, (*path, name)))
        for name, part in step.transformer_list
    ]
    fitted_step = clone(step)
    fitted_step.transformer_list = [(name, _frozen(part)) for name, part in fitted]
    fitted_step.fit_transform(columns.ordinary_rows())
    fitted_step.transformer_list = [
        (name, part.estimator if isinstance(part, FrozenEstimator) else part)
        for name, part in fitted_step.transformer_list
    ]
    return fitted_step


@_compose.register
def _(step: ColumnTransformer, columns: Columns, path: tuple[str, ...]) -> Any:
    parts = {
        name: fit_step(part, columns.subset(places), (*path, name))
        for name, part, places in _find_parts(step, columns)
        if not isinstance(part, str) and len(places)
    }
    fitted_step = clone(step)
    fitted_step.transformers = [
        (name, _frozen(parts.get(name, part)), chosen) for name, part, chosen in step.transformers
    ]
    fitted_step.remainder = _frozen(parts.get("remainder", step.remainder))
    fitted_step.fit_transform(columns.ordinary_rows())
    unfitted = clone(step)
    fitted_step.transformers, fitted_step.remainder = unfitted.transformers, unfitted.remainder
    fitted_step._remainder = (
        fitted_step._remainder[0],
        fitted_step.remainder,
        fitted_step._remainder[2],
    )
    fitted_step.transformers_ = [
        (name, parts.get(name, part), chosen) for name, part, chosen in fitted_step.transformers_
    ]
    fitted_step.sparse_output_ = _is_sparse(fitted_step, columns, path)
    return fitted_step


def _find_parts(step: ColumnTransformer, columns: Columns) -> list[tuple[str, Any, list[int]]]:
    """Find the input columns of each part of a ColumnTransformer.

    A clone with identity transformers as parts computes them.
    """
    probe = clone(step).set_output(transform="default")
    probe.transformers = [
        (name, part if isinstance(part, str) else FunctionTransformer(), chosen)
        for name, part, chosen in step.transformers
    ]
    if not isinstance(step.remainder, str):
        probe.remainder = FunctionTransformer()
    probe.fit(columns.ordinary_rows())
    parts = [*((name, part) for name, part, _ in step.transformers), ("remainder", step.remainder)]
    indices = probe._transformer_to_input_indices
    return [(name, part, list(indices[name])) for name, part in parts if name in indices]


def _is_sparse(step: ColumnTransformer, columns: Columns, path: tuple[str, ...]) -> bool:
    """Return whether scikit-learn would stack the columns into a sparse matrix."""
    n_stored = cells = 0
    any_sparse = False
    for name, part, _ in step.transformers_:
        places = step._transformer_to_input_indices[name]
        if not len(places) or _is(part, "drop"):
            continue
        part_input = columns.subset(places)
        output = (
            part_input
            if isinstance(part, str)
            else transform_columns(part, part_input, " > ".join(path))
        )
        any_sparse |= sparse.issparse(output.template)
        n_stored += _count_stored(output)
        cells += output.rows * output.width
    return any_sparse and cells > 0 and n_stored / cells < step.sparse_threshold


def _count_stored(columns: Columns) -> int:
    """Count the cells of all rows that a sparse matrix stores."""
    if not sparse.issparse(columns.template):
        return columns.rows * columns.width
    dataset = {name: np.diff(block.values.tocsr().indptr) for name, block in columns.blocks.items()}
    return sum(int(dataset[name] @ columns.frequencies[name]) for name in dataset)


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
    """Assemble a fitted pipeline.

    Parameters
    ----------
    pipeline : Pipeline
        The unfitted pipeline of the problem.
    transformers : Pipeline
        The result of ``fit_transformers``.
    coef : ndarray of shape (n_columns,)
        The coefficients of the transformers' columns.
    intercept : float
    n_iter : int
        Number of iterations, or passes over the rows.
    names : sequence of str, optional
        The column names, if the transformers return a DataFrame.

    Returns
    -------
    Pipeline
        The pipeline as after its own ``fit``.
    """
    fitted_step = clone(pipeline)
    name, regression = fitted_step.steps[-1]
    if names is not None:
        regression.feature_names_in_ = np.asarray(names, dtype=object)
    regression.n_features_in_ = len(coef)
    regression.classes_ = np.array([0, 1], dtype=np.int64)
    regression.n_iter_ = np.array([n_iter], dtype=np.int32)
    regression.coef_ = np.asarray(coef, dtype=np.float64).reshape(1, -1)
    regression.intercept_ = np.array([intercept], dtype=np.float64)
    fitted_step.steps = [*transformers.steps, (name, regression)]
    return fitted_step
