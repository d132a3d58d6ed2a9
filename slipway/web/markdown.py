"""Text as Markdown that shows it unchanged: Swagger UI renders descriptions as Markdown."""

from __future__ import annotations

import html
import re
from typing import Any

# An underscore within a word is no mark-up, and most names have some.
_INLINE = re.compile(r"[\\`*\[\]|~]|(?<![^\W_])_|_(?![^\W_])")
# What begins a heading, a list, a rule or an underline where it stands first.
_BLOCK = re.compile(r"([#+=-]|\d+(?=[.)](?: |$)))")
# Values under these are data, and not text about it.
_DATA = ("example", "enum", "default")


def escape(text: str) -> str:
    """Return Markdown that is rendered as the text itself, on one line.

    Parameters
    ----------
    text : str
        As the manifest has it: a name, a category or a description.

    Returns
    -------
    str
    """
    line = " ".join(text.split())
    first = _BLOCK.match(line)
    escaped = html.escape(_INLINE.sub(r"\\\g<0>", line), quote=False)
    if first is None:
        return escaped
    mark = first[1]
    return f"{mark}\\{escaped[len(mark) :]}" if mark.isdigit() else f"\\{escaped}"


def escape_descriptions(schema: dict[str, Any]) -> dict[str, Any]:
    """Return an OpenAPI schema whose descriptions are rendered as they are.

    Parameters
    ----------
    schema : dict

    Returns
    -------
    dict
        A copy; names of properties, categories and examples are data, and stay.
    """
    return {key: _escaped(key, value) for key, value in schema.items()}


def _escaped(key: str, value: Any) -> Any:
    """Escape what stands under a keyword of a schema."""
    if key == "description" and isinstance(value, str):
        return escape(value)
    if key in _DATA:
        return value
    if key == "properties":
        return {name: escape_descriptions(each) for name, each in value.items()}
    if isinstance(value, dict):
        return escape_descriptions(value)
    if isinstance(value, list):
        return [escape_descriptions(each) if isinstance(each, dict) else each for each in value]
    return value
