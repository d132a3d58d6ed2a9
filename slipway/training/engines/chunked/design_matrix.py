"""The design matrix as a table of cells, and the codes of rows as indices of cells.

Each column of the transformers is a function of one feature. A row's log-odds are therefore a
sum of looked-up numbers, one for each feature. Values with the same columns share a number.
Features with few such values share a code, which reduces the number of look-ups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse
from sklearn.pipeline import Pipeline

from slipway.core.errors import SlipwayError
from slipway.training.engines.chunked.feature_columns import Block, Columns, transform_columns
from slipway.training.engines.chunked.value_counts import Ints

Floats = npt.NDArray[np.float64]
# A table of this size stays in a processor's L1 cache.
CELLS_PER_CODE = 4096
# The exact leverage of more columns takes too long; a bound replaces it.
MAX_EXACT_COLUMNS = 2000


@dataclass(frozen=True)
class Code:
    """The distinct values of some features, encoded as one number for each row.

    Attributes
    ----------
    start : int
        The index of its first cell among those of all codes.
    features : dict of str to ndarray
        The increment of the code for each distinct value of a feature, the missing value last.
    size : int
        The number of its cells.
    """

    start: int
    features: dict[str, Ints]
    size: int


@dataclass(frozen=True)
class Design:
    """The design matrix as a table of cells. A row is the sum of one cell of each code.

    Attributes
    ----------
    codes : tuple of Code
    matrix : csr_matrix of shape (n_cells, n_columns)
        The contribution of each cell to a row of the design matrix.
    leverage : ndarray of shape (n_cells,)
        The sum over a row's cells bounds the leverage of the row, its influence on a parameter.
    names : list of str, optional
        The column names, if the transformers return a DataFrame.
    """

    codes: tuple[Code, ...]
    matrix: sparse.csr_matrix
    leverage: Floats
    names: list[str] | None

    @property
    def starts(self) -> Ints:
        """The index of the first cell of each code."""
        return np.array([code.start for code in self.codes], dtype=np.int64)

    @property
    def code_type(self) -> type[np.uint16] | type[np.uint32]:
        """The smallest type that holds every code."""
        return np.uint16 if max(code.size for code in self.codes) <= 2**16 else np.uint32


@dataclass(frozen=True)
class _DistinctRows:
    """The distinct rows of a block, the row of each value, and the leverage of each row."""

    group: Ints
    matrix: sparse.csr_matrix
    leverage: Floats

    @property
    def size(self) -> int:
        return int(self.matrix.shape[0])


def build_design(transformers: Pipeline, raw: Columns) -> Design:
    """Build the design from the output of fitted transformers for every value.

    Parameters
    ----------
    transformers : Pipeline
        Fitted.
    raw : Columns
        The features.

    Returns
    -------
    Design

    Raises
    ------
    SlipwayError
        A column depends on several features, or is not numeric.
    """
    columns = transform_columns(transformers, raw, "the pipeline")
    if not columns.blocks:
        raise SlipwayError("the pipeline has no columns for its regression")
    width = columns.width
    distinct = {
        name: _find_distinct_rows(block, raw.frequencies[name], width)
        for name, block in columns.blocks.items()
    }
    codes, matrices, leverages, start = [], [], [], 0
    for names in _pack_features({name: rows.size for name, rows in distinct.items()}):
        code, matrix, leverage = _build_code(start, {name: distinct[name] for name in names})
        start += code.size
        codes.append(code)
        matrices.append(matrix)
        leverages.append(leverage)
    column_names = (
        columns.template.columns.tolist() if isinstance(columns.template, pd.DataFrame) else None
    )
    stacked = sparse.csr_matrix(sparse.vstack(matrices, format="csr"))
    return Design(tuple(codes), stacked, np.concatenate(leverages), column_names)


def _find_distinct_rows(block: Block, frequencies: Ints, width: int) -> _DistinctRows:
    """Group the values of a feature by the output of the transformers."""
    try:
        rows = sparse.csr_matrix(block.values, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise SlipwayError(f"the columns for the regression are not numeric: {error}") from error
    if not np.isfinite(rows.data).all():
        raise SlipwayError(
            "the columns for the regression have missing or infinite values; impute them"
        )
    rows.eliminate_zeros()
    rows.sort_indices()
    groups: dict[bytes, int] = {}
    group = np.empty(rows.shape[0], dtype=np.int64)
    for i, (start, end) in enumerate(zip(rows.indptr, rows.indptr[1:], strict=False)):
        key = rows.indices[start:end].tobytes() + rows.data[start:end].tobytes()
        group[i] = groups.setdefault(key, len(groups))
    _, first = np.unique(group, return_index=True)
    matrix = rows[first]
    leverage = _compute_leverage(matrix, np.bincount(group, weights=frequencies).astype(np.float64))
    placed = sparse.csr_matrix(
        (matrix.data, block.places[matrix.indices], matrix.indptr), (len(first), width)
    )
    return _DistinctRows(group, placed, leverage)


def _compute_leverage(matrix: sparse.csr_matrix, frequencies: Floats) -> Floats:
    """Compute the leverage of distinct rows among the columns of their feature.

    The leverage is ``m' (M' diag(frequencies) M)^+ m``. The sum over the features bounds a row's
    leverage in the whole design, without columns in the span of several features.
    """
    if matrix.shape[1] > MAX_EXACT_COLUMNS:
        bound: Floats = 1.0 / frequencies
        return bound
    gram = (matrix.T @ sparse.diags(frequencies) @ matrix).toarray()
    inverse = np.linalg.pinv(gram, hermitian=True)
    leverage = np.asarray((matrix.multiply(matrix @ inverse)).sum(axis=1)).ravel()
    # A value with only zero columns still influences the intercept.
    limited: Floats = np.clip(leverage, 1.0 / frequencies.sum(), 1.0)
    return limited


def _pack_features(sizes: Mapping[str, int]) -> list[list[str]]:
    """Group features while the product of their sizes is small, largest first."""
    packs: list[tuple[int, list[str]]] = []
    for name in sorted(sizes, key=lambda name: -sizes[name]):
        for i, (product, names) in enumerate(packs):
            if product * sizes[name] <= CELLS_PER_CODE:
                packs[i] = (product * sizes[name], [*names, name])
                break
        else:
            packs.append((sizes[name], [name]))
    return [names for _, names in packs]


def _build_code(start: int, distinct: Mapping[str, _DistinctRows]) -> tuple[Code, Any, Floats]:
    """Build the code of some features. Its cells are the combinations of their values."""
    size, stride = int(np.prod([rows.size for rows in distinct.values()])), 1
    features: dict[str, Ints] = {}
    matrix: Any = 0
    leverage = np.zeros(size)
    for name, rows in distinct.items():
        features[name] = rows.group * stride
        member = (np.arange(size) // stride) % rows.size
        matrix = matrix + rows.matrix[member]
        leverage += rows.leverage[member]
        stride *= rows.size
    return Code(start, features, size), matrix, leverage


def require_same_rows(
    design: Design, transformers: Pipeline, frame: pd.DataFrame, cells: Sequence[Any] | Ints
) -> None:
    """Compare the design with the output of the transformers for some rows.

    Raises
    ------
    SlipwayError
        They differ because a step computes from several values at a time.
    """
    expected = sparse.csr_matrix(transformers.transform(frame), dtype=np.float64)
    rows = design.matrix[np.asarray(cells).ravel()]
    member = np.repeat(np.arange(len(frame)), len(design.codes))
    sums = sparse.csr_matrix((np.ones(len(member)), (member, np.arange(len(member))))) @ rows
    if abs(sums - expected).max() > 1e-9 * max(1.0, abs(expected).max()):
        raise SlipwayError(
            "a step of the pipeline combines several values of a row and cannot be fitted in "
            "chunks: use --engine memory"
        )
