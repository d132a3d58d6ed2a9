"""Validation of one value against its feature."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Collection
from datetime import datetime

from slipway.core.errors import FieldError, InputWarning
from slipway.models.features import NARROW_FLOATS, Feature, Value

MAX_TEXT = 65_536
LARGEST_INTEGER = 2**53
# The texts that pandas.read_csv parses as missing values.
MISSING_TEXTS = (
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
)
NUMERIC_KINDS = ("number", "integer")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
_NOT_TEXT = re.compile("[\0\ud800-\udfff]")
_FLAGS = {"true": True, "false": False, "1": True, "0": False}
_INFINITIES = {
    sign + word: float(sign + "inf") for sign in ("", "+", "-") for word in ("inf", "infinity")
}
_DATETIME = re.compile(
    r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?)?", re.ASCII
)
_TYPE_ERRORS = {"number": "not_a_number", "integer": "not_an_integer"}

CheckResult = tuple[Value, FieldError | None, InputWarning | None]


def check_value(feature: Feature, value: object) -> CheckResult:
    """Return a value in its feature's type, with an error or a warning, if any."""
    if value is None:
        return _check_missing(feature)
    if feature.kind in NUMERIC_KINDS:
        return _check_number(feature, value)
    if feature.kind == "flag":
        if isinstance(value, bool):
            return value, *_check_known(feature, value)
        return None, _error(feature, "not_a_flag", "must be true or false"), None
    return _check_text(feature, value)


def _check_missing(feature: Feature) -> CheckResult:
    """Accept a missing value if the pipeline accepts missing values."""
    if not feature.nullable:
        reason = feature.reasons.get("required", "")
        message = "this field must be given" + (f": {reason}" if reason else "")
        return None, _error(feature, "missing_field", message), None
    if not feature.complete:
        return None, None, None
    message = "training had no missing value here; the prediction is an extrapolation"
    return None, None, InputWarning(feature.name, "missing_value", message)


def _check_text(feature: Feature, value: object) -> CheckResult:
    """Check a category, a free text or a datetime."""
    if not isinstance(value, str):
        return None, _error(feature, "not_a_text", "must be a text"), None
    if len(value) > MAX_TEXT:
        message = f"must have at most {MAX_TEXT:,} characters"
        return None, _error(feature, "too_long", message), None
    if _NOT_TEXT.search(value):
        message = "contains a NUL or half of a surrogate pair, which are not text"
        return None, _error(feature, "not_a_text", message), None
    if feature.kind == "datetime":
        return _check_datetime(feature, value)
    return value, *_check_known(feature, value)


def _check_datetime(feature: Feature, text: str) -> CheckResult:
    """Check a datetime in ISO 8601."""
    example = "must be a date and time in ISO 8601, such as 2026-01-31T12:00:00"
    if not _DATETIME.fullmatch(text):
        return None, _error(feature, "not_a_datetime", example), None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        return None, _error(feature, "not_a_datetime", f"{example}: {error}"), None
    # Many clients write local times with Z. Any other offset is a time zone.
    if moment.tzinfo is not None and not feature.has_time_zone and moment.utcoffset():
        message = "must have no offset other than Z, because training had no time zone"
        return None, _error(feature, "not_a_datetime", message), None
    return text, None, None


