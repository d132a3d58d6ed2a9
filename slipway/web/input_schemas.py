"""The schemas of requests: a record as JSON, a record as a form, and each feature."""

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
MAX_NAMED_CATEGORIES = 20
# A longer drop-down makes Swagger UI slow.
MAX_OPTIONS = 250
_TYPES = {"number": "number", "integer": "integer", "flag": "boolean"}
_DAY = (
    "((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)"
    "|02-(0[1-9]|1[0-9]|2[0-9]))"
)
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?"
# Nanoseconds in 64 bits span 1677 to 2262.
_YEARS_OF_NANOSECONDS = "(16(7[89]|[89][0-9])|1[789][0-9]{2}|2[01][0-9]{2}|22([0-5][0-9]|6[01]))"


def build_input_schemas(signature: Signature, max_records: int) -> dict[str, Schema]:
    """Return the schemas of requests.

    Parameters
    ----------
    signature : Signature
    max_records : int
        Maximum number of records in an array.

    Returns
    -------
    dict of str to dict
        OpenAPI 3.0 schemas by name.
    """
    features = signature.features
    example = {feature.name: feature.example for feature in features}
    ignored = {name: {"description": "Ignored, with any value"} for name in signature.ignored}
    properties = {feature.name: build_feature_schema(feature) for feature in features}
    record = _build_record(features, properties | ignored)
    # An item may be any value: the service reports its errors at the same position.
    item = {"description": "A record; the service validates each one separately"}
    return {
        "Record": record | {"example": example},
        "FormRecord": _build_form_record(signature),
        "Records": {
            "type": "array",
            "minItems": 1,
            "maxItems": max_records,
            "items": item | {"example": example},
        },
    }


def _build_form_record(signature: Signature) -> Schema:
    """Return the schema of a record in a form."""
    features, missing = signature.features, signature.missing
    example = {
        feature.name: str(feature.example).lower()
        if isinstance(feature.example, bool)
        else feature.example
        for feature in features
        if feature.example is not None
    }
    properties = {feature.name: build_form_schema(feature, missing) for feature in features}
    return _build_record(features, properties) | {
        "description": _describe_form(signature),
        "example": example,
    }


def _build_record(features: tuple[Feature, ...], properties: dict[str, Schema]) -> Schema:
    """Return the schema of a record."""
    schema: Schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }
    required = [feature.name for feature in features if not feature.nullable]
    # OpenAPI 3.0 does not allow an empty list.
    return schema | ({"required": required} if required else {})


def _describe_form(signature: Signature) -> str:
    """Return how a form differs from JSON."""
    parts = ["One field for each feature"]
    texts = [text or EMPTY_TEXT for text in signature.missing]
    if texts:
        parts.append(
            f"These texts are missing values, unless they are known categories: {', '.join(texts)}"
        )
    if signature.ignored:
        parts.append(f"Ignored, with any value: {', '.join(sorted(signature.ignored))}")
    return ". ".join(parts) + "."


def build_feature_schema(feature: Feature) -> Schema:
    """Return the schema of a feature in JSON.

    Parameters
    ----------
    feature : Feature

    Returns
    -------
    dict
    """
    schema = _build_value_schema(feature)
    schema["description"] = _describe_feature(feature)
    if feature.example is not None or feature.nullable:
        schema["example"] = feature.example
    return schema


def build_form_schema(feature: Feature, missing: Collection[str] = MISSING_TEXTS) -> Schema:
    """Return the schema of a feature in a form, with a drop-down for known categories.

    Parameters
    ----------
    feature : Feature
    missing : collection of str
        The texts that mean a missing value.

    Returns
    -------
    dict
    """
    schema = build_feature_schema(msgspec.structs.replace(feature, nullable=False))
    schema["description"] = _describe_feature(feature)
    if feature.kind == "flag":
        return schema | _build_flag_form(feature)
    if feature.example is None and feature.nullable:
        # Otherwise Swagger UI would fill in a default.
        schema["example"] = ""
    if feature.categories and (feature.closed or len(feature.categories) <= MAX_OPTIONS):
        schema["enum"] = list(feature.categories)
    missing_texts = [text for text in missing if parse_text(feature, text, missing) is None]
    if feature.kind == "text" and not feature.nullable and missing_texts:
        schema["not"] = {"enum": missing_texts}
    return schema


