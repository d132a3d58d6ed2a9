"""Describe the values of a feature for the form, the model page, the card and the API document."""

from __future__ import annotations

from slipway.models.features import Feature
from slipway.models.validation import MAX_TEXT, NUMERIC_KINDS
from slipway.reports.formatting import meaning, sentence, value_name

MAX_LISTED = 6


def accepted_values(feature: Feature) -> str:
    """Describe the accepted values of a feature.

    Parameters
    ----------
    feature : Feature

    Returns
    -------
    str
    """
    if feature.kind == "flag":
        return _describe_flag(feature)
    if feature.categories:
        return _describe_categories(feature)
    if feature.kind in NUMERIC_KINDS:
        return _describe_numbers(feature)
    return "any text" if feature.kind in ("category", "text") else describe_datetime(feature)


def _describe_numbers(feature: Feature) -> str:
    """Describe the accepted numbers of a feature, and its training range."""
    bounds, also, seen = feature.range_text.partition(", in training")
    if feature.kind == "integer":
        is_any = bounds.startswith("any number")
        bounds = bounds.replace("any", "any whole", 1) if is_any else f"whole numbers, {bounds}"
    return f"{bounds}{' or infinity' if feature.infinite else ''}{also}{seen}"


def _describe_categories(feature: Feature) -> str:
    """Count the known categories; list them if there are few."""
    count = len(feature.categories)
    status = "allowed" if feature.closed else "known"
    text = f"{count:,} {status} value{'s' if count > 1 else ''}"
    text += " in ascending order" if feature.ordered else ""
    if count > MAX_LISTED:
        return text
    return f"{text}: {', '.join(value_name(feature, category) for category in feature.categories)}"


def describe_datetime(feature: Feature) -> str:
    """Describe the format of a date and time."""
    if is_date(feature):
        return "a date in ISO 8601"
    zone = ", with a time zone" if feature.has_time_zone else ""
    return f"a date and time in ISO 8601{zone}"


def is_date(feature: Feature) -> bool:
    """Return whether a feature contains dates without a time."""
    is_day = feature.dtype == "object:date" or feature.dtype.startswith("date32")
    return feature.kind == "datetime" and is_day


def _describe_flag(feature: Feature) -> str:
    """Describe the accepted values of a flag."""
    if not feature.categories or len(feature.categories) > 1:
        return "true or false"
    only = value_name(feature, feature.categories[0])
    return f"{only} only" if feature.closed else f"true or false, only {only} in training"


def remarks(feature: Feature) -> list[str]:
    """Return further remarks on the values of a feature.

    Parameters
    ----------
    feature : Feature

    Returns
    -------
    list of str
        Sentences.
    """
    sentences = []
    if feature.whole:
        sentences.append("Training had whole numbers only; a fraction gets a warning.")
    if feature.answered is not None:
        low, high = feature.answered
        sentences.append(f"The pipeline has predictions for {low:g} to {high:g} only.")
    return sentences + reasons(feature)


def missing_rule(feature: Feature) -> str:
    """Return whether a value may be missing: no, yes, or with a warning.

    Parameters
    ----------
    feature : Feature

    Returns
    -------
    str
    """
    if not feature.nullable:
        return "no"
    return "with a warning" if feature.complete else "yes"


def reasons(feature: Feature) -> list[str]:
    """Return the reasons why a feature is required, closed or whole, if the probe recorded them.

    Parameters
    ----------
    feature : Feature

    Returns
    -------
    list of str
        Sentences.
    """
    names = {
        "required": "Required",
        "closed": "The list is closed",
        "whole": "Fractions are rejected",
    }
    return [
        sentence(f"{names.get(property_name, property_name)}, because {why}")
        for property_name, why in feature.reasons.items()
        if why
    ]


def form_hints(feature: Feature, *, listed: bool) -> list[str]:
    """Return the hints beside an input of the form.

    Parameters
    ----------
    feature : Feature
    listed : bool
        Whether a drop-down lists the values.

    Returns
    -------
    list of str
        Sentences.
    """
    hints = [sentence(meaning(feature))] if meaning(feature) else []
    if listed:
        return hints
    if feature.categories:
        other = "is rejected" if feature.closed else "gets a warning"
        count = f"{len(feature.categories):,} known values"
        hints.append(f"{count}: type to find one. Any other {other}.")
    elif feature.kind in ("text", "category"):
        hints.append(f"Any text, up to {MAX_TEXT:,} characters.")
    elif feature.kind == "datetime":
        hints.append(
            f"{sentence(describe_datetime(feature))[:-1]}, such as {_example_text(feature)}."
        )
    elif feature.range_text:
        hints.append(sentence(feature.range_text))
    return hints + _number_hints(feature)


def _number_hints(feature: Feature) -> list[str]:
    """Return the hints on special numbers and on missing values."""
    hints = ["Whole numbers in training."] if feature.whole else []
    if feature.kind == "integer" and not feature.categories:
        hints.append("Whole numbers only.")
    if feature.infinite:
        hints.append("Infinity is accepted, with either sign.")
    if feature.answered is not None:
        hints.append("Predictions for {:g} to {:g} only.".format(*feature.answered))
    if feature.nullable and feature.complete:
        hints.append("Training had no missing value.")
    return hints


def _example_text(feature: Feature) -> str:
    if isinstance(feature.example, str):
        return feature.example
    return "2026-01-31" if is_date(feature) else "2026-01-31T12:00:00"


def accepts_unseen(feature: Feature) -> bool:
    """Return whether a feature accepts values that did not occur in training.

    Parameters
    ----------
    feature : Feature
        A feature whose term is a table.
    """
    if feature.closed:
        return False
    return feature.kind != "flag" or len(feature.categories) == 1


# Jinja filters of pages and reports.
FILTERS = (accepted_values, missing_rule, remarks, accepts_unseen)
