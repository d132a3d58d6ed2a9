"""Records as texts of forms and CSV files, the input of ``Signature.check_text``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import copysign, isinf

from slipway.models.features import Feature, Value
from slipway.models.signature import Signature
from slipway.models.validation import LARGEST_INTEGER, parse_text


def missing_text(feature: Feature, missing: Collection[str]) -> str | None:
    """Return a text that is parsed as a missing value of a feature, or None."""
    preferred = dict.fromkeys(("", "NaN", "NA", *missing))
    return next((text for text in preferred if parse_text(feature, text, missing) is None), None)


def field_text(feature: Feature, value: Value, missing: Collection[str]) -> str | None:
    """Return the text of a value in a form or CSV file.

    Returns
    -------
    str or None
        None if the text would be parsed as another value, such as the free text ``NA``.
    """
    text = missing_text(feature, missing) if value is None else value_text(value)
    return text if text is not None and parse_text(feature, text, missing) == value else None


def record_texts(signature: Signature, record: Mapping[str, Value]) -> dict[str, str]:
    """Return a record as texts, without values that have no text."""
    texts = {
        feature.name: field_text(feature, record.get(feature.name), signature.missing)
        for feature in signature.features
    }
    return {name: text for name, text in texts.items() if text is not None}


def value_text(value: Value, *, tidy: bool = False) -> str:
    """Return the text of a value.

    With ``tidy``, ``6.599999999999909`` becomes ``6.6``. Use that only for display: a rounded
    number can lie on the other side of a step, which changes the prediction.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    value = drop_zero_fraction(value)
    return f"{value:.12g}" if tidy and isinstance(value, float) else str(value)


def drop_zero_fraction(value: Value) -> Value:
    """Return a whole float as an integer if that has the same value."""
    if not isinstance(value, float) or not value.is_integer() or abs(value) > LARGEST_INTEGER:
        return value
    # Integers have no negative zero.
    return int(value) if value or copysign(1.0, value) > 0 else value
