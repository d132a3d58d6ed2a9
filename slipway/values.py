"""The check of one value against its feature."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from slipway.errors import FieldError, Warned

if TYPE_CHECKING:
    from slipway.signature import Feature, Value

MAX_TEXT = 256
LARGEST_INTEGER = 2**53
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NOT_TEXT = re.compile("[\0\ud800-\udfff]")
_FLAGS = {"true": True, "false": False}
_NOT_A = {"number": "not_a_number", "integer": "not_an_integer"}


def check_value(feature: Feature, value: object) -> tuple[Value, FieldError | None, Warned | None]:
    """Check one value: give it back in the feature's own type, with an error or a warning."""
    if value is None:
        if feature.nullable:
            return None, None, None
        return None, _error(feature, "missing_field", "this field must be given"), None
    if feature.kind == "category":
        return _check_category(feature, value)
    if feature.kind == "flag":
        if isinstance(value, bool):
            return value, None, None
        return None, _error(feature, "not_a_flag", "must be true or false"), None
    return _check_number(feature, value)


def _check_category(
    feature: Feature, value: object
) -> tuple[Value, FieldError | None, Warned | None]:
    """Check a text; one that training has not seen is answered with a warning."""
    if not isinstance(value, str):
        return None, _error(feature, "not_a_text", "must be a text"), None
    if len(value) > MAX_TEXT:
        message = f"must have at most {MAX_TEXT} characters"
        return None, _error(feature, "too_long", message), None
    if _NOT_TEXT.search(value):
        message = "holds a NUL, or half of a surrogate pair, which are not text"
        return None, _error(feature, "not_a_text", message), None
    return value, *_unseen(feature, value)


def _check_number(
    feature: Feature, value: object
) -> tuple[Value, FieldError | None, Warned | None]:
    """Check a number; a float without a fraction is an integer where one is due."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None, _error(feature, _NOT_A[feature.kind], _must_be(feature)), None
    if isinstance(value, float) and not math.isfinite(value):
        return None, _error(feature, "not_finite", _must_be(feature)), None
    # The range comes before the conversion, because a long integer does not fit a float.
    if (abs(value) > LARGEST_INTEGER and feature.kind == "integer") or not feature.holds(value):
        return None, _error(feature, "out_of_range", _must_be(feature)), None
    try:
        number = float(value)
    except OverflowError:
        return None, _error(feature, "out_of_range", _must_be(feature)), None
    if feature.kind == "number":
        return number, None, _unusual(feature, number)
    if not number.is_integer():
        return None, _error(feature, _NOT_A["integer"], _must_be(feature)), None
    error, warning = _unseen(feature, int(number))
    return int(number), error, warning or _unusual(feature, number)


def _unseen(feature: Feature, value: str | int) -> tuple[FieldError | None, Warned | None]:
    """Warn of a value that training has not seen, or refuse it, where the known are listed."""
    if not feature.categories or value in feature.categories:
        return None, None
    if feature.closed:
        message = "the model knows no such value; its values are in /metadata"
        return _error(feature, "unknown_category", message), None
    message = f"training has not seen this value; {feature.unseen}"
    return None, Warned(feature.name, "unseen_category", message)


def _unusual(feature: Feature, number: float) -> Warned | None:
    """Warn of a number beyond those of training, where they are known."""
    if feature.seen is None or feature.seen[0] <= number <= feature.seen[1]:
        return None
    low, high = feature.seen
    message = f"training has seen {low:g} to {high:g} only; the answer is an extrapolation"
    return Warned(feature.name, "outside_training", message)


def from_text(feature: Feature, text: str) -> Value:
    """Turn a text into the feature's kind where it spells one."""
    if text == "":
        return None
    if feature.kind == "flag":
        return _FLAGS.get(text.lower(), text)
    if feature.kind in ("number", "integer") and _NUMBER.fullmatch(text):
        return float(text)
    return text


def _must_be(feature: Feature) -> str:
    """Say what a number must be."""
    what = "an integer" if feature.kind == "integer" else "a number"
    bounded = feature.minimum is not None or feature.maximum is not None
    return f"must be {what}, {feature.range_text}" if bounded else f"must be {what}, and finite"


def _error(feature: Feature, code: str, message: str) -> FieldError:
    return FieldError(feature.name, None, code, message)
