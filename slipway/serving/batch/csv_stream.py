"""Predict the rows of a CSV file block by block, so that memory does not grow with the file.

The output has the text of each row unchanged, followed by the added cells. ``block_scorers`` has
the strategies to score a block; all of them write the same bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice
from operator import add
from typing import cast

import msgspec

from slipway.core.csv_cells import escape_text_cell
from slipway.core.errors import BadInput, FieldError, InputWarning
from slipway.models.features import Record
from slipway.serving.batch.block_scorers import RowScorer, choose_block_scorer
from slipway.serving.batch.csv_header import Header
from slipway.serving.batch.csv_reader import Block, read_blocks, read_header
from slipway.serving.batch.output_columns import (
    NO_NOTES,
    NOTES,
    added_columns,
    answer_writer,
    failure_cells,
    warning_cells,
)
from slipway.serving.batch.upload import Readable
from slipway.serving.predictions import NO_ANSWER
from slipway.serving.service import PredictionService

# Blocks that threads score in advance.
PREFETCHED = 2
# A file is rejected if none of its first rows fits, for as many rows or as many output bytes.
FIRST_ROWS = 10_000
FIRST_BYTES = 8 * 2**20
# Rows that one call joins.
ROWS_AT_ONCE = 1_000
# Errors that the rejection lists.
MAX_LISTED = 10


@dataclass(frozen=True)
class FileCounts:
    """Counts of the rows of a block or a file, as in the last line of the output.

    Attributes
    ----------
    rows, failed, warned : int
    errors : tuple of FieldError
        The first errors, with their rows in the block.
    """

    rows: int = 0
    failed: int = 0
    warned: int = 0
    errors: tuple[FieldError, ...] = ()

    def __add__(self, other: FileCounts) -> FileCounts:
        return FileCounts(
            self.rows + other.rows,
            self.failed + other.failed,
            self.warned + other.warned,
            self.errors or other.errors,
        )


Part = tuple[bytes, FileCounts]


def predict_file(
    file: Readable, service: PredictionService, *, counts: bool = False
) -> Iterator[bytes]:
    """Predict the rows of a CSV file.

    Parameters
    ----------
    file : binary file
        Read once, from its start.
    service : PredictionService
    counts : bool
        Whether to add a last line with the counts, which is not CSV.

    Returns
    -------
    iterator of bytes
        The file with the added columns.

    Raises
    ------
    BadBody, BadInput
        Before the first output, if the header or none of the first rows fits the model.
    """
    added = added_columns(service.signature)
    header, rest = read_header(file, service.signature, added)
    parts = _prefetch(read_blocks(file, rest, header), BlockAnswerer(header, added, service))
    try:
        first_parts = _answer_first_rows(parts)
    except BaseException:
        parts.close()
        raise
    version = service.model.manifest.version if counts else ""
    return _write_answer(header, added, first_parts, parts, version)


def _answer_first_rows(parts: Iterator[Part]) -> list[Part]:
    """Return the parts up to the first block with a row that fits."""
    first_parts: list[Part] = []
    total, n_bytes = FileCounts(), 0
    for text, counts in parts:
        first_parts.append((text, counts))
        total, n_bytes = total + counts, n_bytes + len(text)
        if total.failed < total.rows:
            break
        if total.failed >= FIRST_ROWS or (n_bytes >= FIRST_BYTES and total.failed):
            message = f"none of the first {total.failed:,} rows fits the model"
            raise BadInput(message, code="no_row_fits", errors=total.errors)
        if n_bytes >= FIRST_BYTES:
            break
    return first_parts


def _write_answer(
    header: Header,
    added: tuple[str, ...],
    first_parts: list[Part],
    parts: Generator[Part, None, None],
    version: str,
) -> Iterator[bytes]:
    """Yield the output block by block, and the counts if a version is given."""
    end = header.dialect.line_end
    names = "".join(f",{escape_text_cell(name)}" for name in added)
    if not header.dialect.is_standard:
        names = header.dialect.format_cells(names, slice(0))
    yield f"{header.before}{header.text}{names}{end}".encode()
    total = FileCounts()
    # A client that disconnects closes this generator, which cancels the prefetched blocks.
    with closing(parts):
        for text, counts in chain(first_parts, parts):
            total += counts
            yield text
    if version:
        line = f"# rows={total.rows} failed={total.failed} warned={total.warned} model={version}"
        yield (line + end).encode()


def _prefetch(
    blocks: Iterator[Block], answer: Callable[[Block], Part]
) -> Generator[Part, None, None]:
    """Score the next blocks in threads while one is sent.

    polars releases the GIL, so that two cores are busy.
    """
    pool = ThreadPoolExecutor(PREFETCHED)
    try:
        waiting: deque[Future[Part]] = deque()
        for block in blocks:
            waiting.append(pool.submit(answer, block))
            if len(waiting) > PREFETCHED:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        # The client may have disconnected, so do not wait for running blocks.
        pool.shutdown(wait=False, cancel_futures=True)


class RowChecks:
    """Results of the rows of a block that were checked separately."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.records: list[Record] = []
        self.warned: dict[int, list[InputWarning]] = {}
        self.failed: dict[int, list[FieldError]] = {}
        self.blank: list[int] = []

    def add(
        self, row: int, record: Record, errors: list[FieldError], warned: list[InputWarning]
    ) -> None:
        """Add the result of one row."""
        if errors:
            self.failed[row] = errors
            return
        self.rows.append(row)
        self.records.append(record)
        if warned:
            self.warned[row] = warned


