"""Read a CSV file in blocks of rows, without changing a byte of them."""

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
from slipway.serving.batch.csv_header import NOT_UTF8, Header, detect_decimals, parse_header
from slipway.serving.batch.upload import Readable

BLOCK_BYTES = 2**20
# Without this limit, very short rows would take a hundred times the memory of their bytes.
BLOCK_ROWS = 16_384
MAX_ROW_BYTES = 2**20
# Lines of a header whose names contain line breaks.
MAX_HEADER_LINES = 100
_LINE_END = re.compile(rb"\r\n|\r(?!\r*\n)|\n")
_SEPARATOR_LINE = re.compile(r'"?sep=([^\w\s"]|\t)"?')
_UNREADABLE = FieldError(
    None, None, "not_csv", "cannot read the row: a quote is not closed, or the row is too long"
)


@dataclass
class Block:
    """Some rows of the file.

    Attributes
    ----------
    texts : list of str
        Each row unchanged, without its line end.
    cells : list of list of str, optional
        The cells of each row; None if no row has a quote, so that a split at the separator is
        enough. An unreadable row has no cells.
    """

    texts: list[str]
    cells: list[list[str]] | None = None

    def read_row(self, i: int, header: Header) -> tuple[list[str], FieldError | None]:
        """Return the cells of a row, and an error if they do not fit the header."""
        plain = self.cells is None
        cells = self.texts[i].split(header.dialect.separator) if plain else self.cells[i]  # type: ignore[index]
        if not cells:
            return cells, _UNREADABLE
        if len(cells) != len(header.names):
            return cells, _width_error(len(cells), len(header.names))
        return cells, None


@lru_cache
def _width_error(n_cells: int, n_columns: int) -> FieldError:
    message = f"the row has {n_cells} cells where the header has {n_columns}"
    return FieldError(None, None, "wrong_width", message)


def read_header(
    file: Readable, signature: Signature, added: tuple[str, ...]
) -> tuple[Header, bytes]:
    """Read the header, and find the columns of the features.

    Parameters
    ----------
    file : binary file
    signature : Signature
    added : tuple of str
        The columns that the service adds, which the file must not have.

    Returns
    -------
    header : Header
    rest : bytes
        The bytes that were read after the header.

    Raises
    ------
    BadBody
        The file is empty, or its first line is not text.
    BadInput
        A column is missing, duplicated, or has the name of an added column.
    """
    data = file.read(BLOCK_BYTES).removeprefix(codecs.BOM_UTF8)
    line, end, rest = _split_first_line(data)
    text, before, dialect = _decode_line(line), "", Dialect(line_end=end or "\n")
    separator_line = _SEPARATOR_LINE.fullmatch(text)
    if separator_line:
        before, dialect = text + dialect.line_end, Dialect(separator_line[1], dialect.line_end)
        line, _, rest = _split_first_line(rest)
        text = _decode_line(line)
    if not text.strip():
        raise BadBody("the file is empty; its first line must name the columns", code="empty_body")
    if "\0" in text:
        message = "not a CSV file, or UTF-16 without a byte order mark; save the file as UTF-8"
        raise BadBody(message, code="not_csv")
    if not end and len(line) > BLOCK_BYTES - len(codecs.BOM_UTF8):
        raise BadBody("the first line is over 1 MiB; the file is not CSV", code="not_csv")
    header = parse_header(text, dialect, before, signature, added)
    return _detect_decimals(header, rest, signature), rest


