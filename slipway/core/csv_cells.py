"""The text cells of a CSV file."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"[+-][0-9]+(\.[0-9]+)?")
_RUNS_IN_SPREADSHEETS = ("=", "+", "-", "@", "\t", "\r", "\n")


def quote_cell(text: str, separator: str = ",") -> str:
    """Write one cell, in quotes where it needs them."""
    if separator in text or '"' in text or "\r" in text or "\n" in text:
        return '"' + text.replace('"', '""') + '"'
    return text


def escape_text_cell(text: str) -> str:
    """Write a text cell that no spreadsheet runs as a formula.

    The apostrophe is what OWASP's page on CSV injection recommends. A number such as the label
    ``-1`` stays as it is.
    """
    runs = text.startswith(_RUNS_IN_SPREADSHEETS) and not _NUMBER.fullmatch(text)
    return quote_cell(f"'{text}" if runs else text)
