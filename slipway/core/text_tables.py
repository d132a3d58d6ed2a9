"""Format values, tables and sections for a terminal of 100 columns."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence

WIDTH = 100
_MAX_CELL = 32


def format_value(value: object) -> str:
    """Return a value as a short text: ``184``, ``0.3``, ``true``, ``sea, hill``."""
    if value is None or value in ("", (), [], {}):
        return "none"
    if isinstance(value, dict):
        value = [f"{key}: {format_value(item)}" for key, item in value.items()]
    if isinstance(value, list | tuple):
        return ", ".join(map(format_value, value))
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, int | float):
        return str(value)
    whole = abs(value) < 1e15 and float(value).is_integer()
    return str(int(value)) if whole else f"{value:.6g}"


def decimal_places(numbers: Iterable[float | None]) -> int:
    """Return the decimal places that leave the largest number three significant digits."""
    largest = max((abs(number) for number in numbers if number), default=1.0)
    return max(0, 2 - math.floor(math.log10(largest)))


def format_signed(number: float | None, digits: int) -> str:
    """Return a number with its sign, or ``no answer`` for None."""
    return "no answer" if number is None else f"{number:+z.{digits}f}"


def truncate(text: str) -> str:
    """Return a text, cut off after 32 characters."""
    return text if len(text) <= _MAX_CELL else f"{text[: _MAX_CELL - 1]}…"


def wrap_text(prefix: str, text: str) -> list[str]:
    """Wrap a text after a prefix and indent its further lines; U+00A0 does not break."""
    indent, width = " " * len(prefix), max(WIDTH, len(prefix) + 20)
    lines = textwrap.wrap(
        text, width, initial_indent=prefix, subsequent_indent=indent, break_on_hyphens=False
    )
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines or [prefix.rstrip()]]


def format_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align rows in columns; wrap the last column and truncate the others."""
    cells = [[*map(truncate, row[:-1]), row[-1]] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        padded = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        lines += wrap_text("  " + "  ".join([*padded, ""]), row[-1])
    return lines


def format_sections(sections: Mapping[str, Sequence[str]]) -> str:
    """Return sections with their titles; skip sections without lines.

    Control characters, which could move the cursor, are replaced.
    """
    texts = (
        "\n".join(map(_printable, (title, "", *lines)))
        for title, lines in sections.items()
        if lines
    )
    return "\n\n".join(texts) + "\n"


def _printable(line: str) -> str:
    return "".join(c if c.isprintable() else "\ufffd" for c in line).rstrip()
