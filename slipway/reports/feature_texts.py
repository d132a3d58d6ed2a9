"""What a feature takes, in words: for the form, the model page, the card and the API document."""

from __future__ import annotations

from slipway.models.features import Feature
from slipway.models.validation import MAX_TEXT, NUMERIC_KINDS
from slipway.reports.formatting import meaning, sentence, value_name

MOST_NAMED = 6


def accepted_values(feature: Feature) -> str:
    """Say in a few words which values a feature takes.

    Parameters
    ----------
    feature : Feature

    Returns
    -------
    str
    """
    if feature.kind == "flag":
        return _flag_text(feature)
    if feature.categories:
        return _listed_text(feature)
    if feature.kind in NUMERIC_KINDS:
        return _number_text(feature)
    return "any text" if feature.kind in ("category", "text") else moment_text(feature)


def _number_text(feature: Feature) -> str:
    """Say which numbers a feature takes, and which training had."""
    bounds, also, seen = feature.range_text.partition(", in training")
    if feature.kind == "integer":
        is_any = bounds.startswith("any number")
        bounds = bounds.replace("any", "any whole", 1) if is_any else f"whole numbers, {bounds}"
    return f"{bounds}{' or infinity' if feature.infinite else ''}{also}{seen}"


def _listed_text(feature: Feature) -> str:
    """Count the known values, and name them where they are few."""
    count = len(feature.categories)
    what = "allowed" if feature.closed else "known"
    text = f"{count:,} {what} value{'s' if count > 1 else ''}"
    text += " in ascending order" if feature.ordered else ""
    if count > MOST_NAMED:
        return text
    return f"{text}: {', '.join(value_name(feature, each) for each in feature.categories)}"


def moment_text(feature: Feature) -> str:
    """Say how a date and time is written."""
    if is_date(feature):
        return "a date in ISO 8601"
    zone = ", with a time zone" if feature.has_time_zone else ""
    return f"a date and time in ISO 8601{zone}"


def is_date(feature: Feature) -> bool:
    """Whether a feature holds days, without a time."""
    is_day = feature.dtype == "object:date" or feature.dtype.startswith("date32")
    return feature.kind == "datetime" and is_day


def _flag_text(feature: Feature) -> str:
    """Say which flags a feature takes."""
    if not feature.categories or len(feature.categories) > 1:
        return "true or false"
    only = value_name(feature, feature.categories[0])
    return f"{only} only" if feature.closed else f"true or false, only {only} in training"


def remarks(feature: Feature) -> list[str]:
    """Say what else there is to know about the values of a feature.

    Parameters
    ----------
    feature : Feature

    Returns
    -------
    list of str
        Sentences.
    """
    told = []
    if feature.whole:
        told.append("Training had whole numbers only; a fraction gets a warning.")
    if feature.answered is not None:
        low, high = feature.answered
        told.append(f"The pipeline has predictions for {low:g} to {high:g} only.")
    return told + reasons(feature)


def missing_rule(feature: Feature) -> str:
    """Say whether a value may be missing: no, yes, or with a warning.

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
    """Say why a feature is required, closed or whole, where the model was asked.

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
        sentence(f"{names.get(what, what)}, because {why}")
        for what, why in feature.reasons.items()
        if why
    ]


def form_hints(feature: Feature, *, listed: bool) -> list[str]:
    """Say beside an input what to enter.

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
    told = [sentence(meaning(feature))] if meaning(feature) else []
    if listed:
        return told
    if feature.categories:
        other = "is rejected" if feature.closed else "gets a warning"
        count = f"{len(feature.categories):,} known values"
        told.append(f"{count}: type to find one. Any other {other}.")
    elif feature.kind in ("text", "category"):
        told.append(f"Any text, up to {MAX_TEXT:,} characters.")
    elif feature.kind == "datetime":
        told.append(f"{sentence(moment_text(feature))[:-1]}, such as {_example(feature)}.")
    elif feature.range_text:
        told.append(sentence(feature.range_text))
    return told + _number_hints(feature)


def _number_hints(feature: Feature) -> list[str]:
    """Say what is special about a number, and about a missing value."""
    told = ["Whole numbers in training."] if feature.whole else []
    if feature.kind == "integer" and not feature.categories:
        told.append("Whole numbers only.")
    if feature.infinite:
        told.append("Infinity is accepted, with either sign.")
    if feature.answered is not None:
        told.append("Predictions for {:g} to {:g} only.".format(*feature.answered))
    if feature.nullable and feature.complete:
        told.append("Training had no missing value.")
    return told


def _example(feature: Feature) -> str:
    if isinstance(feature.example, str):
        return feature.example
    return "2026-01-31" if is_date(feature) else "2026-01-31T12:00:00"


def takes_unseen(feature: Feature) -> bool:
    """Whether a feature takes values that training has not seen.

    Parameters
    ----------
    feature : Feature
        Whose term is a table.
    """
    if feature.closed:
        return False
    return feature.kind != "flag" or len(feature.categories) == 1


# What the templates of pages and reports describe features with.
FILTERS = (accepted_values, missing_rule, remarks, takes_unseen)
