"""The ways to answer a block of rows, with one meaning.

Any row can be checked by itself. Where polars is installed, whole columns are read at once, and
only the rows there is some doubt about are checked so; and where the model is a sum of simple
terms, even the cells that are added are made a column at a time.
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

Answered = tuple[list[int], list[Answer]]


@dataclass
class PartialBlock:
    """What a way makes of a block before any row is checked by itself.

    Attributes
    ----------
    added : list of (str or None)
        The cells of the rows that are done.
    doubtful : list of int
        The rows that must be checked.
    values : Values, optional
        The rows that need no check, but still an answer.
    """

    added: list[str | None]
    doubtful: list[int]
    values: TypedRows | None = None


class RowScorer:
    """Check every row by itself."""

    def __init__(self, model: Predictor) -> None:
        self._model = model

    def begin(self, block: Block) -> PartialBlock:
        """Do what can be done without a check."""
        n_rows = len(block.texts)
        return PartialBlock([None] * n_rows, list(range(n_rows)))

    def score(self, begun: PartialBlock, rows: list[int], records: list[Record]) -> Answered:
        """Score the rows that were checked, and those that needed none.

        Parameters
        ----------
        begun : PartialBlock
        rows : list of int
            The places of the records in the block.
        records : list of tuple

        Returns
        -------
        rows : list of int
        answers : list of Answer
        """
        return rows, self._model.score(records) if records else []


class FusedScorer(RowScorer):
    """Go from columns of texts to the cells that are added."""

    def __init__(self, model: Predictor, scorer: ColumnScorer) -> None:
        super().__init__(model)
        self._scorer = scorer

    def begin(self, block: Block) -> PartialBlock:
        """Answer all rows but those with some doubt."""
        added = self._scorer(block)
        doubtful = [i for i, cells in enumerate(added) if cells is None] if None in added else []
        return PartialBlock(added, doubtful)


class ColumnsScorer(RowScorer):
    """Read columns of values, and let the model score the block in one call.

    The rows that were checked come back to their places before, because the last bit of a
    product of matrices can depend on the row's place in it.
    """

    def __init__(self, model: Predictor, reader: ColumnReader) -> None:
        super().__init__(model)
        self._reader = reader

    def begin(self, block: Block) -> PartialBlock:
        """Read all rows but those with some doubt."""
        values = self._reader(block)
        n_rows = len(block.texts)
        doubtful = sorted(set(range(n_rows)).difference(values.rows))
        return PartialBlock([None] * n_rows, doubtful, values)

    def score(self, begun: PartialBlock, rows: list[int], records: list[Record]) -> Answered:
        """Score the rows that were checked, and those that needed none."""
        from slipway.serving.batch.typed_columns import to_frame

        if begun.values is None or not (begun.values.rows or rows):
            return [], []
        signature, scorer = self._model.manifest.signature, self._model.score
        alike, others = _parted(signature, records)
        values = begun.values.joined([records[i] for i in alike], [rows[i] for i in alike])
        if isinstance(scorer, PipelineScorer):
            answers = scorer.score_frame(to_frame(signature, values.columns)) if values.rows else []
        else:
            answers = scorer(values.columns.rows()) if values.rows else []
        if not others:
            return values.rows, answers
        more = scorer([records[i] for i in others])
        return values.rows + [rows[i] for i in others], answers + more


def _parted(signature: Signature, records: list[Record]) -> tuple[list[int], list[int]]:
    """Part the records that fit columns of the training types from those that widen one."""
    types = tuple(feature.column_type for feature in signature.features)
    alike: list[int] = []
    others: list[int] = []
    for places, found in group_records(signature, records):
        (alike if found == types else others).extend(places)
    return sorted(alike), sorted(others)


def choose_block_scorer(header: Header, model: Predictor) -> RowScorer:
    """Choose the quickest way that the model and the install have.

    Parameters
    ----------
    header : Header
    model : Predictor

    Returns
    -------
    RowScorer
    """
    with suppress(ImportError):
        # polars is large, and a service that answers single predictions does without it.
        from slipway.serving.batch.typed_columns import ColumnReader, is_plain
        from slipway.serving.batch.vectorized_scorer import SIMPLE, ColumnScorer

        signature, scorecard = model.manifest.signature, model.manifest.scorecard
        if not is_plain(signature):
            return RowScorer(model)
        if model.engine == "scorecard" and scorecard is not None and scorecard.is_log_odds:
            log_odds = scorecard.sums[0]
            if all(isinstance(term, SIMPLE) for term in log_odds.terms):
                labels, least = label_cells(model), model.labels.positive_from
                by_score = model.labels.threshold is None and scorecard.label_from == "scores"
                scorer = ColumnScorer(log_odds, signature, header, labels, least, by_score=by_score)
                return FusedScorer(model, scorer)
        return ColumnsScorer(model, ColumnReader(signature, header))
    return RowScorer(model)
