"""Ask several model versions for the rows held out, a batch at a time."""

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
    """The rows held out, and what each model says about them.

    Attributes
    ----------
    y : ndarray of shape (n_rows,)
        1 for the positive class, else 0.
    groups : ndarray of int of shape (n_rows,)
        From 0 on; every row its own where the problem names no groups.
    answers : dict of str to ndarray of shape (n_rows,)
        By model, the probabilities; NaN where it has none.
    """

    y: Floats
    groups: Integers
    answers: dict[str, Floats]

    @property
    def n_groups(self) -> int:
        """How many groups there are."""
        return int(self.groups.max()) + 1 if len(self.groups) else 0


def predict_holdout(problem: Problem, stored: Dataset, models: Mapping[str, Predictor]) -> Holdout:
    """Ask models for all rows that are held out.

    Parameters
    ----------
    problem : Problem
    stored : Dataset
    models : mapping of str to Predictor
        Each can be asked on these rows, see ``find_rival``.

    Returns
    -------
    Holdout
    """
    features = (name for model in models.values() for name in model.manifest.signature.names)
    group = [problem.group_column] if problem.group_column else []
    columns = [*dict.fromkeys([*features, problem.target_column, *group]), FOLD]
    happened: list[Floats] = []
    groups: list[pa.Array] = []
    answers: dict[str, list[Floats]] = {name: [] for name in models}
    for batch in stored.batches(columns):
        kept = batch.filter(pa.array(np.isin(batch.column(FOLD).to_numpy(), HELD_OUT)))
        happened.append(kept.column(problem.target_column).to_numpy().astype(float))
        groups += [kept.column(name) for name in group]
        for name, model in models.items():
            given = model.score(_records(kept, model.manifest.signature))
            answers[name].append(np.array(given, dtype=float))
    y = _joined(happened)
    return Holdout(y, _codes(groups, len(y)), {name: _joined(its) for name, its in answers.items()})


def _records(batch: pa.RecordBatch, signature: Signature) -> list[Record]:
    """Give rows as the records of a signature."""
    columns = [_values(feature, batch.column(feature.name)) for feature in signature.features]
    return list(zip(*columns, strict=True))


def _values(feature: Feature, column: pa.Array) -> list[Any]:
    """Give a column's values in the type of a checked record, with None for what is missing."""
    given = column.cast(pa.float64()) if feature.kind == "number" else column
    values: list[Any] = given.to_pylist()
    return values


def _joined(pieces: list[Floats]) -> Floats:
    return np.concatenate(pieces) if pieces else np.empty(0)


def _codes(groups: list[pa.Array], n_rows: int) -> Integers:
    """Give each row the number of its group; without groups, its own."""
    if not groups:
        return np.arange(n_rows)
    values = pa.chunked_array(groups).to_pandas()
    codes: Integers = pd.factorize(values, use_na_sentinel=False)[0].astype(np.int64)
    return codes
