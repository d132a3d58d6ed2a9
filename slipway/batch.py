"""CSV in, CSV out, block by block, so that memory does not grow with the file.

A row is carried as the text that it came as, with the answer's cells put behind it. Two ways
answer the rows of a block, with one meaning. ``slipway.columns`` takes whole columns at once
and leaves out every row it has any doubt about; those rows, and all rows where it is not to
be had, are checked one by one as a form would be.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from operator import add
from typing import BinaryIO

from slipway.csvfile import Block, Header, read_blocks, read_header, write_cell
from slipway.errors import FieldError, Warned
from slipway.serving import Checked, Failure, Live, Prediction

ADDED = ("prediction", "probability", "warning", "error")
AHEAD = 2
_RUNS_IN_SPREADSHEETS = ("=", "+", "-", "@", "\t", "\r", "\n")

Fast = Callable[[Block], list[str | None]]


@dataclass
class Counts:
    """What the last line of the answer tells."""

    rows: int = 0
    failed: int = 0
    warned: int = 0


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
    header, rest = read_header(file, live.signature, ADDED)
    return _answer(header, read_blocks(file, rest), live)


def _answer(header: Header, blocks: Iterator[Block], live: Live) -> Iterator[bytes]:
    """Yield the answer, block by block."""
    end = header.line_end
    counts = Counts()
    yield f"{header.text},{','.join(ADDED)}{end}".encode()
    for block, added in _ahead(blocks, _fast(header, live)):
        counts.rows += len(added)
        if None in added:
            doubtful = [i for i, cells in enumerate(added) if cells is None]
            _answer_carefully(block, doubtful, added, header, live, counts)
        text = end.join(map(add, block.texts, added)) + end
        yield text.encode("utf-8", "surrogateescape")
    version = live.model.manifest.version
    told = f"# rows={counts.rows} failed={counts.failed} warned={counts.warned} model={version}"
    yield (told + end).encode()


def _ahead(blocks: Iterator[Block], fast: Fast) -> Iterator[tuple[Block, list[str | None]]]:
    """Answer the next blocks in threads while one is put together and sent.

    polars works outside Python's lock, so that this keeps two cores busy.
    """
    with ThreadPoolExecutor(AHEAD) as pool:
        waiting: deque[tuple[Block, Future[list[str | None]]]] = deque()
        for block in blocks:
            waiting.append((block, pool.submit(fast, block)))
            if len(waiting) > AHEAD:
                done, added = waiting.popleft()
                yield done, added.result()
        while waiting:
            done, added = waiting.popleft()
            yield done, added.result()


def _fast(header: Header, live: Live) -> Fast:
    """Give the way that answers whole columns, where the engine and the install have it."""
    scorecard = live.model.manifest.scorecard
    if live.model.engine != "scorecard" or scorecard is None:
        return _doubt_all
    with suppress(ImportError):
        # polars is large, and a service that answers single predictions does without it.
        from slipway.columns import ColumnScorer

        low, high = (_answer_cells(label) for label in (live.model.negative, live.model.positive))
        threshold = live.model.manifest.threshold
        return ColumnScorer(scorecard, live.signature, header, (low, high), threshold)
    return _doubt_all


def _doubt_all(block: Block) -> list[str | None]:
    """Leave every row to the careful way."""
    return [None] * len(block.texts)


def _answer_carefully(
    block: Block,
    doubtful: list[int],
    added: list[str | None],
    header: Header,
    live: Live,
    counts: Counts,
) -> None:
    """Check some rows of a block one by one, and put in the cells they are to get."""
    checked: list[Checked] = []
    for i in doubtful:
        cells, error = block.row(i, header)
        if error:
            checked.append(((), [error], []))
            block.texts[i] = header.fitted(block.texts[i], cells)
        else:
            checked.append(live.signature.check_text(header.named(cells)))
    for i, (_, _, warned), answer in zip(
        doubtful, checked, live.predict_many(checked), strict=True
    ):
        if header.is_blank(block.texts[i]):
            added[i] = ""
            counts.rows -= 1
            continue
        counts.failed += isinstance(answer, Failure)
        counts.warned += bool(warned) and not isinstance(answer, Failure)
        added[i] = _cells(answer, warned)


def _cells(answer: Prediction | Failure, warned: list[Warned]) -> str:
    """Write the cells that a row gets, each after its comma."""
    if isinstance(answer, Failure):
        return f",,,,{_text(_listed(answer.errors))}"
    warning = _text(_listed(warned))
    return f"{_answer_cells(answer.label)}{answer.probability!r},{warning},"


def _answer_cells(label: str) -> str:
    return f",{_text(label)},"


def _listed(notes: list[FieldError] | list[Warned]) -> str:
    """Put errors or warnings in one line."""
    return "; ".join(f"{n.field}: {n.message}" if n.field else n.message for n in notes)


def _text(text: str) -> str:
    """Write a text cell that no spreadsheet takes for a formula.

    The apostrophe is what OWASP's page on CSV injection advises.
    """
    return write_cell(f"'{text}" if text.startswith(_RUNS_IN_SPREADSHEETS) else text)
