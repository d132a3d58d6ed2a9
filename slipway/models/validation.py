"""The check of one value against its feature."""

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
# The texts that pandas.read_csv reads as missing.
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
_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?)?", re.ASCII
)
_NOT_A = {"number": "not_a_number", "integer": "not_an_integer"}

CheckResult = tuple[Value, FieldError | None, InputWarning | None]


def check_value(feature: Feature, value: object) -> CheckResult:
    """Check one value: return it in the feature's own type, with an error or a warning."""
    if value is None:
        return _check_missing(feature)
    if feature.kind in NUMERIC_KINDS:
        return _check_number(feature, value)
    if feature.kind == "flag":
        if isinstance(value, bool):
            return value, *_unseen(feature, value)
        return None, _error(feature, "not_a_flag", "must be true or false"), None
    return _check_text(feature, value)


def _check_missing(feature: Feature) -> CheckResult:
    """Accept a missing value where the pipeline answers one."""
    if not feature.nullable:
        reason = feature.reasons.get("required", "")
        message = "this field must be given" + (f": {reason}" if reason else "")
        return None, _error(feature, "missing_field", message), None
    if not feature.complete:
        return None, None, None
    message = "training had no missing value here; the prediction is an extrapolation"
    return None, None, InputWarning(feature.name, "missing_value", message)


def _check_text(feature: Feature, value: object) -> CheckResult:
    """Check a category, a free text, or a date and time."""
    if not isinstance(value, str):
        return None, _error(feature, "not_a_text", "must be a text"), None
    if len(value) > MAX_TEXT:
        message = f"must have at most {MAX_TEXT:,} characters"
        return None, _error(feature, "too_long", message), None
    if _NOT_TEXT.search(value):
        message = "contains a NUL or half of a surrogate pair, which are not text"
        return None, _error(feature, "not_a_text", message), None
    if feature.kind == "datetime":
        return _check_moment(feature, value)
    return value, *_unseen(feature, value)


def _check_moment(feature: Feature, text: str) -> CheckResult:
    """Check a date and time in ISO 8601."""
    example = "must be a date and time in ISO 8601, such as 2026-01-31T12:00:00"
    if not _MOMENT.fullmatch(text):
        return None, _error(feature, "not_a_datetime", example), None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        return None, _error(feature, "not_a_datetime", f"{example}: {error}"), None
    # Clients write UTC as Z also where nobody meant a time zone; any other offset means one.
    if moment.tzinfo is not None and not feature.has_time_zone and moment.utcoffset():
        message = "must have no offset other than Z, because training had no time zone"
        return None, _error(feature, "not_a_datetime", message), None
    return text, None, None


def _check_number(feature: Feature, value: object) -> CheckResult:
    """Check a number, and round it to the precision of the training column."""
    if isinstance(value, str) and feature.infinite:
        value = _INFINITIES.get(value.lower(), value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None, _error(feature, _NOT_A[feature.kind], _must_be(feature)), None
    if isinstance(value, float) and not math.isfinite(value):
        if feature.infinite and not math.isnan(value):
            return value, None, None
        return None, _error(feature, "not_finite", _must_be(feature)), None
    # The range comes before the conversion, because a long integer does not fit a float.
    too_large = abs(value) > LARGEST_INTEGER and feature.kind == "integer" and not feature.dtype
    number = (
        None if too_large or not feature.is_in_range(value) else round_to_column(feature, value)
    )
    if number is None or not (feature.infinite or math.isfinite(number)):
        return None, _error(feature, "out_of_range", _must_be(feature)), None
    if not feature.is_in_answered_range(number):
        return None, _error(feature, "out_of_range", _no_answer(feature)), None
    if feature.kind == "integer" and not float(number).is_integer():
        return None, _error(feature, _NOT_A["integer"], _must_be(feature)), None
    return number, *_unseen(feature, number, _unusual(feature, number))


def round_to_column(feature: Feature, value: float) -> float | int | None:
    """Return a number as the training column would hold it; None where it fits no float.

    A whole number stays an integer where the column held integers, so that all its digits are
    kept, and a ``float32`` column rounds.
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


def _unseen(
    feature: Feature, value: str | float, otherwise: InputWarning | None = None
) -> tuple[FieldError | None, InputWarning | None]:
    """Warn of a value that training has not seen; reject it where the pipeline raises for it."""
    if not feature.categories or value in feature.known:
        return None, otherwise
    if feature.closed:
        reason = feature.reasons.get("closed", "")
        message = "unknown category; /metadata lists the accepted values"
        message += f" ({reason})" if reason else ""
        return _error(feature, "unknown_category", message), None
    message = f"training has not seen this value; {feature.unseen}"
    return None, InputWarning(feature.name, "unseen_category", message)


def _unusual(feature: Feature, number: float) -> InputWarning | None:
    """Warn of a number unlike those of training."""
    if feature.whole and not float(number).is_integer():
        message = "training had whole numbers only; the prediction is an extrapolation"
        return InputWarning(feature.name, "not_whole", message)
    if feature.seen is None or feature.seen[0] <= number <= feature.seen[1]:
        return None
    low, high = feature.seen
    message = f"training has seen {low:g} to {high:g} only; the answer is an extrapolation"
    return InputWarning(feature.name, "outside_training", message)


def parse_text(feature: Feature, text: str, missing: Collection[str] = MISSING_TEXTS) -> Value:
    """Return the value that the text of a cell or of a form stands for.

    Parameters
    ----------
    feature : Feature
    text : str
    missing : collection of str
        The texts that stand for a missing value, unless the feature knows them as a category.

    Returns
    -------
    float, int, str, bool or None
        A text that spells no value of the feature's kind comes back as it is.
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


def _must_be(feature: Feature) -> str:
    """Say what a number must be."""
    what = "an integer" if feature.kind == "integer" else "a number"
    bounded = feature.minimum is not None or feature.maximum is not None
    return f"must be {what}, {feature.range_text}" if bounded else f"must be {what}, and finite"


def _no_answer(feature: Feature) -> str:
    """Say in which range the pipeline answers."""
    low, high = feature.answered or (-math.inf, math.inf)
    return f"the pipeline has no prediction for it, only for {low:g} to {high:g}"


def _error(feature: Feature, code: str, message: str) -> FieldError:
    return FieldError(feature.name, None, code, message)
