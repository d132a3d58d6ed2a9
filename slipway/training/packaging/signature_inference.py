"""Infer a signature from a fitted model and, if available, its training rows.

The fitted transformers provide categories, statistics and bin edges. The rows add kinds, types,
training ranges and examples. Probing the model shows how it handles a missing value, an unseen
one, a fraction and an infinity. Notes list the facts that remain unknown.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field
from typing import Any

import msgspec
import sklearn

from slipway.compiler import NotAScorecard, find_valid_ranges
from slipway.compiler.steps import InputUses
from slipway.core.errors import SlipwayError
from slipway.models.features import Feature, Record, Target
from slipway.models.frames import build_frame
from slipway.models.pipeline_engine import PipelineScorer
from slipway.models.signature import Signature
from slipway.training.packaging.columns import infer_feature, to_records
from slipway.training.packaging.encoder_hints import EncoderHints, infer_from_hints
from slipway.training.packaging.inner_models import find_raw_input_uses
from slipway.training.packaging.input_rows import (
    InputRows,
    get_feature_names,
    predict,
    read_input_rows,
)
from slipway.training.packaging.probes import has_prediction, infer_by_probing, needs_rows_alone
from slipway.training.packaging.targets import infer_target
from slipway.training.packaging.unread_columns import find_read_columns, ignores_other_columns

N_ORDINARY = 4
SEED = 2013
_NOT_A_NAME = re.compile(r'["\\\x00-\x1f]')
_OUTPUTS = ("default", "pandas", "polars")


@dataclass
class InferredSignature:
    """A signature, and notes on facts that could not be inferred."""

    signature: Signature
    notes: list[str] = field(default_factory=list)


def infer_signature(
    model: Any,
    X: Any = None,
    *,
    target_name: str = "target",
    positive: str | None = None,
) -> InferredSignature:
    """Infer the signature of a fitted model.

    Parameters
    ----------
    model : estimator
    X : InputRows, or anything that ``input_rows`` reads, optional
        Training rows, or similar ones.
    target_name : str
    positive : str, optional
        The class whose probability is returned; by default the second of two.

    Returns
    -------
    Inferred

    Raises
    ------
    SlipwayError
        The model cannot be served; the message says why.
    """
    if X is not None and not isinstance(X, InputRows):
        X = read_input_rows(model, X)
    notes: list[str] = []
    target = infer_target(model, target_name, positive)
    names = infer_feature_names(model, X)
    _require_usable(names)
    names_read = _read_names(model, names, X)
    features = _infer_features(model, names_read, find_raw_input_uses(model, names), X, notes)
    fitted_columns = names if len(names_read) < len(names) else ()
    signature = Signature(features, target, "" if X is None else X.input, fitted_columns)
    if X is None:
        signature = _input_without_rows(model, signature)
        notes.append("ranges, descriptions and units: give rows with --data, or edit model.json")
    records = _choose_ordinary(signature, X)
    signature = _set_transform_output(model, signature, records)
    _require_one_value(model, signature, records[0])
    signature = infer_by_probing(model, signature, records)
    if needs_rows_alone(model, signature, records):
        signature = msgspec.structs.replace(signature, alone=True)
        notes.append(
            "the model parses a text differently beside other texts, so each row needs a separate "
            "call; pandas.to_datetime(..., format=...) makes arrays and files fast"
        )
    return InferredSignature(_set_ranges(model, signature), notes)


def _set_ranges(model: Any, signature: Signature) -> Signature:
    """Limit numbers to the range beyond which the pipeline raises."""
    try:
        ranges = find_valid_ranges(model, signature)
    except NotAScorecard:
        return signature
    features = tuple(
        msgspec.structs.replace(f, answered=ranges[f.name]) if f.name in ranges else f
        for f in signature.features
    )
    return msgspec.structs.replace(signature, features=features)


def infer_feature_names(model: Any, X: InputRows | None) -> tuple[str, ...]:
    """Return the column names that a model was fitted on, or generate them."""
    names = get_feature_names(model)
    if names is not None:
        return names
    if X is not None:
        return tuple(X.frame.columns)
    dict_names = getattr(_first_step(model), "feature_names_", None)
    if dict_names is not None:
        return tuple(dict.fromkeys(str(name).partition("=")[0] for name in dict_names))
    count = getattr(model, "n_features_in_", None)
    if count is not None:
        return tuple(f"x{i}" for i in range(count))
    if _is_text_vectorizer(_first_step(model)):
        return ("text",)
    raise SlipwayError("the model does not store its columns; give its training rows")


def _first_step(model: Any) -> Any:
    """Return the first step of a pipeline, or the model."""
    model = getattr(model, "best_estimator_", model)
    return model.steps[0][1] if hasattr(model, "steps") else model


def _is_text_vectorizer(step: Any) -> bool:
    """Return whether a step reads a column of texts."""
    return hasattr(step, "build_analyzer")


def _require_usable(names: tuple[str, ...]) -> None:
    """Reject names that forms and files cannot represent."""
    for name in names:
        if _NOT_A_NAME.search(name) or not name.strip():
            problem = "is empty, or holds a quote, a backslash or a control character; rename it"
            raise SlipwayError(f"feature name {name!r} {problem}")


def _infer_features(
    model: Any,
    names: tuple[str, ...],
    uses: InputUses,
    X: InputRows | None,
    notes: list[str],
) -> tuple[Feature, ...]:
    """Infer each feature that the model reads."""
    hints = {name: EncoderHints([use for use in uses if use.feature == name]) for name in names}
    if X is not None:
        return tuple(infer_feature(name, X.frame[name], hints[name]) for name in names)
    features = tuple(infer_from_hints(name, hints[name]) for name in names)
    features = _texts_where_numbers_fail(model, features, hints)
    for feature in features:
        if feature.kind == "number" and hints[feature.name].typical_value is None:
            notes.append(f"{feature.name}: assumed to be a number, with example 1")
    return features


def _texts_where_numbers_fail(
    model: Any, features: tuple[Feature, ...], hints: dict[str, EncoderHints]
) -> tuple[Feature, ...]:
    """Assume that unknown features are texts if the model raises for numbers."""
    texts = tuple(
        Feature(f.name, "text", f.name, "text", nullable=True)
        if f.kind == "number" and hints[f.name].typical_value is None and not f.categories
        else f
        for f in features
    )
    return next((f for f in (features, texts) if _predicts_examples(model, f)), features)


def _predicts_examples(model: Any, features: tuple[Feature, ...]) -> bool:
    """Return whether the model predicts the record of the examples."""
    signature = Signature(features, Target("target", "target"))
    X: Any = build_frame(signature, [tuple(feature.example for feature in features)])
    try:
        predict(model, X if get_feature_names(model) else X.to_numpy())
    except Exception:  # a custom step can raise any error
        return False
    return True


def _input_without_rows(model: Any, signature: Signature) -> Signature:
    """Infer the form of the model's input without rows."""
    first = _first_step(model)
    if hasattr(first, "feature_names_") and hasattr(first, "vocabulary_"):
        texts = {str(n).partition("=")[0] for n in first.feature_names_ if "=" in str(n)}
        features = tuple(
            Feature(f.name, "text", f.name, "text", nullable=True) if f.name in texts else f
            for f in signature.features
        )
        return msgspec.structs.replace(signature, features=features, input="dicts")
    if _is_text_vectorizer(first):
        words = [w for w in getattr(first, "vocabulary_", None) or {} if " " not in w]
        text = Feature("text", "text", "text", " ".join(words[:8]) or "some text", nullable=True)
        return msgspec.structs.replace(signature, features=(text,), input="texts")
    return signature