def _decode_line(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise BadBody(f"the first line is {NOT_UTF8}", code="not_utf8") from None


def _split_first_line(data: bytes) -> tuple[bytes, str, bytes]:
    """Split off the first row and its line end; a quoted name may contain line ends."""
    ends = list(islice(_LINE_END.finditer(data), MAX_HEADER_LINES))
    line_end = next((end for end in ends if not _has_open_quote(data[: end.start()])), None)
    if line_end is None and ends:
        line_end = ends[0]
    if line_end is None:
        return data, "", b""
    return data[: line_end.start()], line_end[0].decode(), data[line_end.end() :]


def _has_open_quote(line: bytes) -> bool:
    """Return whether a quote is still open at the end of a line."""
    if b'"' not in line:
        return False
    try:
        next(csv.reader([line.decode("utf-8", "replace")], strict=True), None)
    except csv.Error as error:
        return "unexpected end" in str(error)
    return False


def _detect_decimals(header: Header, rest: bytes, signature: Signature) -> Header:
    if header.dialect.separator == COMMA:
        return header
    text = rest[:BLOCK_BYTES].decode("utf-8", "surrogateescape")
    return detect_decimals(header, text.split(header.dialect.line_break), signature)


def read_blocks(file: Readable, rest: bytes, header: Header) -> Iterator[Block]:
    """Read the rows after the header.

    Parameters
    ----------
    file : binary file
    rest : bytes
        The bytes of the rows that were read with the header.
    header : Header

    Yields
    ------
    Block
        About ``BLOCK_BYTES`` bytes and at most ``BLOCK_ROWS`` new lines. A wide header lowers
        this limit, because rejected rows are filled up to its width.
    """
    dialect, at_end = header.dialect, False
    n_lines = min(BLOCK_ROWS, 1 + 2**20 // len(header.names))
    while not at_end:
        more = file.read(BLOCK_BYTES)
        at_end = not more
        lines, rest = _split_whole_lines(rest + more, at_end, dialect)
        unread = b""
        for part, is_last in _split_parts(lines, dialect, n_lines):
            block, unread = _parse_block(unread + part, at_end and is_last, dialect)
            if block.texts:
                yield block
        rest = unread + rest


def _split_whole_lines(data: bytes, at_end: bool, dialect: Dialect) -> tuple[bytes, bytes]:
    """Split off the incomplete last line; cut it if it is too long."""
    if at_end:
        return data, b""
    end = data.rfind(dialect.line_break.encode()) + 1
    if end == 0 and len(data) > MAX_ROW_BYTES:
        # Keep its beginning, one byte over the limit, until the line ends.
        return b"", data[: MAX_ROW_BYTES + 1]
    return data[:end], data[end:]


def _split_parts(lines: bytes, dialect: Dialect, max_lines: int) -> Iterator[tuple[bytes, bool]]:
    """Yield pieces of at most ``max_lines`` complete lines, and whether a piece is the last."""
    line_break, at, span = dialect.line_break.encode(), 0, len(lines)
    while at < len(lines):
        end = _find_line_end(lines, line_break, at, at + span)
        while (n_lines := lines.count(line_break, at, end)) > max_lines:
            # Exact for lines of equal length; other lines need another iteration.
            end = _find_line_end(lines, line_break, at, at + (end - at) * max_lines // n_lines)
        yield lines[at:end], end == len(lines)
        # The next piece is probably as long; counting all remaining lines each time is slow.
        at, span = end, 2 * (end - at)


def _find_line_end(lines: bytes, line_break: bytes, at: int, limit: int) -> int:
    """Return the last line end before ``limit``, or the first one after it."""
    if limit >= len(lines):
        return len(lines)
    return lines.rfind(line_break, at, limit) + 1 or lines.find(line_break, at) + 1 or len(lines)


def _parse_block(data: bytes, at_end: bool, dialect: Dialect) -> tuple[Block, bytes]:
    """Parse complete lines into rows; return an incomplete quoted row as bytes."""
    text, line_break = data.decode("utf-8", "surrogateescape"), dialect.line_break
    lines = text.removesuffix(line_break).split(line_break)
    # A row that was cut is the first of its block.
    if '"' not in text and len(lines[0]) <= MAX_ROW_BYTES:
        return Block([line.removesuffix("\r") for line in lines] if "\r" in text else lines), b""
    block = Block([], [])
    at = 0
    while at < len(lines):
        n_lines, cells = _parse_row(lines, at, dialect)
        if n_lines == 0 and not at_end:
            unread = line_break.join(lines[at:]) + line_break
            if len(unread) <= MAX_ROW_BYTES:
                return block, unread.encode("utf-8", "surrogateescape")
        n_lines = n_lines or 1
        block.texts.append(line_break.join(lines[at : at + n_lines]).removesuffix("\r"))
        block.cells.append(cells)  # type: ignore[union-attr]
        at += n_lines
    return block, b""


def _parse_row(lines: list[str], at: int, dialect: Dialect) -> tuple[int, list[str]]:
    """Parse one row; return its number of lines (0 if a quote is still open) and its cells."""
    line, separator = lines[at], dialect.separator
    if len(line) > MAX_ROW_BYTES:
        return 1, []
    if '"' not in line:
        return 1, line.removesuffix("\r").split(separator)
    # Indexing avoids a slice, which would copy all following lines for every row.
    following_lines = (lines[i] + dialect.line_break for i in range(at, len(lines)))
    reader = csv.reader(following_lines, delimiter=separator, strict=True)
    try:
        cells = next(reader)
    except csv.Error as error:
        return int("unexpected end" not in str(error)), []
    return reader.line_num, cells
