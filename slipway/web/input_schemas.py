"""The schemas of requests: of a record in JSON and in a form, and of each feature."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec

from slipway.models.features import Feature
from slipway.models.record_texts import value_text
from slipway.models.signature import Signature
from slipway.models.validation import (
    LARGEST_INTEGER,
    MAX_TEXT,
    MISSING_TEXTS,
    NUMERIC_KINDS,
    parse_text,
)
from slipway.reports.feature_texts import describe_datetime, is_date, remarks
from slipway.reports.formatting import EMPTY_TEXT

Schema = dict[str, Any]
NAMED_CATEGORIES = 20
# A drop-down of more values would make Swagger UI slow.
MOST_OPTIONS = 250
_TYPES = {"number": "number", "integer": "integer", "flag": "boolean"}
_DAY = (
    "((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)"
    "|02-(0[1-9]|1[0-9]|2[0-9]))"
)
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?"
# Nanoseconds in 64 bits reach from 1677 to 2262.
_YEARS_OF_NANOSECONDS = "(16(7[89]|[89][0-9])|1[789][0-9]{2}|2[01][0-9]{2}|22([0-5][0-9]|6[01]))"


def input_schemas(signature: Signature, max_records: int) -> dict[str, Schema]:
    """Make the schemas of what clients send.

    Parameters
    ----------
    signature : Signature
    max_records : int
        Records in one array.

    Returns
    -------
    dict of str to dict
        OpenAPI 3.0 schemas by name.
    """
    features = signature.features
    example = {feature.name: feature.example for feature in features}
    ignored = {name: {"description": "Ignored, with any value"} for name in signature.ignored}
    return {
        "Record": _record(features, {f.name: feature_schema(f) for f in features} | ignored)
        | {"example": example},
        "FormRecord": _record(
            features, {f.name: form_schema(f, signature.missing) for f in features}
        )
        | {
            "description": _form_text(signature),
            "example": {
                name: str(value).lower() if isinstance(value, bool) else value
                for name, value in example.items()
                if value is not None
            },
        },
        "Records": {
            "type": "array",
            "minItems": 1,
            "maxItems": max_records,
            # A place may hold any value: one that is not a record gets its errors there.
            "items": {"description": "A record; each is checked separately", "example": example},
        },
    }


def _record(features: tuple[Feature, ...], properties: dict[str, Schema]) -> Schema:
    """Make the schema of a record."""
    schema: Schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }
    required = [feature.name for feature in features if not feature.nullable]
    # An empty list would not be valid.
    return schema | ({"required": required} if required else {})


def _form_text(signature: Signature) -> str:
    """Say how a form differs from JSON."""
    parts = ["One field a feature"]
    texts = [text or EMPTY_TEXT for text in signature.missing]
    if texts:
        parts.append(
            f"These texts are missing values, unless they are known categories: {', '.join(texts)}"
        )
    if signature.ignored:
        parts.append(f"Ignored, with any value: {', '.join(sorted(signature.ignored))}")
    return ". ".join(parts) + "."


def feature_schema(feature: Feature) -> Schema:
    """Make the schema of a feature in JSON.

    Parameters
    ----------
    feature : Feature

    Returns
    -------
    dict
    """
    schema = _value_schema(feature)
    schema["description"] = _described(feature)
    if feature.example is not None or feature.nullable:
        schema["example"] = feature.example
    return schema


def form_schema(feature: Feature, missing: Collection[str] = MISSING_TEXTS) -> Schema:
    """Make the schema of a feature in a form: known categories become a drop-down.

    Parameters
    ----------
    feature : Feature
    missing : collection of str
        The texts that stand for a missing value.

    Returns
    -------
    dict
    """
    schema = feature_schema(msgspec.structs.replace(feature, nullable=False))
    schema["description"] = _described(feature)
    if feature.kind == "flag":
        return schema | _form_flag(feature)
    if feature.example is None and feature.nullable:
        # Swagger UI would fill in a number or a text of its own.
        schema["example"] = ""
    if feature.categories and (feature.closed or len(feature.categories) <= MOST_OPTIONS):
        schema["enum"] = list(feature.categories)
    gaps = [text for text in missing if parse_text(feature, text, missing) is None]
    if feature.kind == "text" and not feature.nullable and gaps:
        schema["not"] = {"enum": gaps}
    return schema


def _form_flag(feature: Feature) -> Schema:
    """List the texts of a flag."""
    texts = {True: ["true", "1"], False: ["false", "0"]}
    values = feature.categories if feature.closed and feature.categories else (True, False)
    example = "" if feature.example is None else str(feature.example).lower()
    return {
        "type": "string",
        "enum": [texts[bool(value)][i] for i in (0, 1) for value in values],
        "example": example,
    }


def _value_schema(feature: Feature) -> Schema:
    """Make the schema of the values of a feature."""
    if feature.kind in NUMERIC_KINDS:
        return _number_schema(feature)
    if feature.kind == "datetime":
        schema = _moment_schema(feature)
    elif feature.kind == "flag":
        schema = {"type": "boolean"}
    else:
        schema = {"type": "string", "maxLength": MAX_TEXT, "pattern": "^[^\\x00]*$"}
    if feature.closed and feature.categories:
        schema = {"type": schema["type"], "enum": _listed(feature)}
    return schema | ({"nullable": True} if feature.nullable else {})


def _listed(feature: Feature) -> list[Any]:
    """List the allowed values; an enum of OpenAPI 3.0 must name null as well."""
    return [*feature.categories, *([None] if feature.nullable else [])]


def _number_schema(feature: Feature) -> Schema:
    """Make the schema of a number, with the range in which there is a prediction."""
    schema: Schema = {"type": _TYPES[feature.kind]}
    low, high = feature.answered or (None, None)
    lows = [each for each in (feature.minimum, low) if each is not None]
    highs = [each for each in (feature.maximum, high) if each is not None]
    if feature.kind == "integer" and not feature.dtype:
        lows.append(-LARGEST_INTEGER)
        highs.append(LARGEST_INTEGER)
    schema |= {"minimum": max(lows)} if lows else {}
    schema |= {"maximum": min(highs)} if highs else {}
    if feature.closed and feature.categories:
        schema["enum"] = _listed(feature)
    schema |= {"nullable": True} if feature.nullable else {}
    if not feature.infinite:
        return schema
    return {"oneOf": [schema, {"type": "string", "enum": ["Infinity", "-Infinity"]}]}


def _moment_schema(feature: Feature) -> Schema:
    """Make the schema of a date and time; a format only where it allows what the service does."""
    zone = "(Z|[+-]([01][0-9]|2[0-3]):?[0-5][0-9])?"
    zone = zone if feature.has_time_zone else "(Z|[+-]00:?00)?"
    years = _YEARS_OF_NANOSECONDS if "[ns" in feature.column_type else "[0-9]{4}"
    schema: Schema = {
        "type": "string",
        "pattern": f"^{years}-{_DAY}([T ]{_TIME}{zone})?$",
    }
    if is_date(feature):
        schema["format"] = "date"
    elif feature.has_time_zone:
        schema["format"] = "date-time"
    return schema


def _described(feature: Feature) -> str:
    """Say what a feature means, its unit and range, its categories, and what a gap does."""
    parts = [feature.description]
    if feature.kind == "datetime":
        parts.append(describe_datetime(feature))
    if feature.range_text:
        parts.append(feature.range_text)
    if feature.infinite:
        parts.append("Infinities are the texts Infinity and -Infinity")
    if feature.categories:
        parts += _categories_text(feature)
    if feature.nullable:
        warned = ", with a warning, because training had no missing value"
        parts.append(f"May be missing{warned if feature.complete else ''}")
    told = ". ".join(parts) + "."
    return " ".join([told, *remarks(feature)])


def _categories_text(feature: Feature) -> list[str]:
    """Say which values are known, and what becomes of any other."""
    if feature.closed:
        return [f"Allowed: {_named(feature)}"]
    known = f"Known: {_named(feature)}. Any other is answered with a warning"
    return [known, f"What becomes of it: {feature.unseen}"]


def _named(feature: Feature) -> str:
    """List the categories, with their names where they are few."""
    texts = [value_text(each) or EMPTY_TEXT for each in feature.categories]
    if len(texts) > MOST_OPTIONS:
        first = ", ".join(texts[:NAMED_CATEGORIES])
        return f"{first} and {len(texts) - NAMED_CATEGORIES:,} more, which /metadata lists"
    if len(texts) > NAMED_CATEGORIES:
        return ", ".join(texts)
    return ", ".join(
        f"{text} ({feature.labels[text]})" if text in feature.labels else text for text in texts
    )
