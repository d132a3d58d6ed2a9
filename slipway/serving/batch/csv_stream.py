"""CSV in, CSV out, block by block, so that memory does not grow with the file.

A row is carried as the text that it came as, with the answer's cells put behind it.
``block_scorers`` holds the ways to score the rows of a block; all of them give the same bytes.
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
    NOTES,
    NOTHING_TO_SAY,
    added_columns,
    answer_writer,
    failure_cells,
    warning_cells,
)
from slipway.serving.batch.upload import Readable
from slipway.serving.predictions import NO_ANSWER
from slipway.serving.service import PredictionService

AHEAD = 2
# A file none of whose first rows fits is rejected: as many rows, or the rows in as many bytes.
FIRST_ROWS = 10_000
FIRST_BYTES = 8 * 2**20
# Errors that such a rejection lists.
MAX_LISTED = 10


@dataclass(frozen=True)
class FileCounts:
    """The rows of a block or of a whole file, as the last line of the answer counts them.

    Attributes
    ----------
    rows, failed, warned : int
    errors : tuple of FieldError
        The first ones, with their rows in the block.
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
    file: Readable, live: PredictionService, *, counts: bool = False
) -> Iterator[bytes]:
    """Answer a CSV file.

    Parameters
    ----------
    file : binary file
        Read once, from its start.
    live : PredictionService
    counts : bool
        Whether a last line with the counts follows, which is not CSV.

    Returns
    -------
    iterator of bytes
        The file with the added columns.

    Raises
    ------
    BadBody, BadInput
        At once, when the header cannot be used or none of the first rows can be answered.
    """
    added = added_columns(live.signature)
    header, rest = read_header(file, live.signature, added)
    parts = _prefetch(read_blocks(file, rest, header), BlockAnswerer(header, added, live))
    try:
        begun = _begun(parts)
    except BaseException:
        parts.close()
        raise
    version = live.model.manifest.version if counts else ""
    return _answer(header, added, begun, parts, version)


def _begun(parts: Iterator[Part]) -> list[Part]:
    """Answer the first rows, up to the first block that holds one that fits."""
    begun: list[Part] = []
    counted, n_bytes = FileCounts(), 0
    for text, counts in parts:
        begun.append((text, counts))
        counted, n_bytes = counted + counts, n_bytes + len(text)
        if counted.failed < counted.rows:
            break
        if counted.failed >= FIRST_ROWS or (n_bytes >= FIRST_BYTES and counted.failed):
            message = f"none of the first {counted.failed:,} rows fits the model"
            raise BadInput(message, code="no_row_fits", errors=counted.errors)
        if n_bytes >= FIRST_BYTES:
            break
    return begun


def _answer(
    header: Header,
    added: tuple[str, ...],
    begun: list[Part],
    parts: Generator[Part, None, None],
    version: str,
) -> Iterator[bytes]:
    """Yield the answer, block by block, and the counts where a version is given for them."""
    end = header.dialect.line_end
    names = "".join(f",{escape_text_cell(name)}" for name in added)
    if not header.dialect.is_plain:
        names = header.dialect.respelled(names, slice(0))
    yield f"{header.before}{header.text}{names}{end}".encode()
    counts = FileCounts()
    # A client that has gone closes this generator, which ends what is computed ahead.
    with closing(parts):
        for text, counted in chain(begun, parts):
            counts += counted
            yield text
    if version:
        told = f"# rows={counts.rows} failed={counts.failed} warned={counts.warned} model={version}"
        yield (told + end).encode()


def _prefetch(
    blocks: Iterator[Block], answer: Callable[[Block], Part]
) -> Generator[Part, None, None]:
    """Answer the next blocks in threads while one is sent.

    polars works outside Python's lock, so that this keeps two cores busy.
    """
    pool = ThreadPoolExecutor(AHEAD)
    try:
        waiting: deque[Future[Part]] = deque()
        for block in blocks:
            waiting.append(pool.submit(answer, block))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        # The client may have gone: nobody waits for what is not begun, nor for what is.
        pool.shutdown(wait=False, cancel_futures=True)


