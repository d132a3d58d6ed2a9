"""The schemas of the OpenAPI document: common ones, and those of the model."""

from __future__ import annotations

from slipway.models.features import Target
from slipway.models.predictor import Predictor
from slipway.serving.predictions import score_name
from slipway.web.input_schemas import Schema, build_input_schemas


def build_model_schemas(model: Predictor, max_records: int) -> dict[str, Schema]:
    """Return all schemas of the OpenAPI document.

    Parameters
    ----------
    model : Predictor
    max_records : int
        Maximum number of records in an array.

    Returns
    -------
    dict of str to dict
        OpenAPI 3.0 schemas by name.
    """
    target = model.target
    schemas = {**_COMMON, **build_input_schemas(model.manifest.signature, max_records)}
    if target.classes:
        label = {**_TEXT, "enum": list(target.classes), "description": target.description}
        schemas["Label"] = label
    schemas["Prediction"] = build_prediction_schema(model)
    if model.manifest.scorecard is not None:
        score = "log-odds" if score_name(model) == "log_odds" else "score"
        schemas["Contributions"] = {
            **_build_number_object(model.manifest.signature.names),
            "description": f"The contribution of each feature to the {score}",
        }
    return schemas


def build_prediction_schema(model: Predictor) -> Schema:
    """Return the schema of a prediction.

    Parameters
    ----------
    model : Predictor

    Returns
    -------
    dict
    """
    required = {
        **_build_output_properties(model.target, model.manifest.threshold),
        "model_version": _TEXT,
    }
    optional: dict[str, Schema] = {"warnings": {"type": "array", "items": _build_ref("Warning")}}
    if model.manifest.scorecard is not None:
        optional |= _build_explanation_properties(model)
    if model.manifest.covariance is not None:
        description = "With interval: the lower and the upper end"
        ends = {"type": "array", "minItems": 2, "maxItems": 2, "items": _SHARE}
        optional["interval"] = {**ends, "description": description}
    return _build_object({**required, **optional}, optional=tuple(optional))


def _build_output_properties(target: Target, threshold: float | None) -> dict[str, Schema]:
    """Return the schemas of the prediction's label and probability, or of its value."""
    if target.task == "regression":
        unit = f", in {target.unit}" if target.unit else ""
        return {"value": {**_NUMBER, "description": f"{target.description}{unit}"}}
    subject = "the label" if target.positive is None else f"“{target.positive}”"
    schemas: dict[str, Schema] = {"label": _build_ref("Label")}
    if target.measure != "probability":
        return schemas | _build_score_properties(target)
    schemas["probability"] = {**_SHARE, "description": f"Of {subject}"}
    if target.task == "multiclass":
        descriptions = {"description": "Of every class; the sum is 1"}
        schemas["probabilities"] = {**_build_number_object(target.classes, _SHARE), **descriptions}
    elif threshold is not None:
        description = f"The lowest probability with the label {subject}"
        schemas["threshold"] = {**_NUMBER, "description": description}
    return schemas


def _build_score_properties(target: Target) -> dict[str, Schema]:
    """Return the schemas of a model without probabilities: its score, or one per class."""
    if target.measure == "label":
        return {}
    if target.task == "binary":
        description = f"The model's decision score, usually above 0 for “{target.positive}”"
        return {"score": {**_NUMBER, "description": description}}
    description = "The decision score of every class, usually the highest for the label"
    return {"scores": {**_build_number_object(target.classes), "description": description}}


def _build_explanation_properties(model: Predictor) -> dict[str, Schema]:
    """Return the schemas of the fields that ``explain`` adds; several classes have objects."""
    name = score_name(model)
    descriptions = {
        name: "With explain: the sum of the intercept and all contributions",
        "intercept": "With explain: the score without contributions",
        "contributions": "With explain: the contribution of each feature",
    }
    properties: dict[str, Schema] = {name: _NUMBER, "intercept": _NUMBER}
    if model.target.measure == "decision":
        del properties[name]
    properties["contributions"] = _build_ref("Contributions")
    if model.task == "multiclass":
        properties = {
            key: _build_object(dict.fromkeys(model.target.classes, schema))
            for key, schema in properties.items()
        }
    return {
        key: schema if "$ref" in schema else {**schema, "description": descriptions[key]}
        for key, schema in properties.items()
    }


def _build_number_object(names: tuple[str, ...], number: Schema | None = None) -> Schema:
    """Return the schema of an object with a number for each name."""
    return _build_object(dict.fromkeys(names, number or _NUMBER))


def _build_object(properties: dict[str, Schema], optional: tuple[str, ...] = ()) -> Schema:
    """Return the schema of an object without additional properties."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [name for name in properties if name not in optional],
        "properties": properties,
    }


def _build_ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_TEXT: Schema = {"type": "string"}
_NUMBER: Schema = {"type": "number"}
_SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_COMMON: dict[str, Schema] = {
    "FieldError": _build_object(
        {
            "field": {**_TEXT, "nullable": True, "description": "The invalid field"},
            "row": {
                "type": "integer",
                "nullable": True,
                "description": "Index of the record in the array, from 0",
            },
            "code": {**_TEXT, "description": "A constant for programs"},
            "message": {**_TEXT, "description": "The reason, and what to do"},
        }
    ),
    "Error": _build_object(
        {
            "code": {**_TEXT, "description": "A constant for programs"},
            "message": {**_TEXT, "description": "What went wrong"},
            "request_id": {**_TEXT, "description": "The same as in the header X-Request-Id"},
            "errors": {"type": "array", "items": _build_ref("FieldError")},
        }
    ),
    "Warning": _build_object({"field": _TEXT, "code": _TEXT, "message": _TEXT}),
    "Failure": _build_object({"errors": {"type": "array", "items": _build_ref("FieldError")}}),
    "Predictions": {"type": "array", "items": _build_ref("Prediction")},
    "PredictionsOrFailures": {
        "type": "array",
        "items": {"oneOf": [_build_ref("Prediction"), _build_ref("Failure")]},
    },
}
