"""The dialect of a CSV file: separator, line end and decimal mark."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from slipway.core.csv_cells import quote_cell

COMMA, SEMICOLON, TAB = ",", ";", "\t"
_EXPONENT = r"([eE][+-]?\d+)?"
_WITH_COMMA = re.compile(rf"\s*[+-]?(\d+,\d*|,\d+){_EXPONENT}\s*", re.ASCII)
_WITH_POINT = re.compile(rf"\s*[+-]?(\d+\.\d*|\.\d+){_EXPONENT}\s*", re.ASCII)


@dataclass(frozen=True)
class Dialect:
    """Separator, line end and decimal mark of a file.

    Attributes
    ----------
    separator : str
    line_end : str
        LF, CR LF or CR.
    decimal : str
        A point or a comma; empty if the first rows have neither.
    """

    separator: str = COMMA
    line_end: str = "\n"
    decimal: str = "."

    @property
    def line_break(self) -> str:
        """The character that separates two rows; CR LF ends with LF."""
        return self.line_end[-1]

    @cached_property
    def is_standard(self) -> bool:
        """Whether added cells can be written unchanged."""
        return self.separator == COMMA and self.decimal != ","

    def write_cell(self, text: str) -> str:
        """Return one cell, quoted if necessary."""
        return quote_cell(text, self.separator)

    def format_cells(self, added: str, numbers: slice) -> str:
        """Return added cells in this dialect.

        Parameters
        ----------
        added : str
            The cells, each after a comma, with decimal points.
        numbers : slice
            The positions of the numbers among them.
        """
        if not added:
            return added
        cells = next(csv.reader([added]))[1:]
        if self.decimal == ",":
            cells[numbers] = [number.replace(".", ",") for number in cells[numbers]]
        return "".join(self.separator + self.write_cell(cell) for cell in cells)

    def normalize_decimal(self, text: str) -> str:
        """Replace the decimal comma of a number with a decimal point."""
        if self.decimal == "." or "," not in text or not _WITH_COMMA.fullmatch(text):
            return text
        return text.replace(",", ".")

    def decimal_error(self, text: str) -> str:
        """Return an error for a number with another decimal mark than the file; else empty."""
        if self.decimal == "," and _WITH_POINT.fullmatch(text):
            return "the number has a decimal point where others in the file have a decimal comma"
        if self.decimal == "." and _WITH_COMMA.fullmatch(text):
            return "the number has a decimal comma where others in the file have a decimal point"
        return ""


def find_decimal_mark(cells: Iterable[str]) -> str:
    """Return the decimal mark of numeric columns.

    A single decimal comma decides. A point may then separate thousands and is rejected.

    Parameters
    ----------
    cells : iterable of str

    Returns
    -------
    str
        A comma or a point; empty if no cell has a decimal mark.
    """
    mark = ""
    for cell in cells:
        if "," in cell and _WITH_COMMA.fullmatch(cell):
            return ","
        if not mark and "." in cell and _WITH_POINT.fullmatch(cell):
            mark = "."
    return mark
