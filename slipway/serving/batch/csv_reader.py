"""Read a CSV file as blocks of rows, without changing a byte of what is carried."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from slipway.core.errors import BadBody, FieldError
from slipway.models.signature import Signature
from slipway.serving.batch.csv_dialect import COMMA, Dialect
from slipway.serving.batch.csv_header import NOT_UTF8, Header, parse_header, with_decimals
from slipway.serving.batch.upload import Readable

BLOCK_BYTES = 2**20
# A block of very short rows would take a hundred times the memory of its bytes.
BLOCK_ROWS = 16_384
MAX_ROW_BYTES = 2**20
# Lines that a header may extend over.
MAX_HEADER_LINES = 100
_LINE_END = re.compile(rb"\r\n|\r(?!\r*\n)|\n")
_SEPARATOR_LINE = re.compile(r'"?sep=([^\w\s"]|\t)"?')
_UNREADABLE = FieldError(
    None, None, "not_csv", "the row cannot be read: a quote is not closed, or it is too long"
)


@dataclass
class Block:
    """Some rows of the file.

    Attributes
    ----------
    texts : list of str
        Each row as it came, without the line's end.
    cells : list of list of str, optional
        Each row's cells; None where no row holds a quote, so that separators part the cells. A
        row without any cells could not be read.
    """

    texts: list[str]
    cells: list[list[str]] | None = None

    def row(self, i: int, header: Header) -> tuple[list[str], FieldError | None]:
        """Give a row's cells, with an error where it does not fit the header."""
        plain = self.cells is None
        cells = self.texts[i].split(header.dialect.separator) if plain else self.cells[i]  # type: ignore[index]
        if not cells:
            return cells, _UNREADABLE
        if len(cells) != len(header.names):
            return cells, _wrong_width(len(cells), len(header.names))
        return cells, None


@lru_cache
def _wrong_width(n_cells: int, n_columns: int) -> FieldError:
    message = f"the row has {n_cells} cells where the header has {n_columns}"
    return FieldError(None, None, "wrong_width", message)


def read_header(
    file: Readable, signature: Signature, added: tuple[str, ...]
) -> tuple[Header, bytes]:
    """Read the first row, and find the features' columns in it.

    Parameters
    ----------
    file : binary file
    signature : Signature
    added : tuple of str
        The columns that the answer adds, which the file must not have.

    Returns
    -------
    header : Header
    rest : bytes
        What was read beyond the header.

    Raises
    ------
    BadBody
        The file is empty, or its first line is not text.
    BadInput
        A column is missing, given twice, or has the name of one that is added.
    """
    data = file.read(BLOCK_BYTES).removeprefix(codecs.BOM_UTF8)
    line, end, rest = _first_line(data)
    text, before, dialect = _text(line), "", Dialect(line_end=end or "\n")
    settled = _SEPARATOR_LINE.fullmatch(text)
    if settled:
        before, dialect = text + dialect.line_end, Dialect(settled[1], dialect.line_end)
        line, _, rest = _first_line(rest)
        text = _text(line)
    if not text.strip():
        raise BadBody("the file is empty; its first line must name the columns", code="empty_body")
    if "\0" in text:
        message = "the file is not CSV, or is UTF-16 without a byte order mark: save it as UTF-8"
        raise BadBody(message, code="not_csv")
    if not end and len(line) > BLOCK_BYTES - len(codecs.BOM_UTF8):
        raise BadBody("the first line is over 1 MiB; the file is not CSV", code="not_csv")
    header = parse_header(text, dialect, before, signature, added)
    return _with_decimals(header, rest, signature), rest


