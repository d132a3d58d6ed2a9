"""The columns between two steps of a pipeline, each a function of one raw feature.

A column is stored once for each distinct value of its feature. This is enough to build rows of
any values, to transform them with a fitted step, and to store the resulting columns in the same
way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from slipway.core.errors import SlipwayError
from slipway.models.features import Feature
from slipway.training.engines.chunked.value_counts import Counts, Ints, to_value_column

Bools = npt.NDArray[np.bool_]
# The number of cells that a step transforms at a time.
CELLS = 4_000_000


@dataclass(frozen=True)
class Block:
    """The columns that depend on one feature.

    Attributes
    ----------
    places : ndarray of shape (n_columns,)
        Their ascending positions among all columns.
    values : ndarray or csc_matrix of shape (n_distinct, n_columns)
        The missing value is the last distinct value.
    """

    places: Ints
    values: Any


@dataclass(frozen=True)
class Columns:
    """Columns that each depend on one raw feature.

    Attributes
    ----------
    blocks : dict of str to Block
        By feature.
    frequencies : mapping of str to ndarray
        The frequency of each distinct value of a feature.
    template : DataFrame, ndarray or sparse matrix of shape (0, n_columns)
        An empty container with the names and types of the columns.
    """

    blocks: dict[str, Block]
    frequencies: Mapping[str, Ints]
    template: Any

    @property
    def width(self) -> int:
        """The number of columns."""
        return int(self.template.shape[1])

    @property
    def rows(self) -> int:
        """The number of rows that the frequencies represent."""
        return int(next(iter(self.frequencies.values())).sum())

    @property
    def max_distinct(self) -> int:
        """The largest number of distinct values of a feature."""
        return max(len(self.frequencies[feature]) for feature in self.blocks)

    def iter_columns(self) -> Iterator[tuple[npt.NDArray[Any], Ints]]:
        """Yield the values and frequencies of each column, in the order of the columns."""
        placed = sorted(
            (place, feature, i)
            for feature, block in self.blocks.items()
            for i, place in enumerate(block.places.tolist())
        )
        for _, feature, i in placed:
            values = self.blocks[feature].values[:, [i]]
            dense = values.toarray() if sparse.issparse(values) else values
            yield dense[:, 0], self.frequencies[feature]

    def rows_at(self, codes: Mapping[str, Ints]) -> Any:
        """Build rows from the indices of distinct values.

        Parameters
        ----------
        codes : mapping of str to ndarray of shape (n_rows,)
            By feature, the index of the distinct value of each row.

        Returns
        -------
        DataFrame, ndarray or csr_matrix of shape (n_rows, n_columns)
        """
        n_rows = len(next(iter(codes.values())))
        if sparse.issparse(self.template):
            parts = [block.values.tocsr()[codes[name]] for name, block in self.blocks.items()]
            order = np.argsort(np.concatenate([block.places for block in self.blocks.values()]))
            return sparse.hstack(parts, format="csc")[:, order].tocsr()
        if isinstance(self.template, pd.DataFrame):
            cells: list[Any] = [None] * self.width
            for name, block in self.blocks.items():
                for i, place in enumerate(block.places.tolist()):
                    cells[place] = block.values[:, i][codes[name]]
            return self.from_columns(cells)
        rows = np.empty((n_rows, self.width), dtype=self.template.dtype)
        for name, block in self.blocks.items():
            rows[:, block.places] = block.values[codes[name]]
        return rows

    def from_columns(self, cells: Sequence[npt.NDArray[Any]], *, dtype: Any = None) -> Any:
        """Build rows from columns of equal length, with another type if ``dtype`` is given."""
        if isinstance(self.template, pd.DataFrame):
            types = [dtype] * self.width if dtype else list(self.template.dtypes)
            typed = [pd.Series(c).astype(t) for c, t in zip(cells, types, strict=True)]
            table = pd.concat(typed, axis=1) if typed else pd.DataFrame(index=range(0))
            table.columns = self.template.columns
            return table
        return np.column_stack([*cells]).astype(dtype or self.template.dtype)

    def distinct_rows(self) -> Any:
        """Build rows that contain every distinct value of every feature."""
        n_rows = max(self.max_distinct, 2)
        place = np.arange(n_rows)
        return self.rows_at(
            {f: np.minimum(place, len(self.frequencies[f]) - 1) for f in self.blocks}
        )

    def ordinary_rows(self) -> Any:
        """Build two ordinary rows, for steps that do not depend on values."""
        return self.rows_at(self._constant_codes(2))

    def _constant_codes(self, n_rows: int) -> dict[str, Ints]:
        return {feature: np.zeros(n_rows, dtype=np.int64) for feature in self.blocks}

    def vary(self, feature: str, width: int) -> Iterator[Any]:
        """Yield rows in which one feature takes each of its values and the others are constant.

        Each block of rows has at most ``CELLS`` cells in ``width`` columns.
        """
        n_distinct = len(self.frequencies[feature])
        size = max(1, CELLS // max(self.width, width, 1))
        for start in range(0, n_distinct, size):
            place = np.arange(start, min(start + size, n_distinct))
            yield self.rows_at(self._constant_codes(len(place)) | {feature: place})

    def subset(self, places: Sequence[int]) -> Columns:
        """Select some of the columns."""
        chosen = np.asarray(places, dtype=np.int64)
        template = self.template
        template = (
            template.iloc[:, chosen] if isinstance(template, pd.DataFrame) else template[:, chosen]
        )
        blocks = {}
        for feature, block in self.blocks.items():
            index_of = {place: i for i, place in enumerate(block.places.tolist())}
            kept = [new for new, place in enumerate(chosen.tolist()) if place in index_of]
            if kept:
                source = [index_of[int(chosen[new])] for new in kept]
                blocks[feature] = Block(np.array(kept), block.values[:, source])
        return Columns(blocks, self.frequencies, template)


def raw_columns(features: Sequence[Feature], counts: Mapping[str, Counts]) -> Columns:
    """Build the columns of the raw features, one for each feature."""
    values = [to_value_column(feature, counts[feature.name]) for feature in features]
    blocks = {
        str(column.name): Block(np.array([i]), column.to_numpy()[:, None])
        for i, column in enumerate(values)
    }
    frequencies = {feature.name: counts[feature.name].frequencies for feature in features}
    return Columns(blocks, frequencies, pd.concat([column[:0] for column in values], axis=1))


def transform_columns(step: Any, columns: Columns, name: str) -> Columns:
    """Transform columns with a fitted step.

    Raises
    ------
    SlipwayError
        An output column depends on several features.
    """
    template = step.transform(columns.ordinary_rows())[:0]
    width = template.shape[1]
    varying: dict[str, Bools] = {}
    assigned = np.zeros(width, dtype=bool)
    for feature in columns.blocks:
        varies = _find_varying(map(step.transform, columns.vary(feature, width)))
        if (assigned & varies).any():
            raise SlipwayError(
                f"a column of {name} depends on {feature} and on another feature; such a step "
                "cannot be fitted in chunks: use --engine memory"
            )
        assigned |= varies
        varying[feature] = varies
    # A constant column is assigned to the first feature.
    varying[next(iter(varying))] |= ~assigned
    # Transforming a second time keeps only the selected columns in memory.
    blocks = {
        feature: _build_block(map(step.transform, columns.vary(feature, width)), varies)
        for feature, varies in varying.items()
        if varies.any()
    }
    return Columns(blocks, columns.frequencies, template)


def _build_block(outputs: Iterable[Any], chosen: Bools) -> Block:
    """Build the block of the selected output columns."""
    places = np.flatnonzero(chosen)
    kept = [
        output.tocsc()[:, places] if sparse.issparse(output) else _to_array(output)[:, places]
        for output in outputs
    ]
    whole = sparse.vstack(kept, "csc") if sparse.issparse(kept[0]) else np.concatenate(kept)
    return Block(places, whole)


def _find_varying(outputs: Iterable[Any]) -> Bools:
    """Return a mask of the columns that are not constant."""
    reference: Any = None
    varying: Any = False
    for output in outputs:
        if sparse.issparse(output):
            # Maximum and minimum include the zeros that are not stored.
            rows = sparse.vstack([output.max(axis=0), output.min(axis=0)]).toarray()
        else:
            rows = _to_array(output)
        reference = rows[:1] if reference is None else reference
        same = (rows == reference) | (pd.isna(rows) & pd.isna(reference))
        varying = varying | ~same.astype(bool).all(axis=0)
    return np.asarray(varying)


def _to_array(output: Any) -> npt.NDArray[Any]:
    return output.to_numpy() if isinstance(output, pd.DataFrame) else np.asarray(output)
