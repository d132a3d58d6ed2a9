"""Infer a signature from a fitted model, and from its training rows where they are to be had.

What the fitted transformers know (categories, statistics, edges of bins) comes first; the rows
add kinds, types, ranges and examples; the model itself is asked what it does with a missing
value, an unseen one, a fraction and an infinity. What nobody can know is noted.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field
from typing import Any

import msgspec
import sklearn
from sklearn.base import is_classifier, is_outlier_detector, is_regressor

from slipway.compiler import NotAScorecard, find_valid_ranges
from slipway.compiler.steps import InputUses
from slipway.core.errors import SlipwayError
from slipway.models.features import Feature, Kind, Record, Target
from slipway.models.frames import build_frame
from slipway.models.pipeline_engine import PipelineScorer
from slipway.models.signature import Signature
from slipway.training.packaging.classes import class_names, measure_of, why_not_served
from slipway.training.packaging.columns import feature_of_column, to_records
from slipway.training.packaging.encoder_hints import Hints
from slipway.training.packaging.inner_models import raw_readings
from slipway.training.packaging.input_rows import InputRows, input_rows, model_names, predictions
from slipway.training.packaging.probes import has_answer, needs_rows_alone, settled
from slipway.training.packaging.unread_columns import ignores, read_columns

N_ORDINARY = 4
SEED = 2013
_NOT_A_NAME = re.compile(r'["\\\x00-\x1f]')
_OUTPUTS = ("default", "pandas", "polars")


@dataclass
class Inferred:
    """A signature, and in words what could not be known."""

    signature: Signature
    notes: list[str] = field(default_factory=list)


def infer_signature(
    model: Any,
    X: Any = None,
    *,
    target_name: str = "target",
    positive: str | None = None,
) -> Inferred:
    """Infer what a fitted model takes and gives.

    Parameters
    ----------
    model : estimator
    X : InputRows, or anything that ``input_rows`` reads, optional
        Training rows, or others like them.
    target_name : str
    positive : str, optional
        The class whose probability is given; by default the second of two.

    Returns
    -------
    Inferred

    Raises
    ------
    SlipwayError
        The model cannot be served; the message says why.
    """
    if X is not None and not isinstance(X, InputRows):
        X = input_rows(model, X)
    notes: list[str] = []
    target = infer_target(model, target_name, positive)
    names = fitted_names(model, X)
    _require_usable(names)
    read = _read_names(model, names, X)
    features = _features(model, read, raw_readings(model, names), X, notes)
    columns = names if len(read) < len(names) else ()
    signature = Signature(features, target, "" if X is None else X.input, columns)
    if X is None:
        signature = _input_without_rows(model, signature)
        notes.append("ranges, descriptions and units: give rows with --data, or edit model.json")
    records = _ordinary(signature, X)
    signature = _with_transform_output(model, signature, records)
    _require_one_value(model, signature, records[0])
    signature = settled(model, signature, records)
    if needs_rows_alone(model, signature, records):
        signature = msgspec.structs.replace(signature, alone=True)
        notes.append(
            "how one text is read depends on the texts beside it, so that each row is predicted "
            "in a call of its own; pandas.to_datetime(..., format=...) makes arrays and files fast"
        )
    return Inferred(_with_ranges(model, signature), notes)


def _with_ranges(model: Any, signature: Signature) -> Signature:
    """Bound numbers where the pipeline raises beyond; a pickle that answers raises by itself."""
    try:
        ranges = find_valid_ranges(model, signature)
    except NotAScorecard:
        return signature
    features = tuple(
        msgspec.structs.replace(f, answered=ranges[f.name]) if f.name in ranges else f
        for f in signature.features
    )
    return msgspec.structs.replace(signature, features=features)


def fitted_names(model: Any, X: InputRows | None) -> tuple[str, ...]:
    """Return the names of the columns that a model was fitted on."""
    names = model_names(model)
    if names is not None:
        return names
    if X is not None:
        return tuple(X.frame.columns)
    dicts = getattr(_first(model), "feature_names_", None)
    if dicts is not None:
        return tuple(dict.fromkeys(str(name).partition("=")[0] for name in dicts))
    count = getattr(model, "n_features_in_", None)
    if count is not None:
        return tuple(f"x{i}" for i in range(count))
    if _takes_texts(_first(model)):
        return ("text",)
    raise SlipwayError("the model does not say which columns it was fitted on; give its rows")


def _first(model: Any) -> Any:
    """Return the first step of a pipeline, or the model."""
    model = getattr(model, "best_estimator_", model)
    return model.steps[0][1] if hasattr(model, "steps") else model


def _takes_texts(step: Any) -> bool:
    """Whether a step takes a column of texts."""
    return hasattr(step, "build_analyzer")


def _require_usable(names: tuple[str, ...]) -> None:
    """Reject names that neither a form nor a file can carry."""
    for name in names:
        if _NOT_A_NAME.search(name) or not name.strip():
            message = "is empty, or holds a quote, a backslash or a control character; rename it"
            raise SlipwayError(f"the name of the feature {name!r} {message}")


def _features(
    model: Any,
    names: tuple[str, ...],
    readings: InputUses,
    X: InputRows | None,
    notes: list[str],
) -> tuple[Feature, ...]:
    """Infer each feature that the model reads."""
    hints = {name: Hints([each for each in readings if each.feature == name]) for name in names}
    if X is not None:
        return tuple(feature_of_column(name, X.frame[name], hints[name]) for name in names)
    features = tuple(_from_hints(name, hints[name]) for name in names)
    features = _texts_where_numbers_fail(model, features, hints)
    for feature in features:
        if feature.kind == "number" and hints[feature.name].middle is None:
            notes.append(f"{feature.name}: taken for a number, with 1 for an example")
    return features


def _texts_where_numbers_fail(
    model: Any, features: tuple[Feature, ...], hints: dict[str, Hints]
) -> tuple[Feature, ...]:
    """Take texts for what nothing is known of, where the model raises for numbers."""
    texts = tuple(
        Feature(f.name, "text", f.name, "text", nullable=True)
        if f.kind == "number" and hints[f.name].middle is None and not f.categories
        else f
        for f in features
    )
    return next((each for each in (features, texts) if _example_answered(model, each)), features)


def _example_answered(model: Any, features: tuple[Feature, ...]) -> bool:
    """Whether the model answers the record of the examples."""
    signature = Signature(features, Target("target", "target"))
    given: Any = build_frame(signature, [tuple(feature.example for feature in features)])
    try:
        predictions(model, given if model_names(model) else given.to_numpy())
    except Exception:  # a step of one's own can raise anything
        return False
    return True


def _input_without_rows(model: Any, signature: Signature) -> Signature:
    """Find out what the model takes where no rows show it."""
    first = _first(model)
    if hasattr(first, "feature_names_") and hasattr(first, "vocabulary_"):
        texts = {str(n).partition("=")[0] for n in first.feature_names_ if "=" in str(n)}
        features = tuple(
            Feature(f.name, "text", f.name, "text", nullable=True) if f.name in texts else f
            for f in signature.features
        )
        return msgspec.structs.replace(signature, features=features, input="dicts")
    if _takes_texts(first):
        words = [w for w in getattr(first, "vocabulary_", None) or {} if " " not in w]
        text = Feature("text", "text", "text", " ".join(words[:8]) or "some text", nullable=True)
        return msgspec.structs.replace(signature, features=(text,), input="texts")
    return signature


def _read_names(model: Any, names: tuple[str, ...], X: InputRows | None) -> tuple[str, ...]:
    """Return the columns that the model reads; it must answer the same without the others."""
    read = read_columns(model, names)
    if X is None or len(read) == len(names) or model_names(model) is None:
        return read
    return read if ignores(model, X.frame, read) else names


def _ordinary(signature: Signature, X: InputRows | None) -> list[Record]:
    """Return a few ordinary records, the one of the examples first."""
    example: Record = tuple(feature.example for feature in signature.features)
    if X is None:
        return [example]
    sample = X.frame.sample(min(N_ORDINARY, len(X.frame)), random_state=SEED)
    return list(dict.fromkeys([example, *to_records(sample, signature)]))


def _with_transform_output(model: Any, signature: Signature, records: list[Record]) -> Signature:
    """Find the scikit-learn setting for the output of transformers under which it answers."""
    here = sklearn.get_config()["transform_output"]
    for setting in dict.fromkeys((here, *_OUTPUTS)):
        made = msgspec.structs.replace(signature, transform_output=setting)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if any(map(has_answer, PipelineScorer(model, made)(records))):
                return made
    return msgspec.structs.replace(signature, transform_output=here)


def _require_one_value(model: Any, signature: Signature, record: Record) -> None:
    """Reject a regressor of several targets."""
    if signature.target.classes:
        return
    given: Any = build_frame(signature, [record])
    try:
        values = predictions(model, given if model_names(model) else given.to_numpy())
    except Exception:  # the golden rows tell whether it answers at all
        return
    if values.ndim > 1 and values.shape[1] > 1:
        count = values.shape[1]
        raise SlipwayError(f"the model predicts {count} targets at once, where one can be")


def infer_target(model: Any, name: str, positive: str | None) -> Target:
    """Infer what a model predicts.

    Raises
    ------
    SlipwayError
        It predicts several targets at once, its classes cannot be told apart, it has no such
        class, or it is not a model that predicts.
    """
    if is_regressor(model):
        return Target(name, f"Predicted {name}")
    if not is_classifier(model) and not is_outlier_detector(model):
        raise SlipwayError(why_not_served(model))
    classes, measure = class_names(model), measure_of(model)
    if positive is not None and (positive not in classes or len(classes) != 2):
        raise SlipwayError(f"{positive!r} is not one of two classes: {', '.join(classes)}")
    if len(classes) != 2:
        return Target(name, f"Predicted class of {name}", classes, measure=measure)
    positive = positive or classes[1]
    meaning = f"{name} is {positive}" if measure != "label" else f"Predicted class of {name}"
    if is_outlier_detector(model):
        meaning = "1 for a record like those of training, -1 for an outlier"
    return Target(name, meaning, classes, positive, measure=measure)


def _from_hints(name: str, hints: Hints) -> Feature:
    """Infer a feature from the transformers alone."""
    gap: Any = "none" if hints.gap_is_none else "nan"
    shared: dict[str, Any] = {"nullable": True, "gap": gap}
    categories = hints.categories
    if categories:
        kind = _kind_of(categories)
        known: tuple[Any, ...] = tuple(map(_PLAIN[kind], categories))
        shared |= {"complete": not hints.knows_gaps, "gap_known": hints.knows_gaps}
        if kind == "integer":
            shared["dtype"] = "int64"
        listed = () if kind == "flag" and len(known) > 1 else known
        return Feature(name, kind, name, known[0], categories=listed, **shared)
    example = hints.middle
    if isinstance(example, str) or any(hasattr(r.step, "build_analyzer") for r in hints.readings):
        return Feature(name, "text", name, str(example or "some text"), **shared)
    number = 1.0 if example is None else float(f"{example:.6g}")
    return Feature(name, "number", name, number, seen=hints.seen, **shared)


_PLAIN: dict[Kind, Any] = {"flag": bool, "category": str, "integer": int, "number": float}


def _kind_of(categories: tuple[Any, ...]) -> Kind:
    """Return the kind of a feature by the values that an encoder knows."""
    if all(isinstance(each, bool) for each in categories):
        return "flag"
    if any(isinstance(each, str) for each in categories):
        return "category"
    return "integer" if all(float(each).is_integer() for each in categories) else "number"
