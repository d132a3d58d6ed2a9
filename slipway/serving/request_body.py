"""Parse request bodies strictly: JSON and URL-encoded forms."""

from __future__ import annotations

import json
from typing import Any, NoReturn
from urllib.parse import parse_qsl

from slipway.core.errors import BadBody

MAX_FORM_FIELDS = 1_000


def read_json(body: bytes) -> Any:
    """Parse JSON strictly.

    Parameters
    ----------
    body : bytes

    Returns
    -------
    object
        The result of Python's own reader.

    Raises
    ------
    BadBody
        With code ``empty_body``, ``not_utf8``, ``json_too_deep``, ``duplicate_key`` or
        ``not_json``.
    """
    if not body:
        raise BadBody("the body is empty; send a JSON object", code="empty_body")
    require_utf8(body)
    try:
        return _DECODER.decode(body.decode())
    except RecursionError:
        raise BadBody("the body is nested too deeply", code="json_too_deep") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise BadBody(f"the body is not JSON: {error.msg} at {where}") from None
    except ValueError:
        raise BadBody("the body has an integer with thousands of digits") from None


def read_form(body: bytes) -> dict[str, str]:
    """Parse a URL-encoded form strictly.

    Raises
    ------
    BadBody
        With code ``empty_body``, ``not_utf8``, ``duplicate_key`` or ``not_a_form``.
    """
    if not body:
        raise BadBody("the body is empty; send one field per feature", code="empty_body")
    if body[:1] in b"{[":
        message = "the body looks like JSON; send it with Content-Type: application/json"
        raise BadBody(message, code="not_a_form")
    require_utf8(body)
    try:
        pairs = parse_qsl(
            body.decode("utf-8"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=MAX_FORM_FIELDS,
        )
    except UnicodeDecodeError:
        raise BadBody("the form is not UTF-8", code="not_utf8") from None
    except ValueError:
        raise BadBody("the body is not a URL-encoded form", code="not_a_form") from None
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise BadBody("a field is given twice", code="duplicate_key")
    return fields


def require_utf8(body: bytes) -> None:
    """Reject bytes that are not UTF-8; the check is fast for ASCII, as most bodies are."""
    try:
        if not body.isascii():
            body.decode("utf-8")
    except UnicodeDecodeError:
        raise BadBody("the body is not UTF-8", code="not_utf8") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the fields of an object; reject a duplicate key."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise BadBody("a key is given twice in one object", code="duplicate_key")
    return fields


def _not_a_number(_: str) -> NoReturn:
    raise BadBody("NaN and Infinity are not JSON; leave the field out, or send null")


# Created once: json.loads creates a decoder for every call with hooks.
_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_not_a_number)
