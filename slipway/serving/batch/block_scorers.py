"""Strategies to score a block of rows; all of them return the same predictions.

``RowScorer`` checks each row separately. With polars, ``FrameScorer`` reads whole columns, and
checks only the rows that it cannot read with certainty. For a sum of simple terms,
``VectorizedScorer`` also writes the added cells column by column.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slipway.models.features import Answer, Record
from slipway.models.frames import group_records
from slipway.models.pipeline_engine import PipelineScorer
from slipway.models.predictor import Predictor
from slipway.models.signature import Signature
from slipway.serving.batch.csv_header import Header
from slipway.serving.batch.csv_reader import Block
from slipway.serving.batch.output_columns import label_cells

if TYPE_CHECKING:
    from slipway.serving.batch.typed_columns import ColumnReader, TypedRows
    from slipway.serving.batch.vectorized_scorer import ColumnScorer

ScoredRows = tuple[list[int], list[Answer]]


@dataclass
class PartialBlock:
    """Result of a strategy before any row is checked separately.

    Attributes
    ----------
    added : list of (str or None)
        The added cells of the rows that are done.
    doubtful : list of int
        The rows to check.
    values : TypedRows, optional
        The rows that need no check but are not scored yet.
    """

    added: list[str | None]
    doubtful: list[int]
    values: TypedRows | None = None


class RowScorer:
    """Check every row separately."""

    def __init__(self, model: Predictor) -> None:
        self._model = model

    def begin(self, block: Block) -> PartialBlock:
        """Mark all rows for the check."""
        n_rows = len(block.texts)
        return PartialBlock([None] * n_rows, list(range(n_rows)))

    def score(self, partial: PartialBlock, rows: list[int], records: list[Record]) -> ScoredRows:
        """Score the checked rows, and the rows of ``partial`` that need no check.

        Parameters
        ----------
        partial : PartialBlock
        rows : list of int
            The positions of the records in the block.
        records : list of tuple

        Returns
        -------
        rows : list of int
        answers : list of Answer
        """
        return rows, self._model.score(records) if records else []


class VectorizedScorer(RowScorer):
    """Write the added cells from columns of text."""

    def __init__(self, model: Predictor, scorer: ColumnScorer) -> None:
        super().__init__(model)
        self._scorer = scorer

    def begin(self, block: Block) -> PartialBlock:
        """Write the added cells of all rows that can be read with certainty."""
        added = self._scorer(block)
        doubtful = [i for i, cells in enumerate(added) if cells is None] if None in added else []
        return PartialBlock(added, doubtful)


class FrameScorer(RowScorer):
    """Read columns of values, and score the block in one call of the model.

    Checked rows return to their positions first, because the last bit of a matrix product can
    depend on the position of a row.
    """

    def __init__(self, model: Predictor, reader: ColumnReader) -> None:
        super().__init__(model)
        self._reader = reader

    def begin(self, block: Block) -> PartialBlock:
        """Read all rows that can be read with certainty."""
        values = self._reader(block)
        n_rows = len(block.texts)
        doubtful = sorted(set(range(n_rows)).difference(values.rows))
        return PartialBlock([None] * n_rows, doubtful, values)

    def score(self, partial: PartialBlock, rows: list[int], records: list[Record]) -> ScoredRows:
        """Score the checked rows, and the rows of ``partial`` that need no check."""
        from slipway.serving.batch.typed_columns import to_frame

        if partial.values is None or not (partial.values.rows or rows):
            return [], []
        signature, scorer = self._model.manifest.signature, self._model.score
        same_types, others = _split_by_types(signature, records)
        values = partial.values.with_records(
            [records[i] for i in same_types], [rows[i] for i in same_types]
        )
        if isinstance(scorer, PipelineScorer):
            answers = scorer.score_frame(to_frame(signature, values.columns)) if values.rows else []
        else:
            answers = scorer(values.columns.rows()) if values.rows else []
        if not others:
            return values.rows, answers
        more = scorer([records[i] for i in others])
        return values.rows + [rows[i] for i in others], answers + more


def _split_by_types(signature: Signature, records: list[Record]) -> tuple[list[int], list[int]]:
    """Split records into those that fit the column types of the training and the others."""
    types = tuple(feature.column_type for feature in signature.features)
    same_types: list[int] = []
    others: list[int] = []
    for positions, column_types in group_records(signature, records):
        (same_types if column_types == types else others).extend(positions)
    return sorted(same_types), sorted(others)


def choose_block_scorer(header: Header, model: Predictor) -> RowScorer:
    """Choose the fastest strategy that the model and the installed packages allow.

    Parameters
    ----------
    header : Header
    model : Predictor

    Returns
    -------
    RowScorer
    """
    with suppress(ImportError):
        # polars is large; a service without it still predicts.
        from slipway.serving.batch.typed_columns import ColumnReader, is_readable
        from slipway.serving.batch.vectorized_scorer import SIMPLE_TERMS, ColumnScorer

        signature, scorecard = model.manifest.signature, model.manifest.scorecard
        if not is_readable(signature):
            return RowScorer(model)
        if model.engine == "scorecard" and scorecard is not None and scorecard.is_log_odds:
            log_odds = scorecard.sums[0]
            if all(isinstance(term, SIMPLE_TERMS) for term in log_odds.terms):
                labels, positive_from = label_cells(model), model.labels.positive_from
                by_score = model.labels.threshold is None and scorecard.label_from == "scores"
                scorer = ColumnScorer(
                    log_odds, signature, header, labels, positive_from, by_score=by_score
                )
                return VectorizedScorer(model, scorer)
        return FrameScorer(model, ColumnReader(signature, header))
    return RowScorer(model)