def _build_flag_form(feature: Feature) -> Schema:
    """Return the keywords of a flag in a form: its texts and its example."""
    texts = {True: ["true", "1"], False: ["false", "0"]}
    values = feature.categories if feature.closed and feature.categories else (True, False)
    example = "" if feature.example is None else str(feature.example).lower()
    return {
        "type": "string",
        "enum": [texts[bool(value)][i] for i in (0, 1) for value in values],
        "example": example,
    }


def _build_value_schema(feature: Feature) -> Schema:
    """Return the schema of the values of a feature."""
    if feature.kind in NUMERIC_KINDS:
        return _build_number_schema(feature)
    if feature.kind == "datetime":
        schema = _build_datetime_schema(feature)
    elif feature.kind == "flag":
        schema = {"type": "boolean"}
    else:
        schema = {"type": "string", "maxLength": MAX_TEXT, "pattern": "^[^\\x00]*$"}
    if feature.closed and feature.categories:
        schema = {"type": schema["type"], "enum": _list_allowed_values(feature)}
    return schema | ({"nullable": True} if feature.nullable else {})


def _list_allowed_values(feature: Feature) -> list[Any]:
    """Return the allowed values, with null for a nullable enum of OpenAPI 3.0."""
    return [*feature.categories, *([None] if feature.nullable else [])]


def _build_number_schema(feature: Feature) -> Schema:
    """Return the schema of a number, with the range in which the pipeline predicts."""
    schema: Schema = {"type": _TYPES[feature.kind]}
    low, high = feature.answered or (None, None)
    minimums = [bound for bound in (feature.minimum, low) if bound is not None]
    maximums = [bound for bound in (feature.maximum, high) if bound is not None]
    if feature.kind == "integer" and not feature.dtype:
        minimums.append(-LARGEST_INTEGER)
        maximums.append(LARGEST_INTEGER)
    schema |= {"minimum": max(minimums)} if minimums else {}
    schema |= {"maximum": min(maximums)} if maximums else {}
    if feature.closed and feature.categories:
        schema["enum"] = _list_allowed_values(feature)
    schema |= {"nullable": True} if feature.nullable else {}
    if not feature.infinite:
        return schema
    return {"oneOf": [schema, {"type": "string", "enum": ["Infinity", "-Infinity"]}]}


def _build_datetime_schema(feature: Feature) -> Schema:
    """Return the schema of a datetime; a format only if the service accepts the same texts."""
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


def _describe_feature(feature: Feature) -> str:
    """Return the meaning, unit, range and categories of a feature, and its missing values."""
    parts = [feature.description]
    if feature.kind == "datetime":
        parts.append(describe_datetime(feature))
    if feature.range_text:
        parts.append(feature.range_text)
    if feature.infinite:
        parts.append("Infinities are the texts Infinity and -Infinity")
    if feature.categories:
        parts += _describe_categories(feature)
    if feature.nullable:
        suffix = ", with a warning, because training had no missing value"
        parts.append(f"May be missing{suffix if feature.complete else ''}")
    text = ". ".join(parts) + "."
    return " ".join([text, *remarks(feature)])


def _describe_categories(feature: Feature) -> list[str]:
    """Return the known categories, and the treatment of unseen ones."""
    if feature.closed:
        return [f"Allowed: {_name_categories(feature)}"]
    known = f"Known: {_name_categories(feature)}. Other values get a warning"
    return [known, f"Unseen values: {feature.unseen}"]


def _name_categories(feature: Feature) -> str:
    """Return the categories as one text, with their names if they are few."""
    texts = [value_text(category) or EMPTY_TEXT for category in feature.categories]
    if len(texts) > MAX_OPTIONS:
        first = ", ".join(texts[:MAX_NAMED_CATEGORIES])
        return f"{first} and {len(texts) - MAX_NAMED_CATEGORIES:,} more, which /metadata lists"
    if len(texts) > MAX_NAMED_CATEGORIES:
        return ", ".join(texts)
    return ", ".join(
        f"{text} ({feature.labels[text]})" if text in feature.labels else text for text in texts
    )
