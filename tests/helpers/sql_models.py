"""Small models with unusual names, categories and terms, for the tests of SQL."""

from __future__ import annotations

import math

import pandas as pd
from msgspec.structs import replace

from slipway.models.features import Feature, Target
from slipway.models.scorecard import Scorecard, SlopeTerm
from slipway.models.signature import Signature

VALUE = Target("price", "Price", unit="USD")
LINEAR = SlopeTerm("must", 1.0, 0.0, 0.0, 0.0)
NASTY = ["it's", 'x"y', "back`tick", "a b", "select", "(p) [q]", "ünï", "input_1", "a;--b", "%s {}"]
LEVELS = ["'", "''", "\\", "\\'", "\\n", "a\nb", "\n  c", "\t", '"', "🛫", "é", " a", "a", "A", ""]
LEVELS += ["\\u0041", "%", "a--b", "/* c */", "$1", ":x", "?", "{{ d }}", "\\\\", "e\\", "\r\n"]


def variant(manifest, features, *sums, target=None, threshold=None, softmax=False):
    """Return the shipped manifest with other features, sums and target."""
    target = target or Target("late", "Late", ("no", "yes"), "yes")
    signature = Signature(tuple(features), target)
    card = Scorecard(sums, softmax)
    return replace(manifest, signature=signature, scorecard=card, threshold=threshold)


def feature(name, kind="number", **more):
    return Feature(name, kind, "", None, **more)


def frame_of(manifest, records):
    """Return a frame of typed columns with an ``id``."""
    dtypes = {"category": "object", "flag": "boolean"}
    kinds = {field.name: field.kind for field in manifest.signature.features}
    columns = {
        name: pd.Series([record[name] for record in records], dtype=dtypes.get(kind, "float64"))
        for name, kind in kinds.items()
    }
    return pd.DataFrame({"id": range(len(records)), **columns})


def expected_prediction(manifest, record):
    """Return the prediction of the API, or None for a rejected record."""
    checked, errors, _ = manifest.signature.check(record)
    if errors:
        return None
    answer = manifest.scorecard.compile_answers()([checked])[0]
    numbers = answer if isinstance(answer, tuple) else (answer,)
    return numbers if all(map(math.isfinite, numbers)) else None
