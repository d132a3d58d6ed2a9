"""What each value of each feature adds to a row of the design, and rows as a few small codes.

A column that the transformers give is a function of one feature. So a row's log-odds are a sum
of looked-up numbers, one a feature; and values that lead to the same columns need not be told
apart. Features with few such values share a code, which makes fewer look-ups of it.
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
from slipway.training.engines.chunked.feature_columns import Block, Columns, transformed
from slipway.training.engines.chunked.value_counts import Ints

Floats = npt.NDArray[np.float64]
# A table of so many numbers stays in a processor's nearest cache.
CELLS_A_CODE = 4096
# Of more columns than these the exact leverage takes too long; a bound does.
MOST_EXACT = 2000


@dataclass(frozen=True)
class Code:
    """What is told apart of some features, as one number a row.

    Attributes
    ----------
    start : int
        Where its cells begin among those of all codes.
    features : dict of str to ndarray
        By feature what each of its distinct values, missing last, adds to the code.
    size : int
        The number of its cells.
    """

    start: int
    features: dict[str, Ints]
    size: int


@dataclass(frozen=True)
class Design:
    """The design as a table of cells; a row is one cell of each code.

    Attributes
    ----------
    codes : tuple of Code
    matrix : csr_matrix of shape (n_cells, n_columns)
        What a cell adds to a row of the design.
    leverage : ndarray of shape (n_cells,)
        A row's sum bounds its leverage, which says how much it alone can tell of a parameter.
    names : list of str, optional
        The columns' names, where the transformers give a DataFrame.
    """

    codes: tuple[Code, ...]
    matrix: sparse.csr_matrix
    leverage: Floats
    names: list[str] | None

    @property
    def starts(self) -> Ints:
        """Where the cells of each code begin."""
        return np.array([code.start for code in self.codes], dtype=np.int64)

    @property
    def code_type(self) -> type[np.uint16] | type[np.uint32]:
        """The smallest type that holds every code."""
        return np.uint16 if max(code.size for code in self.codes) <= 2**16 else np.uint32


@dataclass(frozen=True)
class _Told:
    """The rows of a block that differ, which value has which, and how often each occurs."""

    group: Ints
    matrix: sparse.csr_matrix
    leverage: Floats

    @property
    def size(self) -> int:
        return int(self.matrix.shape[0])


def build_design(transformers: Pipeline, raw: Columns) -> Design:
    """Write down what fitted transformers make of every value.

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
        A column depends on several features, or is no number.
    """
    made = transformed(transformers, raw, "the pipeline")
    if not made.blocks:
        raise SlipwayError("the pipeline gives its regression no column")
    width = made.width
    told = {name: _told(block, raw.times[name], width) for name, block in made.blocks.items()}
    codes, matrices, leverages, start = [], [], [], 0
    for names in _packed({name: one.size for name, one in told.items()}):
        code, matrix, leverage = _code(start, {name: told[name] for name in names})
        start += code.size
        codes.append(code)
        matrices.append(matrix)
        leverages.append(leverage)
    named = made.like.columns.tolist() if isinstance(made.like, pd.DataFrame) else None
    stacked = sparse.csr_matrix(sparse.vstack(matrices, format="csr"))
    return Design(tuple(codes), stacked, np.concatenate(leverages), named)


def _told(block: Block, times: Ints, width: int) -> _Told:
    """Tell apart the values of a feature that differ in what the transformers make of them."""
    try:
        rows = sparse.csr_matrix(block.values, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise SlipwayError(f"the pipeline gives its regression no numbers: {error}") from error
    if not np.isfinite(rows.data).all():
        raise SlipwayError("the pipeline leaves gaps or infinite numbers to its regression")
    rows.eliminate_zeros()
    rows.sort_indices()
    kinds: dict[bytes, int] = {}
    group = np.empty(rows.shape[0], dtype=np.int64)
    for i, (start, end) in enumerate(zip(rows.indptr, rows.indptr[1:], strict=False)):
        key = rows.indices[start:end].tobytes() + rows.data[start:end].tobytes()
        group[i] = kinds.setdefault(key, len(kinds))
    _, first = np.unique(group, return_index=True)
    matrix = rows[first]
    leverage = _leverage(matrix, np.bincount(group, weights=times).astype(np.float64))
    placed = sparse.csr_matrix(
        (matrix.data, block.places[matrix.indices], matrix.indptr), (len(first), width)
    )
    return _Told(group, placed, leverage)


def _leverage(matrix: sparse.csr_matrix, times: Floats) -> Floats:
    """Compute the leverage of each value's rows among the columns of its feature.

    It is ``m' (M' diag(times) M)^+ m``. A row's leverage in the whole design, without the
    columns that are in more than one feature's span, is no more than the sum over the features.
    """
    if matrix.shape[1] > MOST_EXACT:
        bound: Floats = 1.0 / times
        return bound
    gram = (matrix.T @ sparse.diags(times) @ matrix).toarray()
    inverse = np.linalg.pinv(gram, hermitian=True)
    found = np.asarray((matrix.multiply(matrix @ inverse)).sum(axis=1)).ravel()
    # A value whose columns are all zero still tells something of the intercept.
    limited: Floats = np.clip(found, 1.0 / times.sum(), 1.0)
    return limited


def _packed(sizes: Mapping[str, int]) -> list[list[str]]:
    """Put features together while the product of their sizes is small, the largest first."""
    packs: list[tuple[int, list[str]]] = []
    for name in sorted(sizes, key=lambda name: -sizes[name]):
        for i, (product, names) in enumerate(packs):
            if product * sizes[name] <= CELLS_A_CODE:
                packs[i] = (product * sizes[name], [*names, name])
                break
        else:
            packs.append((sizes[name], [name]))
    return [names for _, names in packs]


def _code(start: int, told: Mapping[str, _Told]) -> tuple[Code, Any, Floats]:
    """Make one code of some features; its cells are the combinations of their values."""
    size, stride = int(np.prod([one.size for one in told.values()])), 1
    features: dict[str, Ints] = {}
    matrix: Any = 0
    leverage = np.zeros(size)
    for name, one in told.items():
        features[name] = one.group * stride
        member = (np.arange(size) // stride) % one.size
        matrix = matrix + one.matrix[member]
        leverage += one.leverage[member]
        stride *= one.size
    return Code(start, features, size), matrix, leverage


def require_same_rows(
    design: Design, transformers: Pipeline, frame: pd.DataFrame, cells: Sequence[Any] | Ints
) -> None:
    """Hold the design against what the transformers make of some rows.

    Raises
    ------
    SlipwayError
        They differ: a step looks at more than one value at a time.
    """
    due = sparse.csr_matrix(transformers.transform(frame), dtype=np.float64)
    rows = design.matrix[np.asarray(cells).ravel()]
    member = np.repeat(np.arange(len(frame)), len(design.codes))
    sums = sparse.csr_matrix((np.ones(len(member)), (member, np.arange(len(member))))) @ rows
    if abs(sums - due).max() > 1e-9 * max(1.0, abs(due).max()):
        raise SlipwayError(
            "a step of the pipeline makes more of a row than of its values one by one, and "
            "cannot be fitted in chunks: use --engine memory"
        )
