"""Limit the number of values in a JSON body before decoding it.

A decoded value takes up to forty times the memory of its bytes.
"""

from __future__ import annotations

import re

from slipway.core.errors import BadBody, TooLarge

# An unclosed text ends with the body; without this, the search would try each quote in it.
_TEXT = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)'
_FLAT = rb'[{\[][^"{}\[\]]*+(?:' + _TEXT + rb'[^"{}\[\]]*+)*+[}\]]'
# One flat value of an array, with the comma after it.
_PLACE = re.compile(rb"[^\"{}\[\],]*+(?:(?:%b|%b)[^\"{}\[\],]*+)?+," % (_FLAT, _TEXT), re.DOTALL)
# The next mark outside texts. The bound keeps one match short, because a match holds the GIL.
_MARK = re.compile(rb"(?:[^\"{}\[\],]++|%b){0,999}+([{}\[\],])?" % _TEXT, re.DOTALL)
_DEEPER, _BACK = (b"{", b"["), (b"}", b"]")
# The limit of Python's own reader.
MAX_DEPTH = 1_000
# Records with fewer marks are not searched.
MAX_VALUES = 10_000
MAX_MARKS = 100_000


def require_places(body: bytes, limit: int, marks: int = MAX_MARKS) -> None:
    """Reject an array of too many values.

    Parameters
    ----------
    body : bytes
        An array; counting stops at the first syntax error.
    limit : int
        The maximum number of values.
    marks : int
        The maximum number of marks in nested values, which no record has.

    Raises
    ------
    BadBody, TooLarge
    """
    if body.count(b",") < limit:
        return
    at, n_places, nested = 1, 1, 0
    while n_places <= limit:
        place = _PLACE.match(body, at)
        if place:
            at = place.end()
        else:
            at, n_marks = _past_nested(body, at, min(marks - nested, 2 * MAX_VALUES))
            nested += n_marks
            if at < 0:
                return
        n_places += 1
    message = f"at most {limit} records in one array; send a file to /predict_file"
    raise TooLarge(message, code="too_many_records")


def _depth(depth: int, mark: bytes | None) -> int:
    """Return the depth after a mark; raise if the body is nested too deeply."""
    depth += (mark in _DEEPER) - (mark in _BACK)
    if depth > MAX_DEPTH:
        raise BadBody("the body is nested too deeply", code="json_too_deep")
    return depth


def _past_nested(body: bytes, at: int, left: int) -> tuple[int, int]:
    """Return the end of a nested value (-1 for the last one) and its number of marks."""
    depth = 0
    for n_marks, match in enumerate(_MARK.finditer(body, at)):
        if n_marks > left:
            message = "the records have too many nested values; send one value per field"
            raise TooLarge(message, code="too_many_values")
        mark = match[1]
        if mark == b"," and depth == 0:
            return match.end(), n_marks
        depth = _depth(depth, mark)
        if depth < 0:
            break
    return -1, 0


def require_values(raw: bytes, limit: int = MAX_VALUES) -> None:
    """Reject a body, usually one record, of too many values.

    Parameters
    ----------
    raw : bytes
    limit : int

    Raises
    ------
    BadBody, TooLarge
    """
    if raw.count(b",") + raw.count(b"{") + raw.count(b"[") <= limit:
        return
    n_marks = depth = 0
    for match in _MARK.finditer(raw):
        mark = match[1]
        depth = _depth(depth, mark)
        n_marks += mark is not None and mark not in _BACK
        if n_marks > limit:
            raise TooLarge(f"the record has over {limit:,} values", code="too_many_values")
