"""The schemas of the OpenAPI document: those of every model, and those made from this one."""

from __future__ import annotations

from slipway.models.features import Target
from slipway.models.predictor import Predictor
from slipway.serving.predictions import score_name
from slipway.web.input_schemas import Schema, input_schemas


def model_schemas(model: Predictor, max_records: int) -> dict[str, Schema]:
    """Make all the schemas.

    Parameters
    ----------
    model : Predictor
    max_records : int
        Records in one array.

    Returns
    -------
    dict of str to dict
        OpenAPI 3.0 schemas by name.
    """
    target = model.target
    made = {**_COMMON, **input_schemas(model.manifest.signature, max_records)}
    if target.classes:
        label = {**_TEXT, "enum": list(target.classes), "description": target.description}
        made["Label"] = label
    made["Prediction"] = prediction_schema(model)
    if model.manifest.scorecard is not None:
        what = "log-odds" if score_name(model) == "log_odds" else "score"
        made["Contributions"] = {
            **_numbers(model.manifest.signature.names),
            "description": f"What each feature adds to the {what}",
        }
    return made


def prediction_schema(model: Predictor) -> Schema:
    """Make the schema of an answer.

    Parameters
    ----------
    model : Predictor

    Returns
    -------
    dict
    """
    answer = {
        **_answer_properties(model.target, model.manifest.threshold),
        "model_version": _TEXT,
    }
    said: dict[str, Schema] = {"warnings": {"type": "array", "items": _ref("Warning")}}
    if model.manifest.scorecard is not None:
        said |= _explanation(model)
    if model.manifest.covariance is not None:
        text = "With interval: between which probabilities"
        ends = {"type": "array", "minItems": 2, "maxItems": 2, "items": _SHARE}
        said["interval"] = {**ends, "description": text}
    return _object({**answer, **said}, optional=tuple(said))


def _answer_properties(target: Target, threshold: float | None) -> dict[str, Schema]:
    """Make the schemas of what an answer tells before anything else."""
    if target.task == "regression":
        unit = f", in {target.unit}" if target.unit else ""
        return {"value": {**_NUMBER, "description": f"{target.description}{unit}"}}
    whose = "the label" if target.positive is None else f"“{target.positive}”"
    made: dict[str, Schema] = {"label": _ref("Label")}
    if target.measure != "probability":
        return made | _score_properties(target)
    made["probability"] = {**_SHARE, "description": f"Of {whose}"}
    if target.task == "multiclass":
        described = {"description": "Of every class; together they are 1"}
        made["probabilities"] = {**_numbers(target.classes, _SHARE), **described}
    elif threshold is not None:
        text = f"A probability from here on gets the label {whose}"
        made["threshold"] = {**_NUMBER, "description": text}
    return made


def _score_properties(target: Target) -> dict[str, Schema]:
    """Make the schemas of the scores that a model without probabilities returns."""
    if target.measure == "label":
        return {}
    if target.task == "binary":
        text = f"The model's decision score: above 0 for “{target.positive}”, as a rule"
        return {"score": {**_NUMBER, "description": text}}
    text = "The decision score of every class, the highest for the label as a rule"
    return {"scores": {**_numbers(target.classes), "description": text}}


def _explanation(model: Predictor) -> dict[str, Schema]:
    """Make the schemas of what is told with ``explain``, by class where there are several."""
    name = score_name(model)
    described = {
        name: "With explain: the intercept and all contributions added up",
        "intercept": "With explain: what the contributions start from",
        "contributions": "With explain: what each feature adds",
    }
    one: dict[str, Schema] = {name: _NUMBER, "intercept": _NUMBER}
    if model.target.measure == "decision":
        del one[name]
    one["contributions"] = _ref("Contributions")
    if model.task == "multiclass":
        one = {key: _by_class(model.target.classes, each) for key, each in one.items()}
    return {
        key: each if "$ref" in each else {**each, "description": described[key]}
        for key, each in one.items()
    }


def _by_class(classes: tuple[str, ...], schema: Schema) -> Schema:
    return _object(dict.fromkeys(classes, schema))


def _numbers(names: tuple[str, ...], number: Schema | None = None) -> Schema:
    """Make the schema of an object with a number by each name."""
    return _object(dict.fromkeys(names, number or _NUMBER))


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
_SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
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
    "Failure": _object({"errors": {"type": "array", "items": _ref("FieldError")}}),
    "Predictions": {"type": "array", "items": _ref("Prediction")},
    "PredictionsOrFailures": {
        "type": "array",
        "items": {"oneOf": [_ref("Prediction"), _ref("Failure")]},
    },
}