def _read_names(model: Any, names: tuple[str, ...], X: InputRows | None) -> tuple[str, ...]:
    """Return the columns that the model reads, after a check that it ignores the others."""
    read = find_read_columns(model, names)
    if X is None or len(read) == len(names) or get_feature_names(model) is None:
        return read
    return read if ignores_other_columns(model, X.frame, read) else names


def _choose_ordinary(signature: Signature, X: InputRows | None) -> list[Record]:
    """Return a few ordinary records; the first holds the examples."""
    example: Record = tuple(feature.example for feature in signature.features)
    if X is None:
        return [example]
    sample = X.frame.sample(min(N_ORDINARY, len(X.frame)), random_state=SEED)
    return list(dict.fromkeys([example, *to_records(sample, signature)]))


def _set_transform_output(model: Any, signature: Signature, records: list[Record]) -> Signature:
    """Find the ``transform_output`` setting of scikit-learn under which the model predicts."""
    current = sklearn.get_config()["transform_output"]
    for setting in dict.fromkeys((current, *_OUTPUTS)):
        candidate = msgspec.structs.replace(signature, transform_output=setting)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if any(map(has_prediction, PipelineScorer(model, candidate)(records))):
                return candidate
    return msgspec.structs.replace(signature, transform_output=current)


def _require_one_value(model: Any, signature: Signature, record: Record) -> None:
    """Reject a regressor with several targets."""
    if signature.target.classes:
        return
    X: Any = build_frame(signature, [record])
    try:
        values = predict(model, X if get_feature_names(model) else X.to_numpy())
    except Exception:  # choosing golden rows reports models that never predict
        return
    if values.ndim > 1 and values.shape[1] > 1:
        count = values.shape[1]
        raise SlipwayError(
            f"the model predicts {count} targets; Slipway serves models of one target"
        )
