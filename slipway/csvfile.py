"""Read a CSV file as blocks of rows, without changing a byte of what is carried."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from typing import BinaryIO

from slipway.errors import BadBody, BadInput, FieldError
from slipway.signature import Signature

BLOCK_BYTES = 2**20
MAX_ROW_BYTES = 2**20
MAX_KEPT = 1_000


@dataclass(frozen=True)
class Header:
    """The first row: the columns, where each feature stands, and how lines end.

    Attributes
    ----------
    text : str
    names : list of str
    positions : dict of str to int
        The column of each feature that the file has.
    line_end : str
    """

    text: str
    names: list[str]
    positions: dict[str, int]
    line_end: str

    def named(self, cells: list[str]) -> dict[str, str]:
        """Give the features' cells by name."""
        return {name: cells[position] for name, position in self.positions.items()}

    def is_blank(self, text: str) -> bool:
        """Whether a line is empty, and so no row; in a file of one column it is a missing cell."""
        return text == "" and len(self.names) > 1

    def fitted(self, text: str, cells: list[str]) -> str:
        """Make a row that cannot be answered as wide as the header, so that columns stay put.

        Of a row that cannot be read, its beginning stands in the first column.
        """
        kept = (cells or [text[:MAX_KEPT]])[: len(self.names)]
        return ",".join(map(write_cell, kept + [""] * (len(self.names) - len(kept))))


@dataclass
class Block:
    """Some rows of the file.

    Attributes
    ----------
    texts : list of str
        Each row as it came, without the line's end.
    cells : list of list of str, optional
        Each row's cells; None where no row holds a quote, so that commas part the cells. A
        row without any cells could not be read.
    """

    texts: list[str]
    cells: list[list[str]] | None = None

    def row(self, i: int, header: Header) -> tuple[list[str], FieldError | None]:
        """Give a row's cells, with an error where it does not fit the header."""
        cells = self.texts[i].split(",") if self.cells is None else self.cells[i]
        if not cells:
            message = "the row cannot be read: a quote is not closed, or it is too long"
            return cells, FieldError(None, None, "not_csv", message)
        if len(cells) != len(header.names):
            message = f"the row has {len(cells)} cells where the header has {len(header.names)}"
            return cells, FieldError(None, None, "wrong_width", message)
        return cells, None


def read_header(
    file: BinaryIO, signature: Signature, added: tuple[str, ...]
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
    start = file.read(BLOCK_BYTES).removeprefix(codecs.BOM_UTF8)
    line, _, rest = start.partition(b"\n")
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise BadBody("the file is no CSV file in UTF-8", code="not_utf8") from None
    if not text.strip():
        raise BadBody("the file is empty; its first line must name the columns", code="empty_body")
    if "\0" in text or len(line) == BLOCK_BYTES:
        raise BadBody("the file is not CSV", code="not_csv")
    line_end = "\r\n" if text.endswith("\r") else "\n"
    text = text.removesuffix("\r")
    try:
        names = next(csv.reader([text], strict=True))
    except csv.Error:
        raise BadBody("the first line is not CSV", code="not_csv") from None
    positions = {name: names.index(name) for name in signature.names if name in names}
    errors = _column_errors(names, signature, added)
    if errors:
        raise BadInput(_column_message(text), errors=errors)
    return Header(text, names, positions, line_end), rest


def _column_errors(
    names: list[str], signature: Signature, added: tuple[str, ...]
) -> list[FieldError]:
    """Say everything that is wrong with the columns."""
    errors = []
    for feature in signature.features:
        if names.count(feature.name) > 1:
            message = "the file has this column twice"
            errors.append(FieldError(feature.name, None, "duplicate_column", message))
        elif feature.name not in names and not feature.nullable:
            near = get_close_matches(feature.name, names, n=1)
            hint = f"; is it the column {near[0][:64]}?" if near else ""
            message = f"the file has no such column{hint}"
            errors.append(FieldError(feature.name, None, "missing_column", message))
    message = "the answer adds a column of this name; rename it"
    errors += [FieldError(n, None, "reserved_column", message) for n in added if n in names]
    if not set(names) & set(signature.names) and not errors:
        message = "the file has none of the model's columns"
        errors.append(FieldError(None, None, "missing_column", message))
    return errors


def _column_message(text: str) -> str:
    """Say that the columns do not fit, with the commonest reason where it shows."""
    if "," not in text:
        for separator, name in ((";", "semicolons"), ("\t", "tabs")):
            if separator in text:
                return f"the columns seem to be parted by {name}; they must be parted by commas"
    return "the columns do not fit the model"


def read_blocks(file: BinaryIO, rest: bytes) -> Iterator[Block]:
    """Read the rows after the header.

    Parameters
    ----------
    file : binary file
    rest : bytes
        What was read of the rows already.

    Yields
    ------
    Block
        Of about ``BLOCK_BYTES``.
    """
    while True:
        more = file.read(BLOCK_BYTES)
        at_end = not more
        whole, rest = _whole_lines(rest + more, at_end)
        if whole:
            block, unread = _block(whole, at_end)
            rest = unread + rest
            if block.texts:
                yield block
        if at_end and not rest:
            return


def _whole_lines(data: bytes, at_end: bool) -> tuple[bytes, bytes]:
    """Part the complete lines from the beginning of the next; a line without end is cut off."""
    if at_end:
        return data, b""
    end = data.rfind(b"\n") + 1
    if end == 0 and len(data) > MAX_ROW_BYTES:
        # Its beginning is kept, a little over the limit, until its end turns up.
        return b"", data[: MAX_ROW_BYTES + 1]
    return data[:end], data[end:]


def _block(data: bytes, at_end: bool) -> tuple[Block, bytes]:
    """Make rows of complete lines; a quoted row that is still open is given back as bytes."""
    text = data.decode("utf-8", "surrogateescape")
    lines = text.removesuffix("\n").split("\n")
    # A row that is too long was cut before, and is the first of its block.
    if '"' not in text and len(lines[0]) <= MAX_ROW_BYTES:
        return Block([line.removesuffix("\r") for line in lines] if "\r" in text else lines), b""
    block = Block([], [])
    at = 0
    while at < len(lines):
        taken, cells = _row(lines, at)
        if taken == 0 and not at_end:
            unread = "\n".join(lines[at:]) + "\n"
            if len(unread) <= MAX_ROW_BYTES:
                return block, unread.encode("utf-8", "surrogateescape")
        taken = taken or 1
        block.texts.append("\n".join(lines[at : at + taken]).removesuffix("\r"))
        block.cells.append(cells)  # type: ignore[union-attr]
        at += taken
    return block, b""


def _row(lines: list[str], at: int) -> tuple[int, list[str]]:
    """Read one row: how many lines it takes (0 when its last quote is open), and its cells."""
    line = lines[at]
    if len(line) > MAX_ROW_BYTES:
        return 1, []
    if '"' not in line:
        return 1, line.removesuffix("\r").split(",")
    reader = csv.reader((f"{line}\n" for line in islice(lines, at, None)), strict=True)
    try:
        cells = next(reader)
    except csv.Error as error:
        return int("unexpected end" not in str(error)), []
    return reader.line_num, cells


def write_cell(text: str) -> str:
    """Write one cell, in quotes where it needs them."""
    if any(mark in text for mark in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text
