"""Text cells of CSV files."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"[+-][0-9]+(\.[0-9]+)?")
_FORMULA_PREFIXES = ("=", "+", "-", "@", "\t", "\r", "\n")


def quote_cell(text: str, separator: str = ",") -> str:
    """Return a cell, quoted if it contains the separator, a quote or a line break."""
    if separator in text or '"' in text or "\r" in text or "\n" in text:
        return '"' + text.replace('"', '""') + '"'
    return text


def escape_text_cell(text: str) -> str:
    """Return a text cell that a spreadsheet does not evaluate as a formula.

    OWASP's page on CSV injection recommends the apostrophe. Numbers such as the label ``-1``
    are not escaped.
    """
    is_formula = text.startswith(_FORMULA_PREFIXES) and not _NUMBER.fullmatch(text)
    return quote_cell(f"'{text}" if is_formula else text)
