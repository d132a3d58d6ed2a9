"""Choose the golden rows: records with the model's own predictions, replayed at every load."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pandas as pd

from slipway.models.features import Answer, Feature, Record, Value
from slipway.models.labels import Labels, without_label
from slipway.models.manifest import GoldenRow
from slipway.models.pipeline_engine import PipelineScorer
from slipway.models.predictor import prediction_tolerance
from slipway.models.signature import Signature
from slipway.models.validation import NUMERIC_KINDS
from slipway.training.packaging.columns import to_records
from slipway.training.packaging.probes import has_prediction, make_unseen_value

SEED = 2013
N_GOLDEN = 24
# Keeps the manifest small.
MAX_TEXT_LENGTH = 2_000


def choose_golden_rows(
    signature: Signature, model: Any, X: pd.DataFrame | None, *, public: bool = False
) -> tuple[GoldenRow, ...]:
    """Choose ordinary, missing, unseen and extreme records with the model's predictions.

    The pages of a service show these records, so they must not reveal training rows. The first
    holds the signature's examples. Each of the others combines values from several rows.

    Parameters
    ----------
    signature : Signature
    model : estimator
    X : DataFrame of shape (n_samples, n_features), optional
        Rows to choose from; without them, values are generated.
    public : bool
        Use the rows unchanged.

    Returns
    -------
    tuple of GoldenRow
    """
    chosen = generate_records(signature)
    if X is not None:
        sample = X.sample(min(N_GOLDEN, len(X)), random_state=SEED)
        chosen = to_records(sample if public else shuffle_columns(sample), signature)
    edge_records = zip(
        *(_list_edge_values(f, v) for f, v in zip(signature.features, chosen[0], strict=True)),
        strict=True,
    )
    # A pipeline that rejects a record of edge values may still accept a single missing value.
    missing_records = [
        (*chosen[0][:i], None, *chosen[0][i + 1 :])
        for i, feature in enumerate(signature.features)
        if feature.nullable
    ]
    example = tuple(feature.example for feature in signature.features)
    records = [
        _truncate_texts(signature, r)
        for r in dict.fromkeys([example, *chosen, *missing_records[:N_GOLDEN], *edge_records])
    ]
    records = [r for r in records if not signature.check(_to_json_record(signature, r))[1]]
    scorer = PipelineScorer(model, signature)
    in_batch, alone = scorer(records), [scorer([record])[0] for record in records]
    # An iterative imputer, for example, fills a row of missing values from the rows beside it.
    return tuple(
        make_golden_row(signature, record, answer)
        for record, answer, other in zip(records, alone, in_batch, strict=True)
        if has_prediction(answer) and _predictions_match(signature, answer, other)
    )


def _predictions_match(signature: Signature, first: Answer, second: Answer) -> bool:
    """Return whether two predictions are equal up to rounding."""
    tolerance = prediction_tolerance(signature)
    return bool(np.allclose(first, second, rtol=tolerance, atol=tolerance))


def make_golden_row(signature: Signature, record: Record, answer: Answer) -> GoldenRow:
    """Build a golden row from a record and its prediction."""
    target = signature.target
    label = Labels(target).name(answer) if target.classes else None
    return GoldenRow(_to_json_record(signature, record), without_label(answer), label)


def _truncate_texts(signature: Signature, record: Record) -> Record:
    """Truncate free texts."""
    pairs = zip(signature.features, record, strict=True)
    return tuple(
        v[:MAX_TEXT_LENGTH] if f.kind == "text" and isinstance(v, str) else v for f, v in pairs
    )


def _to_json_record(signature: Signature, record: Record) -> dict[str, Value]:
    """Convert a record to JSON values, with infinities as texts."""
    infinite = {math.inf: "Infinity", -math.inf: "-Infinity"}
    values = [infinite.get(v, v) if isinstance(v, float) else v for v in record]
    return dict(zip(signature.names, values, strict=True))


def shuffle_columns(X: pd.DataFrame) -> pd.DataFrame:
    """Shuffle every column on its own, so that each row combines several rows."""
    columns = [
        _shuffle_words(X[name].sample(frac=1.0, random_state=SEED + i).reset_index(drop=True))
        for i, name in enumerate(X.columns)
    ]
    return pd.concat(columns, axis=1)


def _shuffle_words(column: pd.Series[Any]) -> pd.Series[Any]:
    """Shuffle the words between the texts of a column."""
    if (
        not pd.api.types.is_object_dtype(column.dtype)
        or not column.map(lambda v: isinstance(v, str)).all()
    ):
        return column
    words = [text.split(" ") for text in column]
    if sum(map(len, words)) < 3 * len(words):
        return column
    count = len(words)
    texts = [
        " ".join(words[(row + k) % count][k % len(words[(row + k) % count])] for k in range(length))
        for row, length in enumerate(map(len, words))
    ]
    return pd.Series(texts, name=column.name, dtype=object)


def generate_records(signature: Signature) -> list[Record]:
    """Generate records around the signature's examples."""
    rng = random.Random(SEED)  # noqa: S311 - not for security
    example = tuple(feature.example for feature in signature.features)
    others = (
        tuple(_generate_value(f, rng) for f in signature.features) for _ in range(N_GOLDEN - 1)
    )
    return [example, *others]


def _generate_value(feature: Feature, rng: random.Random) -> Value:
    """Generate one value."""
    if feature.categories:
        return rng.choice(feature.categories)
    if feature.kind == "flag":
        return rng.random() < 0.5
    if feature.kind not in NUMERIC_KINDS:
        return feature.example
    middle = float(feature.example or 0.0)
    low, high = feature.seen or (middle - abs(middle), middle + max(abs(middle), 1.0))
    number = rng.uniform(low, high)
    return round(number) if feature.is_integer_column else number


def _list_edge_values(feature: Feature, ordinary: Value) -> tuple[Value, ...]:
    """List the upper end, a missing value, an unseen category and the lower end."""
    missing = None if feature.nullable else ordinary
    unseen: Value = ordinary
    if feature.categories and not feature.closed:
        unseen = "never seen" if feature.kind == "category" else make_unseen_value(feature)
    low, high = feature.training_range if feature.kind == "number" else (None, None)
    ends = [e if e is None or not feature.is_integer_column else int(e) for e in (high, low)]
    return (
        ordinary if high is None else ends[0],
        missing,
        unseen,
        ordinary if low is None else ends[1],
    )