def _check_number(feature: Feature, value: object) -> CheckResult:
    """Check a number and round it to the precision of the training column."""
    if isinstance(value, str) and feature.infinite:
        value = _INFINITIES.get(value.lower(), value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None, _error(feature, _TYPE_ERRORS[feature.kind], _range_message(feature)), None
    if isinstance(value, float) and not math.isfinite(value):
        if feature.infinite and not math.isnan(value):
            return value, None, None
        return None, _error(feature, "not_finite", _range_message(feature)), None
    # Check the range before the conversion, because large integers overflow a float.
    too_large = abs(value) > LARGEST_INTEGER and feature.kind == "integer" and not feature.dtype
    number = (
        None if too_large or not feature.is_in_range(value) else round_to_column(feature, value)
    )
    if number is None or not (feature.infinite or math.isfinite(number)):
        return None, _error(feature, "out_of_range", _range_message(feature)), None
    if not feature.is_in_answered_range(number):
        return None, _error(feature, "out_of_range", _answered_range_message(feature)), None
    if feature.kind == "integer" and not float(number).is_integer():
        return None, _error(feature, _TYPE_ERRORS["integer"], _range_message(feature)), None
    return number, *_check_known(feature, number, _check_training_range(feature, number))


def round_to_column(feature: Feature, value: float) -> float | int | None:
    """Return a number as the training column would store it; None if it overflows a float.

    Whole numbers of an integer column remain integers, which keeps all digits. Numbers of a
    ``float32`` column are rounded.
    """
    try:
        number = float(value)
    except OverflowError:
        return None
    if feature.is_integer_column:
        return int(value) if number.is_integer() else number
    form = NARROW_FLOATS.get(feature.dtype)
    if form is None:
        return number
    try:
        return float(struct.unpack(form, struct.pack(form, number))[0])
    except OverflowError:
        return math.copysign(math.inf, number)


def _check_known(
    feature: Feature, value: str | float, warning: InputWarning | None = None
) -> tuple[FieldError | None, InputWarning | None]:
    """Warn about an unseen category, or reject it if the pipeline raises for it."""
    if not feature.categories or value in feature.known:
        return None, warning
    if feature.closed:
        reason = feature.reasons.get("closed", "")
        message = "unknown category; /metadata lists the accepted values"
        message += f" ({reason})" if reason else ""
        return _error(feature, "unknown_category", message), None
    message = f"training has not seen this value; {feature.unseen}"
    return None, InputWarning(feature.name, "unseen_category", message)


def _check_training_range(feature: Feature, number: float) -> InputWarning | None:
    """Warn about a number that is unlike those of training."""
    if feature.whole and not float(number).is_integer():
        message = "training had whole numbers only; the prediction is an extrapolation"
        return InputWarning(feature.name, "not_whole", message)
    if feature.seen is None or feature.seen[0] <= number <= feature.seen[1]:
        return None
    low, high = feature.seen
    message = (
        f"outside the training range ({low:g} to {high:g}); the prediction is an extrapolation"
    )
    return InputWarning(feature.name, "outside_training", message)


def parse_text(feature: Feature, text: str, missing: Collection[str] = MISSING_TEXTS) -> Value:
    """Parse the text of a CSV cell or a form field.

    Parameters
    ----------
    feature : Feature
    text : str
    missing : collection of str
        The texts that mark a missing value, unless they are categories of the feature.

    Returns
    -------
    float, int, str, bool or None
        The value; an invalid text is returned unchanged.
    """
    if feature.kind in ("category", "text"):
        if text in missing and not feature.has_text(text):
            return None
        return text
    if text in missing:
        return None
    text = text.strip()
    if feature.kind == "flag":
        return _FLAGS.get(text.lower(), text)
    if feature.kind == "datetime" or not _NUMBER.fullmatch(text):
        return text
    return int(text) if feature.is_integer_column and _WHOLE.fullmatch(text[:30]) else float(text)


def _range_message(feature: Feature) -> str:
    """Return the message about the accepted numbers."""
    noun = "an integer" if feature.kind == "integer" else "a number"
    bounded = feature.minimum is not None or feature.maximum is not None
    return f"must be {noun}, {feature.range_text}" if bounded else f"must be {noun}, and finite"


def _answered_range_message(feature: Feature) -> str:
    """Return the message about the range that the pipeline accepts."""
    low, high = feature.answered or (-math.inf, math.inf)
    return f"the pipeline returns predictions only from {low:g} to {high:g}"


def _error(feature: Feature, code: str, message: str) -> FieldError:
    return FieldError(feature.name, None, code, message)
