"""Records as the texts that forms and CSV files hold: what ``Signature.check_text`` reads."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import copysign, isinf

from slipway.models.features import Feature, Value
from slipway.models.signature import Signature
from slipway.models.validation import LARGEST_INTEGER, parse_text


def missing_text(feature: Feature, missing: Collection[str]) -> str | None:
    """Return a text that stands for a missing value of a feature; None where there is none."""
    preferred = dict.fromkeys(("", "NaN", "NA", *missing))
    return next((text for text in preferred if parse_text(feature, text, missing) is None), None)


def field_text(feature: Feature, value: Value, missing: Collection[str]) -> str | None:
    """Return the text that a form or a CSV file holds for a value.

    Returns
    -------
    str or None
        None where the text would be read as another value, as the free text ``NA`` is.
    """
    text = missing_text(feature, missing) if value is None else value_text(value)
    return text if text is not None and parse_text(feature, text, missing) == value else None


def record_texts(signature: Signature, record: Mapping[str, Value]) -> dict[str, str]:
    """Return a record as texts, without the values for which there is none."""
    texts = {
        feature.name: field_text(feature, record.get(feature.name), signature.missing)
        for feature in signature.features
    }
    return {name: text for name, text in texts.items() if text is not None}


def value_text(value: Value, *, tidy: bool = False) -> str:
    """Write a value as a form or a CSV file gives it.

    Tidied, ``6.599999999999909`` is ``6.6``. That is for reading only: it can lie on the other
    side of a step, and then the answer differs.
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
    """Write a float without a fraction as an integer, where it reads the same."""
    if not isinstance(value, float) or not value.is_integer() or abs(value) > LARGEST_INTEGER:
        return value
    # An integer has no negative zero.
    return int(value) if value or copysign(1.0, value) > 0 else value
