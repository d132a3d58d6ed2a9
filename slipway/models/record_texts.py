"""Records as the texts that forms and CSV files hold: what ``Signature.check_text`` reads."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from slipway.models.signature import Feature, Signature, Value
from slipway.models.validation import from_text
from slipway.reports.formatting import value_text


def missing_text(feature: Feature, missing: Collection[str]) -> str | None:
    """Return a text that stands for a missing value of a feature; None where there is none."""
    preferred = dict.fromkeys(("", "NaN", "NA", *missing))
    return next((text for text in preferred if from_text(feature, text, missing) is None), None)


def field_text(feature: Feature, value: Value, missing: Collection[str]) -> str | None:
    """Return the text that a form or a CSV file holds for a value.

    Returns
    -------
    str or None
        None where the text would be read as another value, as the free text ``NA`` is.
    """
    text = missing_text(feature, missing) if value is None else value_text(value)
    return text if text is not None and from_text(feature, text, missing) == value else None


def record_texts(signature: Signature, record: Mapping[str, Value]) -> dict[str, str]:
    """Return a record as texts, without the values for which there is none."""
    texts = {
        feature.name: field_text(feature, record.get(feature.name), signature.missing)
        for feature in signature.features
    }
    return {name: text for name, text in texts.items() if text is not None}