class RowChecks:
    """The rows of a block that were checked by themselves, and what came of it."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.records: list[Record] = []
        self.warned: dict[int, list[InputWarning]] = {}
        self.failed: dict[int, list[FieldError]] = {}
        self.blank: list[int] = []

    def add(
        self, row: int, record: Record, errors: list[FieldError], warned: list[InputWarning]
    ) -> None:
        """Note what came of a row."""
        if errors:
            self.failed[row] = errors
            return
        self.rows.append(row)
        self.records.append(record)
        if warned:
            self.warned[row] = warned


class BlockAnswerer:
    """The function from a block of rows to its part of the answer.

    Parameters
    ----------
    header : Header
    added : tuple of str
        The columns that the answer adds.
    live : PredictionService
    """

    def __init__(self, header: Header, added: tuple[str, ...], live: PredictionService) -> None:
        self._header = header
        self._added = added
        self._signature = live.signature
        self._write = answer_writer(live.model)
        self._way: RowScorer = choose_block_scorer(header, live.model)
        # The label stands in front of the numbers; warning and error stand behind them.
        self._numbers = slice(int(live.model.task != "regression"), len(added) - len(NOTES))

    def __call__(self, block: Block) -> Part:
        """Answer a block."""
        begun = self._way.begin(block)
        added, checks = begun.added, self._check(block, begun.doubtful)
        rows, answers = self._way.score(begun, checks.rows, checks.records)
        for row, cells in zip(rows, map(self._write, answers), strict=True):
            if cells is None:
                checks.failed[row] = [NO_ANSWER]
            elif row in checks.warned:
                added[row] = cells + warning_cells(checks.warned[row])
            else:
                added[row] = cells + NOTHING_TO_SAY
        for row, errors in checks.failed.items():
            added[row] = failure_cells(tuple(errors), len(self._added))
        for row in checks.blank:
            added[row] = ""
        # Each row has its cells by now.
        return self._joined(block, cast(list[str], added)), _counted(added, checks)

    def _check(self, block: Block, doubtful: list[int]) -> RowChecks:
        """Check some rows of a block by themselves; one that does not fit is made to."""
        checks = RowChecks()
        header = self._header
        for i in doubtful:
            cells, error = block.row(i, header)
            if header.is_blank(block.texts[i]):
                checks.blank.append(i)
            elif error:
                checks.failed[i] = [error]
                block.texts[i] = header.fitted(block.texts[i], cells)
            else:
                checks.add(i, *self._check_row(header.named(cells)))
        return checks

    def _check_row(
        self, given: dict[str, str]
    ) -> tuple[Record, list[FieldError], list[InputWarning]]:
        """Check one row; a cell that cannot be read has no other error."""
        record, errors, warned = self._signature.check_text(self._header.spelled(given))
        misfits = self._header.misfits(given)
        if misfits:
            misread = {error.field for error in misfits}
            errors = misfits + [error for error in errors if error.field not in misread]
        return record, errors, warned

    def _joined(self, block: Block, added: list[str]) -> bytes:
        """Put the cells behind their rows."""
        dialect = self._header.dialect
        end = dialect.line_end
        if not dialect.is_plain:
            added = [dialect.respelled(cells, self._numbers) for cells in added]
        text = end.join(map(add, block.texts, added)) + end
        return text.encode("utf-8", "surrogateescape")


def _counted(added: list[str | None], checks: RowChecks) -> FileCounts:
    """Count a block's rows, with the first errors."""
    n_failed = len(checks.failed)
    n_warned = len(checks.warned.keys() - checks.failed.keys())
    first = islice(checks.failed.items(), MAX_LISTED)
    errors = [msgspec.structs.replace(error, row=row) for row, found in first for error in found]
    n_rows = len(added) - len(checks.blank)
    return FileCounts(n_rows, n_failed, n_warned, tuple(errors[:MAX_LISTED]))
