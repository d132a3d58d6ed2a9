"""CSV in, CSV out, block by block, so that memory does not grow with the file.

A row is carried as the text that it came as, with the answer's cells put behind it.
``slipway.ways`` has the ways to answer the rows of a block; all of them give the same bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from operator import add
from typing import BinaryIO

from slipway.answers import NO_ANSWER
from slipway.cells import (
    NOTHING_TO_SAY,
    added_columns,
    answer_writer,
    failure_cells,
    text_cell,
    warning_cells,
)
from slipway.csvfile import Block, Header, read_blocks, read_header
from slipway.errors import FieldError, Warned
from slipway.serving import Live
from slipway.signature import Record
from slipway.ways import CarefulWay, choose_way

AHEAD = 2


@dataclass(frozen=True)
class Counts:
    """What the last line of the answer tells, of a block or of the whole file."""

    rows: int = 0
    failed: int = 0
    warned: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.rows + other.rows, self.failed + other.failed, self.warned + other.warned
        )


Part = tuple[bytes, Counts]


def predict_file(file: BinaryIO, live: Live) -> Iterator[bytes]:
    """Answer a CSV file.

    Parameters
    ----------
    file : binary file
        Read once, from its start.
    live : Live

    Returns
    -------
    iterator of bytes
        The file with the added columns, and a last line with the counts.

    Raises
    ------
    BadBody, BadInput
        At once, when the header cannot be used.
    """
    added = added_columns(live.signature)
    header, rest = read_header(file, live.signature, added)
    return _answer(header, added, read_blocks(file, rest), live)


def _answer(
    header: Header, added: tuple[str, ...], blocks: Iterator[Block], live: Live
) -> Iterator[bytes]:
    """Yield the answer, block by block."""
    end = header.line_end
    yield f"{header.text},{','.join(map(text_cell, added))}{end}".encode()
    counts = Counts()
    for text, counted in _ahead(blocks, Blocks(header, added, live)):
        counts += counted
        yield text
    version = live.model.manifest.version
    told = f"# rows={counts.rows} failed={counts.failed} warned={counts.warned} model={version}"
    yield (told + end).encode()


def _ahead(blocks: Iterator[Block], answer: Callable[[Block], Part]) -> Iterator[Part]:
    """Answer the next blocks in threads while one is sent.

    polars works outside Python's lock, so that this keeps two cores busy.
    """
    with ThreadPoolExecutor(AHEAD) as pool:
        waiting: deque[Future[Part]] = deque()
        for block in blocks:
            waiting.append(pool.submit(answer, block))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class Checks:
    """The rows of a block that were checked by themselves, and what came of it."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.records: list[Record] = []
        self.warned: dict[int, list[Warned]] = {}
        self.failed: dict[int, list[FieldError]] = {}
        self.blank: list[int] = []

    def add(self, row: int, record: Record, errors: list[FieldError], warned: list[Warned]) -> None:
        """Note what came of a row."""
        if errors:
            self.failed[row] = errors
            return
        self.rows.append(row)
        self.records.append(record)
        if warned:
            self.warned[row] = warned


class Blocks:
    """The function from a block of rows to its part of the answer.

    Parameters
    ----------
    header : Header
    added : tuple of str
        The columns that the answer adds.
    live : Live
    """

    def __init__(self, header: Header, added: tuple[str, ...], live: Live) -> None:
        self._header = header
        self._added = added
        self._signature = live.signature
        self._write = answer_writer(live.model)
        self._way: CarefulWay = choose_way(header, live.model)

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
            added[row] = failure_cells(errors, self._added)
        for row in checks.blank:
            added[row] = ""
        return self._joined(block, added), _counted(added, checks)

    def _check(self, block: Block, doubtful: list[int]) -> Checks:
        """Check some rows of a block by themselves; one that does not fit is made to."""
        checks = Checks()
        for i in doubtful:
            cells, error = block.row(i, self._header)
            if self._header.is_blank(block.texts[i]):
                checks.blank.append(i)
            elif error:
                checks.failed[i] = [error]
                block.texts[i] = self._header.fitted(block.texts[i], cells)
            else:
                checks.add(i, *self._signature.check_text(self._header.named(cells)))
        return checks

    def _joined(self, block: Block, added: list[str | None]) -> bytes:
        """Put the cells behind their rows."""
        end = self._header.line_end
        text = end.join(map(add, block.texts, added)) + end
        return text.encode("utf-8", "surrogateescape")


def _counted(added: list[str | None], checks: Checks) -> Counts:
    """Count a block's rows."""
    n_failed = len(checks.failed)
    n_warned = len(checks.warned.keys() - checks.failed.keys())
    return Counts(len(added) - len(checks.blank), n_failed, n_warned)
