"""How pages and reports write numbers, values and sentences for people."""

from __future__ import annotations

from math import floor, isfinite, log10

from slipway.models.features import Feature, Target, Value
from slipway.models.record_texts import value_text

EMPTY_TEXT = "(empty text)"
MOST_SHOWN = 80


def percent(share: float) -> str:
    """Write a share for people, without making almost all into all or hardly any into none."""
    if 0 < share < 0.005:
        return "<1%"
    return ">99%" if 0.995 <= share < 1 else f"{share:.0%}"


def signed(number: float, digits: int = 2) -> str:
    """Write a number with its sign, the typographic minus."""
    text = f"{number:+,.{digits}f}".replace("-", "\N{MINUS SIGN}")
    return text if any(figure in text for figure in "123456789") else text[1:]


def decimals(largest: float) -> int:
    """Give how many figures behind the point tell numbers of this size well apart."""
    if 0.1 <= largest < 1000 or largest == 0.0 or not isfinite(largest):
        return 2
    return min(max(3 - floor(log10(largest)), 0), 12)


def measured(value: float, unit: str | None = None) -> str:
    """Write a value for people, to four figures, with its unit."""
    digits = 0 if value == 0 else 3 - floor(log10(abs(value)))
    if -12 <= digits <= 8:
        text = f"{value:,.{max(digits, 0)}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    else:
        text = f"{value:.3e}"
    text = text.replace("-", "\N{MINUS SIGN}")
    return f"{text} {unit}" if unit else text


def sentence(message: str) -> str:
    """Make a message into a sentence."""
    return f"{message[:1].upper()}{message[1:].rstrip('.')}."


def inner(text: str) -> str:
    """Make a line go on inside a sentence; an abbreviation keeps its capitals."""
    return f"{text[:1].lower()}{text[1:]}" if text[1:2].islower() else text


def byte_count(number: float) -> str:
    """Write a number of bytes for people."""
    for unit in ("bytes", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.4g} {unit}"
        number /= 1024
    return f"{number:.4g} GiB"


def title_of(name: str) -> str:
    """Make the name of a feature into words."""
    words = name.replace("_", " ").strip()
    return f"{words[:1].upper()}{words[1:]}"


def meaning(feature: Feature) -> str:
    """Give what a feature means; nothing where that was inferred and only repeats its name."""
    return "" if feature.description == feature.name else feature.description


def value_name(value_of: Feature | None, value: Value) -> str:
    """Write a value for people: with the name of a category, or with a unit.

    Parameters
    ----------
    value_of : Feature, optional
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
    text = shortened(value_text(value, tidy=True))
    if value_of is None:
        return text
    label = value_of.labels.get(text, "")
    if label:
        return label if value_of.kind == "integer" or label == text else f"{text} — {label}"
    return f"{text} {value_of.unit}" if value_of.unit else text


def compared(probability: float, base_rate: float) -> str:
    """Say in words how a probability stands to the base rate."""
    ratio = probability / base_rate if base_rate else 1.0
    if 0.95 <= ratio < 1.05:
        return "about as likely as the average"
    if ratio < 0.1:
        return "less than a tenth as likely as the average"
    return f"{ratio:.1f} times as likely as the average"


def shortened(text: str) -> str:
    """Cut a long text off, which would fill a page, and put it on one line."""
    line = text if text.isprintable() else " ".join(text.split())
    return line if len(line) <= MOST_SHOWN else f"{line[: MOST_SHOWN - 1]}…"


def answer_text(target: Target) -> str:
    """Say inside a sentence what the model gives."""
    if target.task == "regression":
        return f"a number, in {target.unit}" if target.unit else "a number"
    number = target.measure_name
    if not number:
        return f"one of {len(target.classes)} classes"
    if target.task == "multiclass":
        return f"one of {len(target.classes)} classes, with the {number} of each"
    return f"the {number} of “{target.positive}”"


# What the templates of pages and reports write with.
FILTERS = (
    byte_count,
    inner,
    answer_text,
    meaning,
    measured,
    percent,
    sentence,
    signed,
    title_of,
    value_name,
)