class BlockAnswerer:
    """Function from a block of rows to its part of the output.

    Parameters
    ----------
    header : Header
    added : tuple of str
        The columns that the service adds.
    service : PredictionService
    """

    def __init__(self, header: Header, added: tuple[str, ...], service: PredictionService) -> None:
        self._header = header
        self._added = added
        self._signature = service.signature
        self._write = answer_writer(service.model)
        self._scorer: RowScorer = choose_block_scorer(header, service.model)
        # The label comes before the numbers; the warning and the error come after them.
        self._numbers = slice(int(service.model.task != "regression"), len(added) - len(NOTES))

    def __call__(self, block: Block) -> Part:
        """Score a block and write its rows."""
        partial = self._scorer.begin(block)
        added, checks = partial.added, self._check(block, partial.doubtful)
        rows, answers = self._scorer.score(partial, checks.rows, checks.records)
        for row, cells in zip(rows, map(self._write, answers), strict=True):
            if cells is None:
                checks.failed[row] = [NO_ANSWER]
            elif row in checks.warned:
                added[row] = cells + warning_cells(checks.warned[row])
            else:
                added[row] = cells + NO_NOTES
        for row, errors in checks.failed.items():
            added[row] = failure_cells(tuple(errors), len(self._added))
        for row in checks.blank:
            added[row] = ""
        # Each row has its cells at this point.
        return self._append_cells(block, cast(list[str], added)), _count_rows(added, checks)

    def _check(self, block: Block, doubtful: list[int]) -> RowChecks:
        """Check the doubtful rows separately; fill rejected rows up to the header's width."""
        checks = RowChecks()
        header = self._header
        for i in doubtful:
            cells, error = block.read_row(i, header)
            if header.is_blank(block.texts[i]):
                checks.blank.append(i)
            elif error:
                checks.failed[i] = [error]
                block.texts[i] = header.fit_width(block.texts[i], cells)
            else:
                checks.add(i, *self._check_row(header.select_cells(cells)))
        return checks

    def _check_row(
        self, given: dict[str, str]
    ) -> tuple[Record, list[FieldError], list[InputWarning]]:
        """Check one row; report only the error of the file format for an unreadable cell."""
        record, errors, warned = self._signature.check_text(self._header.normalize_decimals(given))
        unreadable = self._header.cell_errors(given)
        if unreadable:
            fields = {error.field for error in unreadable}
            errors = unreadable + [error for error in errors if error.field not in fields]
        return record, errors, warned

    def _append_cells(self, block: Block, added: list[str]) -> bytes:
        """Append the added cells to their rows."""
        dialect = self._header.dialect
        end = dialect.line_end
        if not dialect.is_standard:
            added = [dialect.format_cells(cells, self._numbers) for cells in added]
        rows = map(add, block.texts, added)
        # One call for all rows would keep other threads waiting for Python's lock.
        pieces = iter(lambda: list(islice(rows, ROWS_AT_ONCE)), [])
        return b"".join([_encode(end.join(piece) + end) for piece in pieces])


def _encode(text: str) -> bytes:
    """Encode rows; bytes that were not UTF-8 come back as they were."""
    return text.encode("utf-8", "surrogateescape")


def _count_rows(added: list[str | None], checks: RowChecks) -> FileCounts:
    """Count the rows of a block, and list the first errors."""
    n_failed = len(checks.failed)
    n_warned = len(checks.warned.keys() - checks.failed.keys())
    first = islice(checks.failed.items(), MAX_LISTED)
    errors = [
        msgspec.structs.replace(error, row=row) for row, row_errors in first for error in row_errors
    ]
    n_rows = len(added) - len(checks.blank)
    return FileCounts(n_rows, n_failed, n_warned, tuple(errors[:MAX_LISTED]))
