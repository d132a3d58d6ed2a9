"""How often each value of each feature occurs: all that an encoder or a scaler learns from.

The rows are read once, some at a time. What is kept are the distinct values, so that memory
grows with them and not with the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from slipway.core.errors import SlipwayError
from slipway.data.dataset import FOLD, N_FOLDS, Dataset
from slipway.models.features import Feature

Ints = npt.NDArray[np.int64]
# What a distinct value takes from here to the end of training: itself, its count, its place in
# the design, and the copies that a sort or a transformer makes of it.
VALUE_BYTES = 250
PENDING = 100_000


@dataclass(frozen=True)
class Counts:
    """How often each value of one feature occurs.

    Attributes
    ----------
    values : ndarray of shape (n_distinct,)
        Sorted, each once: texts as objects, int64, float64 or bool.
    counts : ndarray of shape (n_distinct,)
        1 at least.
    missing : int
        How many rows have no value.
    """

    values: npt.NDArray[Any]
    counts: Ints
    missing: int = 0

    @property
    def rows(self) -> int:
        """The number of rows."""
        return int(self.counts.sum()) + self.missing

    @property
    def times(self) -> Ints:
        """How often each value occurs, and last the missing one, if it does."""
        return np.append(self.counts, self.missing) if self.missing else self.counts


def value_column(feature: Feature, counts: Counts) -> pd.Series[Any]:
    """Give the distinct values as the pipeline meets them, and last the missing one, if any."""
    values = pd.Series(counts.values, dtype=object)
    if counts.missing:
        gap = None if feature.column_type == "object" and feature.gap == "none" else np.nan
        values = pd.concat([values, pd.Series([gap], dtype=object)], ignore_index=True)
    try:
        return values.astype(feature.column_type).rename(feature.name)  # type: ignore[call-overload, no-any-return]
    except (TypeError, ValueError) as error:
        gaps = "; the signature says that it is never missing" if counts.missing else ""
        raise SlipwayError(f"{feature.name} is no {feature.kind}: {error}{gaps}") from error


@dataclass
class Tally:
    """The counts of one column while its rows are read."""

    name: str
    pending: list[tuple[pa.Array, Ints]] = field(default_factory=list)
    missing: int = 0

    def add(self, column: pa.Array) -> None:
        """Count the values of some rows."""
        encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        self.missing += encoded.null_count
        found = np.bincount(
            encoded.indices.drop_null().to_numpy(), minlength=len(encoded.dictionary)
        )
        # A dictionary may hold what none of these rows does.
        seen = np.flatnonzero(found)
        self.pending.append((encoded.dictionary.take(pa.array(seen)), found[seen]))
        if sum(len(values) for values, _ in self.pending[1:]) > PENDING + len(self.pending[0][0]):
            self.merge()

    def merge(self) -> None:
        """Bring together what is known of each value."""
        if len(self.pending) > 1:
            values = pa.concat_arrays([values for values, _ in self.pending]).dictionary_encode()
            weights = np.concatenate([found for _, found in self.pending])
            # Sums of integers below 2^53 are exact as floats.
            sums = np.bincount(values.indices.to_numpy(), weights=weights)
            self.pending = [(values.dictionary, sums.astype(np.int64))]

    @property
    def distinct(self) -> int:
        """At most so many values have been seen."""
        return sum(len(values) for values, _ in self.pending)

    def counts(self) -> Counts:
        """Give the counts in the order of the values."""
        self.merge()
        if not self.pending:
            return Counts(np.array([], dtype=object), np.array([], dtype=np.int64), self.missing)
        found, counts = self.pending[0]
        order = pc.sort_indices(found)
        values = found.take(order).to_numpy(zero_copy_only=False)
        counts = counts[order.to_numpy()]
        if values.dtype.kind != "f":
            return Counts(values, counts, self.missing)
        return _counts_of_numbers(values, counts, self.missing)


def _counts_of_numbers(values: npt.NDArray[Any], counts: Ints, missing: int) -> Counts:
    """Take NaN for missing, and minus zero for zero."""
    gap = np.isnan(values)
    distinct, place = np.unique(values[~gap] + 0.0, return_inverse=True)
    sums = np.bincount(place, weights=counts[~gap], minlength=len(distinct))
    return Counts(distinct, sums.astype(np.int64), missing + int(counts[gap].sum()))


def count_rows(
    stored: Dataset,
    features: Sequence[Feature],
    target: str,
    folds: Container[int],
    *,
    memory: int,
    rows: int,
    told: Callable[[int], None] = lambda n_rows: None,
) -> dict[str, Counts]:
    """Count the values of the features and of the target.

    Parameters
    ----------
    stored : Dataset
    features : sequence of Feature
    target : str
        The target's column.
    folds : container of int
        Only rows of these folds are counted.
    memory : int
        How many bytes the values may take in all.
    rows : int
        How many rows are read at a time.
    told : callable
        Told after each batch how many rows it had.

    Returns
    -------
    dict of str to Counts
        By column, the target's among them.

    Raises
    ------
    SlipwayError
        The features have more distinct values than the memory holds.
    """
    tallies = [Tally(name) for name in (*(feature.name for feature in features), target)]
    for batch, used in batches(stored, [tally.name for tally in tallies], folds, rows):
        for tally in tallies:
            tally.add(batch.column(tally.name).filter(used))
        told(batch.num_rows)
        _require_room(tallies, memory)
    return {tally.name: tally.counts() for tally in tallies}


def batches(
    stored: Dataset, columns: Sequence[str], folds: Container[int], rows: int
) -> Iterator[tuple[pa.RecordBatch, pa.Array]]:
    """Read some rows at a time, and tell which of them belong to the folds.

    Texts stay the dictionaries that Parquet keeps them as: that is half the time of reading.
    """
    wanted = np.array([fold in folds for fold in range(N_FOLDS)])
    for file in stored.files:
        schema = pq.read_schema(file)
        texts = [name for name in columns if _is_text(schema.field(name).type)]
        # Reading ahead would hold whole row groups of several columns in memory.
        with pq.ParquetFile(file, read_dictionary=texts, pre_buffer=False) as opened:
            for batch in opened.iter_batches(rows, columns=[*columns, FOLD]):
                yield batch, pa.array(wanted[batch.column(FOLD).to_numpy()])


def _is_text(column_type: pa.DataType) -> bool:
    types = pa.types
    texts = (types.is_string, types.is_large_string, types.is_string_view)
    return any(is_text(column_type) for is_text in texts)


def _require_room(tallies: Sequence[Tally], memory: int) -> None:
    """Refuse more distinct values than there is memory for."""
    if sum(tally.distinct for tally in tallies) * VALUE_BYTES <= memory:
        return
    for tally in tallies:
        tally.merge()
    if sum(tally.distinct for tally in tallies) * VALUE_BYTES > memory:
        worst = max(tallies, key=lambda tally: tally.distinct)
        raise SlipwayError(
            f"{worst.name} has {worst.distinct:,} distinct values or more, too many for "
            f"the memory given: round it in the query, leave it out, or give more --memory"
        )
