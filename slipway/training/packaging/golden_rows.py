"""Choose the golden rows: records with the model's own answers, to be replayed later."""

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
from slipway.training.packaging.probes import has_answer, unseen_value

SEED = 2013
N_GOLDEN = 24
# Long texts and many features make long manifests.
MOST_TEXT = 2_000


def golden_rows(
    signature: Signature, model: Any, X: pd.DataFrame | None, *, public: bool = False
) -> tuple[GoldenRow, ...]:
    """Choose records with the model's own answers: ordinary, with gaps, unseen and extreme.

    The pages of a service show them, so that they are nobody's: the first is that of the
    signature's examples, and each of the others has its values from several rows.

    Parameters
    ----------
    signature : Signature
    model : estimator
    X : DataFrame of shape (n_samples, n_features), optional
        Rows to choose from; without them, values are made up.
    public : bool
        Whether the rows may be shown as they are.

    Returns
    -------
    tuple of GoldenRow
    """
    chosen = invented(signature)
    if X is not None:
        sample = X.sample(min(N_GOLDEN, len(X)), random_state=SEED)
        chosen = to_records(sample if public else mixed(sample), signature)
    odd = zip(
        *(_oddities(f, v) for f, v in zip(signature.features, chosen[0], strict=True)), strict=True
    )
    # A single odd value more often passes where a pipeline refuses them all at once.
    single = [
        (*chosen[0][:i], None, *chosen[0][i + 1 :])
        for i, feature in enumerate(signature.features)
        if feature.nullable
    ]
    example = tuple(feature.example for feature in signature.features)
    records = [
        _short(signature, r) for r in dict.fromkeys([example, *chosen, *single[:N_GOLDEN], *odd])
    ]
    records = [r for r in records if not signature.check(_carried(signature, r))[1]]
    scorer = PipelineScorer(model, signature)
    together, alone = scorer(records), [scorer([record])[0] for record in records]
    # An iterative imputer, for one, answers a row of nothing but gaps by the rows beside it.
    return tuple(
        golden_row(signature, record, answer)
        for record, answer, other in zip(records, alone, together, strict=True)
        if has_answer(answer) and _alike(signature, answer, other)
    )


def _alike(signature: Signature, one: Answer, other: Answer) -> bool:
    """Whether two answers are the same but for their last bits."""
    tolerance = prediction_tolerance(signature)
    return bool(np.allclose(one, other, rtol=tolerance, atol=tolerance))


def golden_row(signature: Signature, record: Record, answer: Answer) -> GoldenRow:
    """Write down a record, its answer and the label that ``predict`` returns for it."""
    target = signature.target
    label = Labels(target).name(answer) if target.classes else None
    return GoldenRow(_carried(signature, record), without_label(answer), label)


def _short(signature: Signature, record: Record) -> Record:
    """Cut free texts, which can be long."""
    pairs = zip(signature.features, record, strict=True)
    return tuple(v[:MOST_TEXT] if f.kind == "text" and isinstance(v, str) else v for f, v in pairs)


def _carried(signature: Signature, record: Record) -> dict[str, Value]:
    """Return a record as JSON carries it, which knows no infinities."""
    infinite = {math.inf: "Infinity", -math.inf: "-Infinity"}
    values = [infinite.get(v, v) if isinstance(v, float) else v for v in record]
    return dict(zip(signature.names, values, strict=True))


def mixed(X: pd.DataFrame) -> pd.DataFrame:
    """Give each row its values from several rows: every column is shuffled by itself."""
    columns = [
        _mixed_words(X[name].sample(frac=1.0, random_state=SEED + i).reset_index(drop=True))
        for i, name in enumerate(X.columns)
    ]
    return pd.concat(columns, axis=1)


def _mixed_words(column: pd.Series[Any]) -> pd.Series[Any]:
    """Give each text of several words its words from several texts."""
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


def invented(signature: Signature) -> list[Record]:
    """Make up records around the examples, where there are no rows to choose from."""
    draw = random.Random(SEED)  # noqa: S311 - nothing secret
    example = tuple(feature.example for feature in signature.features)
    others = (tuple(_varied(f, draw) for f in signature.features) for _ in range(N_GOLDEN - 1))
    return [example, *others]


def _varied(feature: Feature, draw: random.Random) -> Value:
    """Make up one value."""
    if feature.categories:
        return draw.choice(feature.categories)
    if feature.kind == "flag":
        return draw.random() < 0.5
    if feature.kind not in NUMERIC_KINDS:
        return feature.example
    middle = float(feature.example or 0.0)
    low, high = feature.seen or (middle - abs(middle), middle + max(abs(middle), 1.0))
    number = draw.uniform(low, high)
    return round(number) if feature.is_integer_column else number


def _oddities(feature: Feature, ordinary: Value) -> tuple[Value, ...]:
    """Give the upper end, a gap, an unseen category, the lower end, where the feature has them."""
    gap = None if feature.nullable else ordinary
    unseen: Value = ordinary
    if feature.categories and not feature.closed:
        unseen = "never seen" if feature.kind == "category" else unseen_value(feature)
    low, high = feature.training_range if feature.kind == "number" else (None, None)
    ends = [e if e is None or not feature.is_integer_column else int(e) for e in (high, low)]
    return ordinary if high is None else ends[0], gap, unseen, ordinary if low is None else ends[1]
