"""Format numbers, values and sentences for pages and reports."""

from __future__ import annotations

from math import floor, isfinite, log10

from slipway.models.features import Feature, Target, Value
from slipway.models.record_texts import value_text

EMPTY_TEXT = "(empty text)"
MAX_LENGTH = 80


def percent(share: float) -> str:
    """Format a share as a percentage; never round to 0% or 100%."""
    if 0 < share < 0.005:
        return "<1%"
    return ">99%" if 0.995 <= share < 1 else f"{share:.0%}"


def signed(number: float, digits: int = 2) -> str:
    """Format a number with its sign and the typographic minus."""
    text = f"{number:+,.{digits}f}".replace("-", "\N{MINUS SIGN}")
    return text if any(digit in text for digit in "123456789") else text[1:]


def decimals(largest: float) -> int:
    """Return the number of decimal places that distinguish numbers of this size."""
    if 0.1 <= largest < 1000 or largest == 0.0 or not isfinite(largest):
        return 2
    return min(max(3 - floor(log10(largest)), 0), 12)


def with_unit(value: float, unit: str | None = None) -> str:
    """Format a value to four significant figures, with its unit."""
    digits = 0 if value == 0 else 3 - floor(log10(abs(value)))
    if -12 <= digits <= 8:
        text = f"{value:,.{max(digits, 0)}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    else:
        text = f"{value:.3e}"
    text = text.replace("-", "\N{MINUS SIGN}")
    return f"{text} {unit}" if unit else text


def sentence(message: str) -> str:
    """Capitalize a message and end it with a full stop."""
    return f"{message[:1].upper()}{message[1:].rstrip('.')}."


def lower_first(text: str) -> str:
    """Lower the first letter for use inside a sentence; keep abbreviations."""
    return f"{text[:1].lower()}{text[1:]}" if text[1:2].islower() else text


def byte_count(number: float) -> str:
    """Format a number of bytes."""
    for unit in ("bytes", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.4g} {unit}"
        number /= 1024
    return f"{number:.4g} GiB"


def title_of(name: str) -> str:
    """Convert the name of a feature to words."""
    words = name.replace("_", " ").strip()
    return f"{words[:1].upper()}{words[1:]}"


def meaning(feature: Feature) -> str:
    """Return the description of a feature; empty if it only repeats the name."""
    return "" if feature.description == feature.name else feature.description


def value_name(feature: Feature | None, value: Value) -> str:
    """Format a value with the label of its category, or with its unit.

    Parameters
    ----------
    feature : Feature, optional
        None for a feature that the model no longer has.
    value : float, int, str, bool or None

    Returns
    -------
    str
    """
    if value is None:
        return "missing"
    if value == "":
        return EMPTY_TEXT
    text = shorten(value_text(value, tidy=True))
    if feature is None:
        return text
    label = feature.labels.get(text, "")
    if label:
        return label if feature.kind == "integer" or label == text else f"{text} — {label}"
    return f"{text} {feature.unit}" if feature.unit else text


def compare_to_base_rate(probability: float, base_rate: float) -> str:
    """Describe a probability relative to the base rate."""
    ratio = probability / base_rate if base_rate else 1.0
    if 0.95 <= ratio < 1.05:
        return "about as likely as the average"
    if ratio < 0.1:
        return "less than a tenth as likely as the average"
    return f"{ratio:.1f} times as likely as the average"


def shorten(text: str) -> str:
    """Truncate a long text, and put it on one line."""
    line = text if text.isprintable() else " ".join(text.split())
    return line if len(line) <= MAX_LENGTH else f"{line[: MAX_LENGTH - 1]}…"


def describe_prediction(target: Target) -> str:
    """Describe the prediction of a model, for use inside a sentence."""
    if target.task == "regression":
        return f"a number, in {target.unit}" if target.unit else "a number"
    number = target.measure_name
    if not number:
        return f"one of {len(target.classes)} classes"
    if target.task == "multiclass":
        return f"one of {len(target.classes)} classes, with the {number} of each"
    return f"the {number} of “{target.positive}”"


# Jinja filters of pages and reports.
FILTERS = (
    byte_count,
    lower_first,
    describe_prediction,
    meaning,
    with_unit,
    percent,
    sentence,
    signed,
    title_of,
    value_name,
)
