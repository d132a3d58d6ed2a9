"""The OpenAPI document: Flasgger joins the views' YAML with schemas made from the signature."""

from __future__ import annotations

from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from flasgger import Swagger
from flask import Flask

import slipway
from slipway.serving import Live
from slipway.signature import MAX_TEXT, Feature, Signature

Schema = dict[str, Any]
NAMED_CATEGORIES = 20
SPECS = Path(__file__).with_name("specs")


def register(app: Flask) -> None:
    """Serve the document at ``/apispec_1.json`` and Flasgger's page at ``/apidocs/``.

    The page's template is ours and its assets are the ones of the package
    ``flask-swagger-ui``: those that Flasgger brings are from 2020 and have known holes.
    """
    assets = distribution("flask-swagger-ui").locate_file("flask_swagger_ui/dist")
    config = {
        "openapi": "3.0.3",
        "title": "Slipway API",
        "headers": [],
        "specs": [
            {
                "endpoint": "apispec_1",
                "route": "/apispec_1.json",
                "rule_filter": lambda rule: rule.endpoint.startswith("api."),
                "model_filter": lambda tag: True,
            }
        ],
        "static_folder": str(assets),
        "static_url_path": "/swagger_ui",
        "swagger_ui": True,
        "specs_route": "/apidocs/",
        "doc_dir": str(SPECS),
    }
    Swagger(app, config=config, template=_template(app.extensions["slipway"]))


def _template(live: Live | None) -> Schema:
    """Give what the views' own YAML does not say: the title, and the schemas of the model."""
    info: Schema = {"title": "Slipway", "version": slipway.__version__}
    # Relative to the document itself, so that it is right under any path prefix.
    document: Schema = {"info": info, "servers": [{"url": "."}], "paths": {}}
    if live is None:
        return {**document, "components": {"schemas": {}}}
    manifest = live.model.manifest
    target = manifest.signature.target
    info["title"] = manifest.title
    info["description"] = (
        f"{target.description}. The answer is the probability of “{target.positive}”. "
        f"Model version {manifest.version}."
    )
    schemas = {**_COMMON, **model_schemas(manifest.signature, live.settings.max_records)}
    return {**document, "components": {"schemas": schemas}}


def model_schemas(signature: Signature, max_records: int) -> dict[str, Schema]:
    """Make the schemas that depend on the model.

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
    required = [feature.name for feature in signature.features if not feature.nullable]
    common: Schema = {"type": "object", "additionalProperties": False, "required": required}
    example = {feature.name: feature.example for feature in signature.features}
    names = list(signature.names)
    label = {"type": "string", "enum": list(signature.target.classes)}
    return {
        "Record": {
            **common,
            "properties": {f.name: feature_schema(f) for f in signature.features},
            "example": example,
        },
        "FormRecord": {
            **common,
            "properties": {f.name: form_schema(f) for f in signature.features},
            "example": example,
        },
        "Records": {
            "type": "array",
            "minItems": 1,
            "maxItems": max_records,
            # Any value may stand in a place: what is no record gets its errors there.
            "items": {"description": "A record; each is checked by itself", "example": example},
        },
        "Label": {**label, "description": signature.target.description},
        "Contributions": {
            "type": "object",
            "description": "What each feature adds to the log-odds",
            "required": names,
            "additionalProperties": False,
            "properties": {name: {"type": "number"} for name in names},
        },
    }


def feature_schema(feature: Feature) -> Schema:
    """Make the schema of a feature in JSON."""
    kinds = {"number": "number", "integer": "integer", "category": "string", "flag": "boolean"}
    schema: Schema = {
        "type": kinds[feature.kind],
        "description": _described(feature),
        "example": feature.example,
    }
    if feature.kind == "category":
        schema |= {"maxLength": MAX_TEXT, "pattern": "^[^\\x00]*$"}
    if feature.minimum is not None:
        schema["minimum"] = feature.minimum
    if feature.maximum is not None:
        schema["maximum"] = feature.maximum
    if feature.nullable:
        schema["nullable"] = True
    return schema


def form_schema(feature: Feature) -> Schema:
    """Make the schema of a feature in a form: known categories become a drop-down."""
    schema = feature_schema(feature)
    schema.pop("nullable", None)
    if feature.categories:
        schema["enum"] = list(feature.categories)
    return schema


def _described(feature: Feature) -> str:
    """Say what a feature means, its unit and range, its categories, and what a gap does."""
    parts = [feature.description]
    if feature.range_text:
        parts.append(feature.range_text)
    if feature.categories:
        parts.append(f"Known: {_named(feature)}. Any other is answered with a warning")
        parts.append(f"What becomes of it: {feature.unseen}")
    if feature.nullable:
        parts.append("May be missing")
    return ". ".join(parts) + "."


def _named(feature: Feature) -> str:
    """List the categories, with their names where they are few."""
    if len(feature.categories) > NAMED_CATEGORIES:
        return ", ".join(map(str, feature.categories))
    names = ((str(code), feature.labels.get(str(code))) for code in feature.categories)
    return ", ".join(f"{code} ({name})" if name else code for code, name in names)


def _object(properties: dict[str, Schema], optional: tuple[str, ...] = ()) -> Schema:
    """Make the schema of an object whose properties are all given, but for the optional ones."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [name for name in properties if name not in optional],
        "properties": properties,
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_TEXT: Schema = {"type": "string"}
_NUMBER: Schema = {"type": "number"}
_COMMON: dict[str, Schema] = {
    "FieldError": _object(
        {
            "field": {**_TEXT, "nullable": True, "description": "The field that is wrong"},
            "row": {
                "type": "integer",
                "nullable": True,
                "description": "Its record, counted from 0, where several were sent",
            },
            "code": {**_TEXT, "description": "A word that a program can switch on"},
            "message": {**_TEXT, "description": "What to do about it"},
        }
    ),
    "Error": _object(
        {
            "code": {**_TEXT, "description": "A word that a program can switch on"},
            "message": {**_TEXT, "description": "What went wrong"},
            "request_id": {**_TEXT, "description": "Also in the header X-Request-Id"},
            "errors": {"type": "array", "items": _ref("FieldError")},
        }
    ),
    "Warning": _object({"field": _TEXT, "code": _TEXT, "message": _TEXT}),
    "Prediction": _object(
        {
            "label": _ref("Label"),
            "probability": {
                **_NUMBER,
                "minimum": 0,
                "maximum": 1,
                "description": "Of the positive class",
            },
            "threshold": {
                **_NUMBER,
                "description": "A probability from here on gets the positive label",
            },
            "model_version": _TEXT,
            "warnings": {"type": "array", "items": _ref("Warning")},
            "log_odds": {
                **_NUMBER,
                "description": "With explain: the intercept and all contributions added up",
            },
            "intercept": {**_NUMBER, "description": "With explain: the average row's log-odds"},
            "contributions": _ref("Contributions"),
        },
        optional=("warnings", "log_odds", "intercept", "contributions"),
    ),
    "Failure": _object({"errors": {"type": "array", "items": _ref("FieldError")}}),
    "Predictions": {"type": "array", "items": _ref("Prediction")},
    "PredictionsOrFailures": {
        "type": "array",
        "items": {"oneOf": [_ref("Prediction"), _ref("Failure")]},
    },
}
