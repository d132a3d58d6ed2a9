"""Escape texts for Swagger UI, which renders descriptions as Markdown."""

from __future__ import annotations

import html
import re
from typing import Any

# An underscore within a word is not markup, and most names have some.
_INLINE = re.compile(r"[\\`*\[\]|~]|(?<![^\W_])_|_(?![^\W_])")
# The first characters of a heading, a list, a rule or an underline.
_BLOCK = re.compile(r"([#+=-]|\d+(?=[.)](?: |$)))")
# The values of these keywords are data, not descriptions.
_DATA = ("example", "enum", "default")


def escape(text: str) -> str:
    """Return Markdown that is rendered as the given text, on one line.

    Parameters
    ----------
    text : str
        A name, a category or a description of the manifest.

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
    """Return an OpenAPI schema with escaped descriptions.

    Parameters
    ----------
    schema : dict

    Returns
    -------
    dict
        A copy; names of properties, categories and examples are data and stay unchanged.
    """
    return {key: _escape_value(key, value) for key, value in schema.items()}


def _escape_value(key: str, value: Any) -> Any:
    """Return the value of a schema keyword, with its descriptions escaped."""
    if key == "description" and isinstance(value, str):
        return escape(value)
    if key in _DATA:
        return value
    if key == "properties":
        return {name: escape_descriptions(item) for name, item in value.items()}
    if isinstance(value, dict):
        return escape_descriptions(value)
    if isinstance(value, list):
        return [escape_descriptions(item) if isinstance(item, dict) else item for item in value]
    return value
