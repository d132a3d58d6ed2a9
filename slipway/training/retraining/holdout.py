"""Predict the held out rows with several model versions, batch by batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from slipway.data.dataset import FOLD, HELD_OUT, Dataset
from slipway.data.problem import Problem
from slipway.models.features import Feature, Record
from slipway.models.predictor import Predictor
from slipway.models.signature import Signature
from slipway.training.retraining.bootstrap import Floats, Integers


@dataclass(frozen=True)
class Holdout:
    """The held out rows and the predictions of each model.

    Attributes
    ----------
    y : ndarray of shape (n_rows,)
        1 for the positive class, else 0.
    groups : ndarray of int of shape (n_rows,)
        Numbers from 0; a separate group for each row if the problem has no groups.
    answers : dict of str to ndarray of shape (n_rows,)
        Probabilities by model; NaN without a prediction.
    """

    y: Floats
    groups: Integers
    answers: dict[str, Floats]

    @property
    def n_groups(self) -> int:
        """The number of groups."""
        return int(self.groups.max()) + 1 if len(self.groups) else 0


def predict_holdout(problem: Problem, dataset: Dataset, models: Mapping[str, Predictor]) -> Holdout:
    """Predict all held out rows with each model.

    Parameters
    ----------
    problem : Problem
    dataset : Dataset
    models : mapping of str to Predictor
        Models that can predict these rows; see ``load_champion``.

    Returns
    -------
    Holdout
    """
    features = (name for model in models.values() for name in model.manifest.signature.names)
    group = [problem.group_column] if problem.group_column else []
    columns = [*dict.fromkeys([*features, problem.target_column, *group]), FOLD]
    outcomes: list[Floats] = []
    groups: list[pa.Array] = []
    answers: dict[str, list[Floats]] = {name: [] for name in models}
    for batch in dataset.batches(columns):
        kept = batch.filter(pa.array(np.isin(batch.column(FOLD).to_numpy(), HELD_OUT)))
        outcomes.append(kept.column(problem.target_column).to_numpy().astype(float))
        groups += [kept.column(name) for name in group]
        for name, model in models.items():
            predicted = model.score(_to_records(kept, model.manifest.signature))
            answers[name].append(np.array(predicted, dtype=float))
    y = _concatenate(outcomes)
    return Holdout(
        y,
        _number_groups(groups, len(y)),
        {name: _concatenate(parts) for name, parts in answers.items()},
    )


def _to_records(batch: pa.RecordBatch, signature: Signature) -> list[Record]:
    """Convert rows to records of a signature."""
    columns = [_to_values(feature, batch.column(feature.name)) for feature in signature.features]
    return list(zip(*columns, strict=True))


def _to_values(feature: Feature, column: pa.Array) -> list[Any]:
    """Convert a column to the values of checked records, with None for missing values."""
    converted = column.cast(pa.float64()) if feature.kind == "number" else column
    values: list[Any] = converted.to_pylist()
    return values


def _concatenate(pieces: list[Floats]) -> Floats:
    return np.concatenate(pieces) if pieces else np.empty(0)


def _number_groups(groups: list[pa.Array], n_rows: int) -> Integers:
    """Return the group number of each row; without groups, the row number."""
    if not groups:
        return np.arange(n_rows)
    values = pa.chunked_array(groups).to_pandas()
    codes: Integers = pd.factorize(values, use_na_sentinel=False)[0].astype(np.int64)
    return codes
