"""How a CSV file is written: its separator, its line ends and its decimal mark."""

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
    """The marks of a file.

    Attributes
    ----------
    separator : str
        Between two cells.
    line_end : str
        LF, CR LF or CR.
    decimal : str
        The mark of its numbers: a point or a comma. Empty where the first rows show neither.
    """

    separator: str = COMMA
    line_end: str = "\n"
    decimal: str = "."

    @property
    def line_break(self) -> str:
        """The character that separates two rows; CR LF ends with LF."""
        return self.line_end[-1]

    @cached_property
    def is_plain(self) -> bool:
        """Whether the added cells need no respelling."""
        return self.separator == COMMA and self.decimal != ","

    def write_cell(self, text: str) -> str:
        """Write one cell, in quotes where it needs them."""
        return quote_cell(text, self.separator)

    def respelled(self, added: str, numbers: slice) -> str:
        """Write added cells with the file's own marks.

        Parameters
        ----------
        added : str
            The cells, each after a comma, with decimal points.
        numbers : slice
            Which of them are numbers.
        """
        if not added:
            return added
        cells = next(csv.reader([added]))[1:]
        if self.decimal == ",":
            cells[numbers] = [number.replace(".", ",") for number in cells[numbers]]
        return "".join(self.separator + self.write_cell(cell) for cell in cells)

    def number_text(self, text: str) -> str:
        """Spell a cell of a numeric column with a decimal point, where it has one comma."""
        if self.decimal == "." or "," not in text or not _WITH_COMMA.fullmatch(text):
            return text
        return text.replace(",", ".")

    def misfit(self, text: str) -> str:
        """Say why a cell is not read as a number: its mark is not that of the others."""
        if self.decimal == "," and _WITH_POINT.fullmatch(text):
            return "the number has a decimal point where others in the file have a decimal comma"
        if self.decimal == "." and _WITH_COMMA.fullmatch(text):
            return "the number has a decimal comma where others in the file have a decimal point"
        return ""


def decimal_mark(cells: Iterable[str]) -> str:
    """Find the decimal mark of numeric columns.

    One decimal comma decides: a point may then separate thousands, and is rejected.

    Parameters
    ----------
    cells : iterable of str

    Returns
    -------
    str
        A comma, a point, or nothing where no cell has a mark.
    """
    found = ""
    for cell in cells:
        if "," in cell and _WITH_COMMA.fullmatch(cell):
            return ","
        if not found and "." in cell and _WITH_POINT.fullmatch(cell):
            found = "."
    return found
