"""Texts for a terminal of 100 columns: numbers, tables, sections."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence

WIDTH = 100
_LONGEST = 32


def format_value(value: object) -> str:
    """Write a value as short as it reads: ``184``, ``0.3``, ``true``, ``sea, hill``."""
    if value is None or value in ("", (), [], {}):
        return "none"
    if isinstance(value, dict):
        value = [f"{name}: {format_value(each)}" for name, each in value.items()]
    if isinstance(value, list | tuple):
        return ", ".join(map(format_value, value))
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, int | float):
        return str(value)
    whole = abs(value) < 1e15 and float(value).is_integer()
    return str(int(value)) if whole else f"{value:.6g}"


def decimal_places(numbers: Iterable[float | None]) -> int:
    """Give how many digits behind the point leave three to the largest of some numbers."""
    largest = max((abs(number) for number in numbers if number), default=1.0)
    return max(0, 2 - math.floor(math.log10(largest)))


def format_signed(number: float | None, digits: int) -> str:
    """Write what is added somewhere; None where there is no answer."""
    return "no answer" if number is None else f"{number:+z.{digits}f}"


def truncate(text: str) -> str:
    """Cut a long text off."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def wrap_text(before: str, text: str) -> list[str]:
    """Write a text behind another, its further lines under its first; U+00A0 does not break."""
    indent, width = " " * len(before), max(WIDTH, len(before) + 20)
    lines = textwrap.wrap(
        text, width, initial_indent=before, subsequent_indent=indent, break_on_hyphens=False
    )
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines or [before.rstrip()]]


def format_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Write rows as columns, of which the last is wrapped and the others are cut."""
    cut = [[*map(truncate, row[:-1]), row[-1]] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cut, strict=True)]
    lines = []
    for row in cut:
        padded = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        lines += wrap_text("  " + "  ".join([*padded, ""]), row[-1])
    return lines


def format_sections(sections: Mapping[str, Sequence[str]]) -> str:
    """Write sections under their titles; one without lines is left out.

    Nothing in it can move the cursor, because names come from outside.
    """
    texts = (
        "\n".join(map(_safe, (title, "", *lines))) for title, lines in sections.items() if lines
    )
    return "\n\n".join(texts) + "\n"


def _safe(line: str) -> str:
    return "".join(c if c.isprintable() else "\ufffd" for c in line).rstrip()
