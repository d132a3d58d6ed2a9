"""How much a JSON body holds, counted before any of it is decoded.

A decoded value takes up to forty times the memory of its bytes.
"""

from __future__ import annotations

import re

from slipway.core.errors import BadBody, TooLarge

# An unclosed text ends with the body: were it not matched, each quote in it would be tried.
_TEXT = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)'
_FLAT = rb'[{\[][^"{}\[\]]*+(?:' + _TEXT + rb'[^"{}\[\]]*+)*+[}\]]'
# One value of an array that holds no further arrays or objects, with the comma behind it.
_PLACE = re.compile(rb"[^\"{}\[\],]*+(?:(?:%b|%b)[^\"{}\[\],]*+)?+," % (_FLAT, _TEXT), re.DOTALL)
# The next mark outside texts. The bound keeps one match, which holds Python's lock, short.
_MARK = re.compile(rb"(?:[^\"{}\[\],]++|%b){0,999}+([{}\[\],])?" % _TEXT, re.DOTALL)
_DEEPER, _BACK = (b"{", b"["), (b"}", b"]")
# Python's own reader ends here.
MAX_DEPTH = 1_000
# A record of fewer marks is decoded without a closer look.
MAX_VALUES = 10_000
MAX_MARKS = 100_000


def require_places(body: bytes, limit: int, marks: int = MAX_MARKS) -> None:
    """Reject an array of too many values.

    Parameters
    ----------
    body : bytes
        An array; where it is not valid JSON, what follows the fault is not counted.
    limit : int
        Of values.
    marks : int
        Of marks in those that hold nested values, which no record does.

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
    """Follow how deep a mark lies, down to where no reader goes."""
    depth += (mark in _DEEPER) - (mark in _BACK)
    if depth > MAX_DEPTH:
        raise BadBody("the body is nested too deeply", code="json_too_deep")
    return depth


def _past_nested(body: bytes, at: int, left: int) -> tuple[int, int]:
    """Find the end of a place that holds nested values; -1 where it is the last."""
    depth = 0
    for n_marks, found in enumerate(_MARK.finditer(body, at)):
        if n_marks > left:
            message = "the records hold too many values in arrays and objects of their own"
            raise TooLarge(message, code="too_many_values")
        mark = found[1]
        if mark == b"," and depth == 0:
            return found.end(), n_marks
        depth = _depth(depth, mark)
        if depth < 0:
            break
    return -1, 0


def require_values(raw: bytes, limit: int = MAX_VALUES) -> None:
    """Reject a record, or another body, of too many values.

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
    for found in _MARK.finditer(raw):
        mark = found[1]
        depth = _depth(depth, mark)
        n_marks += mark is not None and mark not in _BACK
        if n_marks > limit:
            raise TooLarge(f"the record holds over {limit:,} values", code="too_many_values")
