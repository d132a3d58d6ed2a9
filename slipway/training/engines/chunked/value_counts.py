"""Count the values of each feature, from which encoders and scalers are fitted.

The rows are read once in batches. Only the distinct values are kept, so memory grows with them
and not with the rows.
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
# The memory of a distinct value until the end of training: the value, its count, its index in the
# design, and the copies during sorting and transforming.
VALUE_BYTES = 250
MAX_PENDING = 100_000


@dataclass(frozen=True)
class Counts:
    """The counts of the values of one feature.

    Attributes
    ----------
    values : ndarray of shape (n_distinct,)
        Sorted distinct values: texts as objects, int64, float64 or bool.
    counts : ndarray of shape (n_distinct,)
        At least 1 each.
    missing : int
        The number of rows without a value.
    """

    values: npt.NDArray[Any]
    counts: Ints
    missing: int = 0

    @property
    def rows(self) -> int:
        """The number of rows."""
        return int(self.counts.sum()) + self.missing

    @property
    def frequencies(self) -> Ints:
        """The counts of the values and, if any, of the missing value at the end."""
        return np.append(self.counts, self.missing) if self.missing else self.counts


def to_value_column(feature: Feature, counts: Counts) -> pd.Series[Any]:
    """Return the distinct values as the pipeline gets them, any missing value at the end."""
    values = pd.Series(counts.values, dtype=object)
    if counts.missing:
        missing = None if feature.column_type == "object" and feature.gap == "none" else np.nan
        values = pd.concat([values, pd.Series([missing], dtype=object)], ignore_index=True)
    try:
        return values.astype(feature.column_type).rename(feature.name)  # type: ignore[call-overload, no-any-return]
    except (TypeError, ValueError) as error:
        note = "; the signature does not allow missing values" if counts.missing else ""
        raise SlipwayError(
            f"{feature.name} is not of kind {feature.kind}: {error}{note}"
        ) from error


@dataclass
class ValueCounter:
    """A counter of the values of one column, batch by batch."""

    name: str
    pending: list[tuple[pa.Array, Ints]] = field(default_factory=list)
    missing: int = 0

    def add(self, column: pa.Array) -> None:
        """Count the values of some rows."""
        encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        self.missing += encoded.null_count
        counts = np.bincount(
            encoded.indices.drop_null().to_numpy(), minlength=len(encoded.dictionary)
        )
        # A dictionary can contain values that none of these rows has.
        seen = np.flatnonzero(counts)
        self.pending.append((encoded.dictionary.take(pa.array(seen)), counts[seen]))
        if sum(len(values) for values, _ in self.pending[1:]) > MAX_PENDING + len(
            self.pending[0][0]
        ):
            self.merge()

    def merge(self) -> None:
        """Merge the pending counts of each value."""
        if len(self.pending) > 1:
            values = pa.concat_arrays([values for values, _ in self.pending]).dictionary_encode()
            weights = np.concatenate([counts for _, counts in self.pending])
            # Sums of integers below 2^53 are exact as floats.
            sums = np.bincount(values.indices.to_numpy(), weights=weights)
            self.pending = [(values.dictionary, sums.astype(np.int64))]

    @property
    def distinct(self) -> int:
        """An upper bound of the number of distinct values."""
        return sum(len(values) for values, _ in self.pending)

    def counts(self) -> Counts:
        """Return the counts, sorted by value."""
        self.merge()
        if not self.pending:
            return Counts(np.array([], dtype=object), np.array([], dtype=np.int64), self.missing)
        values, counts = self.pending[0]
        order = pc.sort_indices(values)
        values = values.take(order).to_numpy(zero_copy_only=False)
        counts = counts[order.to_numpy()]
        if values.dtype.kind != "f":
            return Counts(values, counts, self.missing)
        return _counts_of_numbers(values, counts, self.missing)


def _counts_of_numbers(values: npt.NDArray[Any], counts: Ints, missing: int) -> Counts:
    """Count NaN as missing, and minus zero as zero."""
    is_missing = np.isnan(values)
    distinct, position = np.unique(values[~is_missing] + 0.0, return_inverse=True)
    sums = np.bincount(position, weights=counts[~is_missing], minlength=len(distinct))
    return Counts(distinct, sums.astype(np.int64), missing + int(counts[is_missing].sum()))


def count_values(
    dataset: Dataset,
    features: Sequence[Feature],
    target: str,
    folds: Container[int],
    *,
    memory: int,
    rows: int,
    on_rows: Callable[[int], None] = lambda n_rows: None,
) -> dict[str, Counts]:
    """Count the values of the features and of the target.

    Parameters
    ----------
    dataset : Dataset
    features : sequence of Feature
    target : str
        The column of the target.
    folds : container of int
        The folds whose rows are counted.
    memory : int
        Memory limit of the distinct values in bytes.
    rows : int
        The number of rows to read at a time.
    on_rows : callable
        Called with the number of rows of each batch.

    Returns
    -------
    dict of str to Counts
        The counts by column, including the target.

    Raises
    ------
    SlipwayError
        The distinct values of the features do not fit in memory.
    """
    counters = [ValueCounter(name) for name in (*(feature.name for feature in features), target)]
    for batch, used in read_batches(dataset, [counter.name for counter in counters], folds, rows):
        for counter in counters:
            counter.add(batch.column(counter.name).filter(used))
        on_rows(batch.num_rows)
        _require_memory(counters, memory)
    return {counter.name: counter.counts() for counter in counters}


def read_batches(
    dataset: Dataset, columns: Sequence[str], folds: Container[int], rows: int
) -> Iterator[tuple[pa.RecordBatch, pa.Array]]:
    """Yield batches of rows, with a mask of the rows in the folds.

    Texts stay dictionary-encoded as in Parquet, which halves the time of reading.
    """
    in_folds = np.array([fold in folds for fold in range(N_FOLDS)])
    for file in dataset.files:
        schema = pq.read_schema(file)
        texts = [name for name in columns if _is_text(schema.field(name).type)]
        # Reading ahead would hold whole row groups of several columns in memory.
        with pq.ParquetFile(file, read_dictionary=texts, pre_buffer=False) as opened:
            for batch in opened.iter_batches(rows, columns=[*columns, FOLD]):
                yield batch, pa.array(in_folds[batch.column(FOLD).to_numpy()])


def _is_text(column_type: pa.DataType) -> bool:
    types = pa.types
    texts = (types.is_string, types.is_large_string, types.is_string_view)
    return any(is_text(column_type) for is_text in texts)


def _require_memory(counters: Sequence[ValueCounter], memory: int) -> None:
    """Reject distinct values that do not fit in memory."""
    if sum(counter.distinct for counter in counters) * VALUE_BYTES <= memory:
        return
    for counter in counters:
        counter.merge()
    if sum(counter.distinct for counter in counters) * VALUE_BYTES > memory:
        worst = max(counters, key=lambda counter: counter.distinct)
        raise SlipwayError(
            f"{worst.name} has at least {worst.distinct:,} distinct values, too many for "
            f"the memory: round the values in the query, drop the column, or raise --memory"
        )
