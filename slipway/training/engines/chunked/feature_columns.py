"""The columns between two steps of a pipeline, as functions of one raw feature each.

What a column holds is written down once for each distinct value of its feature. That is enough
to make rows of any values, to ask a fitted step about them, and to write down the columns that
it gives in the same way.
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
from slipway.training.engines.chunked.value_counts import Counts, Ints, value_column

Bools = npt.NDArray[np.bool_]
# A step is asked about so many cells at a time.
CELLS = 4_000_000


@dataclass(frozen=True)
class Block:
    """The columns that depend on one feature.

    Attributes
    ----------
    places : ndarray of shape (n_columns,)
        Where they stand among all columns, ascending.
    values : ndarray or csc_matrix of shape (n_distinct, n_columns)
        Missing is a distinct value too, the last.
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
    times : mapping of str to ndarray
        How often each distinct value of a feature occurs.
    like : DataFrame, ndarray or sparse matrix of shape (0, n_columns)
        What holds such columns, without rows: names and types.
    """

    blocks: dict[str, Block]
    times: Mapping[str, Ints]
    like: Any

    @property
    def width(self) -> int:
        """The number of columns."""
        return int(self.like.shape[1])

    @property
    def rows(self) -> int:
        """The number of rows that are stood for."""
        return int(next(iter(self.times.values())).sum())

    @property
    def most_distinct(self) -> int:
        """The most distinct values that a feature of these columns has."""
        return max(len(self.times[feature]) for feature in self.blocks)

    def each(self) -> Iterator[tuple[npt.NDArray[Any], Ints]]:
        """Give each column's values and how often they occur, in the order of the columns."""
        placed = sorted(
            (place, feature, i)
            for feature, block in self.blocks.items()
            for i, place in enumerate(block.places.tolist())
        )
        for _, feature, i in placed:
            values = self.blocks[feature].values[:, [i]]
            dense = values.toarray() if sparse.issparse(values) else values
            yield dense[:, 0], self.times[feature]

    def at(self, codes: Mapping[str, Ints]) -> Any:
        """Make rows.

        Parameters
        ----------
        codes : mapping of str to ndarray of shape (n_rows,)
            By feature, which of its distinct values each row has.

        Returns
        -------
        DataFrame, ndarray or csr_matrix of shape (n_rows, n_columns)
        """
        n_rows = len(next(iter(codes.values())))
        if sparse.issparse(self.like):
            parts = [block.values.tocsr()[codes[name]] for name, block in self.blocks.items()]
            order = np.argsort(np.concatenate([block.places for block in self.blocks.values()]))
            return sparse.hstack(parts, format="csc")[:, order].tocsr()
        if isinstance(self.like, pd.DataFrame):
            cells: list[Any] = [None] * self.width
            for name, block in self.blocks.items():
                for i, place in enumerate(block.places.tolist()):
                    cells[place] = block.values[:, i][codes[name]]
            return self.of(cells)
        rows = np.empty((n_rows, self.width), dtype=self.like.dtype)
        for name, block in self.blocks.items():
            rows[:, block.places] = block.values[codes[name]]
        return rows

    def of(self, cells: Sequence[npt.NDArray[Any]], *, dtype: Any = None) -> Any:
        """Make rows of given columns, all of one length; ``dtype`` for another type."""
        if isinstance(self.like, pd.DataFrame):
            types = [dtype] * self.width if dtype else list(self.like.dtypes)
            typed = [pd.Series(c).astype(t) for c, t in zip(cells, types, strict=True)]
            table = pd.concat(typed, axis=1) if typed else pd.DataFrame(index=range(0))
            table.columns = self.like.columns
            return table
        return np.column_stack([*cells]).astype(dtype or self.like.dtype)

    def distinct(self) -> Any:
        """Make rows that hold every distinct value of every feature."""
        n_rows = max(self.most_distinct, 2)
        place = np.arange(n_rows)
        return self.at({f: np.minimum(place, len(self.times[f]) - 1) for f in self.blocks})

    def first(self) -> Any:
        """Make two rows of ordinary values, for what looks at no values."""
        return self.at(self._ordinary(2))

    def _ordinary(self, n_rows: int) -> dict[str, Ints]:
        return {feature: np.zeros(n_rows, dtype=np.int64) for feature in self.blocks}

    def varied(self, feature: str, width: int) -> Iterator[Any]:
        """Make rows in which one feature has each of its values, and all others stay the same.

        Each time as many as give no more than so many cells of ``width`` columns.
        """
        n_distinct = len(self.times[feature])
        size = max(1, CELLS // max(self.width, width, 1))
        for start in range(0, n_distinct, size):
            place = np.arange(start, min(start + size, n_distinct))
            yield self.at(self._ordinary(len(place)) | {feature: place})

    def subset(self, places: Sequence[int]) -> Columns:
        """Choose some of the columns."""
        chosen = np.asarray(places, dtype=np.int64)
        like = self.like
        like = like.iloc[:, chosen] if isinstance(like, pd.DataFrame) else like[:, chosen]
        blocks = {}
        for feature, block in self.blocks.items():
            at = {place: i for i, place in enumerate(block.places.tolist())}
            kept = [new for new, place in enumerate(chosen.tolist()) if place in at]
            if kept:
                source = [at[int(chosen[new])] for new in kept]
                blocks[feature] = Block(np.array(kept), block.values[:, source])
        return Columns(blocks, self.times, like)


def raw_columns(features: Sequence[Feature], counts: Mapping[str, Counts]) -> Columns:
    """Write down the raw features, each a column of itself."""
    values = [value_column(feature, counts[feature.name]) for feature in features]
    blocks = {
        str(column.name): Block(np.array([i]), column.to_numpy()[:, None])
        for i, column in enumerate(values)
    }
    times = {feature.name: counts[feature.name].times for feature in features}
    return Columns(blocks, times, pd.concat([column[:0] for column in values], axis=1))


def transformed(step: Any, columns: Columns, name: str) -> Columns:
    """Write down what a fitted step makes of columns.

    Raises
    ------
    SlipwayError
        A column that it gives depends on several features.
    """
    like = step.transform(columns.first())[:0]
    width = like.shape[1]
    varying: dict[str, Bools] = {}
    taken = np.zeros(width, dtype=bool)
    for feature in columns.blocks:
        varies = _varying(map(step.transform, columns.varied(feature, width)))
        if (taken & varies).any():
            raise SlipwayError(
                f"a column of {name} depends on {feature} and on another feature; such a step "
                "cannot be fitted in chunks: use --engine memory"
            )
        taken |= varies
        varying[feature] = varies
    # A column that never changes is taken as one of the first feature.
    varying[next(iter(varying))] |= ~taken
    # The step is asked once more, so that only what is kept is ever held at once.
    blocks = {
        feature: _block(map(step.transform, columns.varied(feature, width)), varies)
        for feature, varies in varying.items()
        if varies.any()
    }
    return Columns(blocks, columns.times, like)


def _block(answers: Iterable[Any], chosen: Bools) -> Block:
    """Keep some columns of what a step answers."""
    places = np.flatnonzero(chosen)
    kept = [
        answer.tocsc()[:, places] if sparse.issparse(answer) else _array(answer)[:, places]
        for answer in answers
    ]
    whole = sparse.vstack(kept, "csc") if sparse.issparse(kept[0]) else np.concatenate(kept)
    return Block(places, whole)


def _varying(answers: Iterable[Any]) -> Bools:
    """Find the columns that are not the same in all rows."""
    first: Any = None
    varying: Any = False
    for answer in answers:
        if sparse.issparse(answer):
            # Column by column, what is not stored is a zero for both.
            rows = sparse.vstack([answer.max(axis=0), answer.min(axis=0)]).toarray()
        else:
            rows = _array(answer)
        first = rows[:1] if first is None else first
        same = (rows == first) | (pd.isna(rows) & pd.isna(first))
        varying = varying | ~same.astype(bool).all(axis=0)
    return np.asarray(varying)


def _array(answer: Any) -> npt.NDArray[Any]:
    return answer.to_numpy() if isinstance(answer, pd.DataFrame) else np.asarray(answer)