def _text(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise BadBody(f"the first line is {NOT_UTF8}", code="not_utf8") from None


def _first_line(data: bytes) -> tuple[bytes, str, bytes]:
    """Part the first row, its end and the rest; a name in quotes may hold line ends."""
    ends = list(islice(_LINE_END.finditer(data), MAX_HEADER_LINES))
    chosen = next((end for end in ends if not _is_open(data[: end.start()])), None)
    if chosen is None and ends:
        chosen = ends[0]
    if chosen is None:
        return data, "", b""
    return data[: chosen.start()], chosen[0].decode(), data[chosen.end() :]


def _is_open(line: bytes) -> bool:
    """Whether a quote is still open at the end of a line."""
    if b'"' not in line:
        return False
    try:
        next(csv.reader([line.decode("utf-8", "replace")], strict=True), None)
    except csv.Error as error:
        return "unexpected end" in str(error)
    return False


def _with_decimals(header: Header, rest: bytes, signature: Signature) -> Header:
    if header.dialect.separator == COMMA:
        return header
    text = rest[:BLOCK_BYTES].decode("utf-8", "surrogateescape")
    return with_decimals(header, text.split(header.dialect.line_break), signature)


def read_blocks(file: Readable, rest: bytes, header: Header) -> Iterator[Block]:
    """Read the rows after the header.

    Parameters
    ----------
    file : binary file
    rest : bytes
        What was read of the rows already.
    header : Header

    Yields
    ------
    Block
        Of about ``BLOCK_BYTES``, and of at most ``BLOCK_ROWS`` lines that are new in it. Fewer
        where the header is wide: a short row is made as wide as the header.
    """
    dialect, at_end = header.dialect, False
    n_lines = min(BLOCK_ROWS, 1 + 2**20 // len(header.names))
    while not at_end:
        more = file.read(BLOCK_BYTES)
        at_end = not more
        whole, rest = _whole_lines(rest + more, at_end, dialect)
        unread = b""
        for part, is_last in _parts(whole, dialect, n_lines):
            block, unread = _block(unread + part, at_end and is_last, dialect)
            if block.texts:
                yield block
        rest = unread + rest


def _whole_lines(data: bytes, at_end: bool, dialect: Dialect) -> tuple[bytes, bytes]:
    """Part the complete lines from the beginning of the next; a line without end is cut off."""
    if at_end:
        return data, b""
    end = data.rfind(dialect.line_break.encode()) + 1
    if end == 0 and len(data) > MAX_ROW_BYTES:
        # Its beginning is kept, a little over the limit, until its end turns up.
        return b"", data[: MAX_ROW_BYTES + 1]
    return data[:end], data[end:]


def _parts(whole: bytes, dialect: Dialect, most: int) -> Iterator[tuple[bytes, bool]]:
    """Cut complete lines into pieces of not too many, and mark the last."""
    line_break, at, span = dialect.line_break.encode(), 0, len(whole)
    while at < len(whole):
        end = _line_end(whole, line_break, at, at + span)
        while (n_lines := whole.count(line_break, at, end)) > most:
            # Exact where the lines are of one length; others take another round.
            end = _line_end(whole, line_break, at, at + (end - at) * most // n_lines)
        yield whole[at:end], end == len(whole)
        # The next piece is probably as long: counting all that is left each time would be slow.
        at, span = end, 2 * (end - at)


def _line_end(whole: bytes, line_break: bytes, at: int, near: int) -> int:
    """Find the last end of a line before a place, or else the first after it."""
    if near >= len(whole):
        return len(whole)
    return whole.rfind(line_break, at, near) + 1 or whole.find(line_break, at) + 1 or len(whole)


def _block(data: bytes, at_end: bool, dialect: Dialect) -> tuple[Block, bytes]:
    """Make rows of complete lines; a quoted row that is still open is given back as bytes."""
    text, line_break = data.decode("utf-8", "surrogateescape"), dialect.line_break
    lines = text.removesuffix(line_break).split(line_break)
    # A row that is too long was cut before, and is the first of its block.
    if '"' not in text and len(lines[0]) <= MAX_ROW_BYTES:
        return Block([line.removesuffix("\r") for line in lines] if "\r" in text else lines), b""
    block = Block([], [])
    at = 0
    while at < len(lines):
        taken, cells = _row(lines, at, dialect)
        if taken == 0 and not at_end:
            unread = line_break.join(lines[at:]) + line_break
            if len(unread) <= MAX_ROW_BYTES:
                return block, unread.encode("utf-8", "surrogateescape")
        taken = taken or 1
        block.texts.append(line_break.join(lines[at : at + taken]).removesuffix("\r"))
        block.cells.append(cells)  # type: ignore[union-attr]
        at += taken
    return block, b""


def _row(lines: list[str], at: int, dialect: Dialect) -> tuple[int, list[str]]:
    """Read one row: how many lines it takes (0 when its last quote is open), and its cells."""
    line, separator = lines[at], dialect.separator
    if len(line) > MAX_ROW_BYTES:
        return 1, []
    if '"' not in line:
        return 1, line.removesuffix("\r").split(separator)
    # By place: a slice would copy, or pass over, all that stands before it, for every row.
    ended = (lines[i] + dialect.line_break for i in range(at, len(lines)))
    reader = csv.reader(ended, delimiter=separator, strict=True)
    try:
        cells = next(reader)
    except csv.Error as error:
        return int("unexpected end" not in str(error)), []
    return reader.line_num, cells
