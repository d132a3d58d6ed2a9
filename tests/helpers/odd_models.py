"""Unusual columns, transformers and rows, from which tests generate models."""

from __future__ import annotations

import math
import warnings
from itertools import pairwise

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)

ROWS = 120


def _with_missing(column, draw, share=0.2, missing_value=np.nan):
    column = pd.Series(column)
    return column.mask(draw.random(ROWS) < share, missing_value)


NUMBERS = {
    "normal": lambda draw: draw.normal(3, 2, ROWS),
    "positive": lambda draw: draw.exponential(2, ROWS) + 0.1,
    "constant": lambda draw: np.full(ROWS, 3.0),
    "narrow": lambda draw: np.where(draw.random(ROWS) < 0.5, 3.0, math.nextafter(3.0, 4.0)),
    "large mean": lambda draw: draw.normal(3e12, 1e12, ROWS),
    "small": lambda draw: draw.normal(0, 0.01, ROWS),
    "halves": lambda draw: draw.choice([0.5, 1.0, 2.5], ROWS),
    "whole": lambda draw: draw.integers(0, 6, ROWS),
    "whole, gaps": lambda draw: _with_missing(draw.integers(1, 6, ROWS).astype(float), draw),
    "gaps": lambda draw: _with_missing(draw.normal(3, 2, ROWS), draw),
    "32 bits": lambda draw: draw.normal(3, 2, ROWS).astype("float32"),
}
TEXTS = {
    "three": lambda draw: pd.Series(draw.choice(list("abc"), ROWS), dtype=object),
    "one": lambda draw: pd.Series(["only"] * ROWS, dtype=object),
    "NaN": lambda draw: _with_missing(
        pd.Series(draw.choice(list("abc"), ROWS), dtype=object), draw
    ),
    "None": lambda draw: pd.Series(draw.choice([None, "x", "y"], ROWS, p=[0.5, 0.3, 0.2])),
    "category": lambda draw: pd.Series(draw.choice(list("abc"), ROWS)).astype("category"),
    "never": lambda draw: pd.Series([False] * ROWS),
    "flags": lambda draw: pd.Series(draw.random(ROWS) < 0.4),
}


def _bins(**named):
    return KBinsDiscretizer(4, quantile_method="averaged_inverted_cdf", **named)


def _function(function):
    return lambda: FunctionTransformer(function)


FUNCTIONS = [np.log, np.log1p, np.sqrt, np.exp, np.square, np.abs, np.negative, np.reciprocal]
OF_NUMBERS = {
    "standard": StandardScaler,
    "robust": RobustScaler,
    "min-max": MinMaxScaler,
    "clipped": lambda: MinMaxScaler(clip=True),
    "max-abs": lambda: MaxAbsScaler(clip=True),
    "binary": lambda: Binarizer(threshold=2.0),
    "bins": _bins,
    "ordinal bins": lambda: _bins(encode="ordinal", strategy="uniform"),
    "spline": lambda: SplineTransformer(n_knots=4),
    "spline, error": lambda: SplineTransformer(n_knots=4, extrapolation="error"),
    "spline, linear": lambda: SplineTransformer(degree=1, n_knots=3, extrapolation="linear"),
    "spline, periodic": lambda: SplineTransformer(degree=2, extrapolation="periodic"),
    "spline, continue": lambda: SplineTransformer(degree=2, extrapolation="continue"),
    "power": PowerTransformer,
    "box-cox": lambda: PowerTransformer(method="box-cox"),
    "ranks": lambda: QuantileTransformer(n_quantiles=10),
    "normal ranks": lambda: QuantileTransformer(n_quantiles=10, output_distribution="normal"),
    "powers": lambda: PolynomialFeatures(3, include_bias=False),
    "varied": VarianceThreshold,
    "best": lambda: SelectKBest(k=1),
    "mean": SimpleImputer,
    "told mean": lambda: SimpleImputer(add_indicator=True),
    "gaps": lambda: MissingIndicator(features="all"),
    "common": lambda: SimpleImputer(strategy="most_frequent"),
    "one-hot": lambda: OneHotEncoder(handle_unknown="ignore"),
    "one-hot, error": OneHotEncoder,
    **{function.__name__: _function(function) for function in FUNCTIONS},
    "itself and its log": lambda: FeatureUnion(
        [("x", FunctionTransformer()), ("log", FunctionTransformer(np.log1p))]
    ),
}
OF_TEXTS = {
    "one-hot": lambda: OneHotEncoder(handle_unknown="ignore"),
    "one-hot, error": OneHotEncoder,
    "one-hot, first": lambda: OneHotEncoder(drop="first"),
    "one-hot, rare": lambda: OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=30),
    "ordinal": lambda: OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2
    ),
    "target": lambda: TargetEncoder(random_state=0, cv=2),
    "common, one-hot": lambda: make_pipeline(
        SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")
    ),
    "told, one-hot": lambda: make_pipeline(
        SimpleImputer(strategy="most_frequent", add_indicator=True),
        OneHotEncoder(handle_unknown="ignore"),
    ),
    "None, one-hot": lambda: make_pipeline(
        SimpleImputer(strategy="constant", fill_value="?", missing_values=None),
        OneHotEncoder(handle_unknown="ignore"),
    ),
    "dropped": lambda: "drop",
}
ESTIMATORS = {
    "classes": LogisticRegression,
    "three classes": lambda: OneVsRestClassifier(LogisticRegression()),
    "value": Ridge,
    "count": PoissonRegressor,
}
FAR = [0.0, -0.0, 1.0, -1.0, 2.0, 3.0, 0.5, 2.5, 7.25, -7.25, 1e3, -1e3, 1e6, -1e6, 1e12, 3e12]
FAR += [-1e12, 1e-9, 1e-300, math.nextafter(3.0, 4.0), math.nextafter(3.0, 2.0)]


def chain(steps):
    """Chain steps into one transformer."""
    return make_pipeline(*steps) if len(steps) > 1 else steps[0]


def build(columns, steps, estimator, seed, remainder="drop"):
    """Fit a pipeline on columns; return None if scikit-learn rejects them.

    ``columns`` are names of ``NUMBERS`` or ``TEXTS``; ``steps`` has the step names of each column.
    """
    draw = np.random.default_rng(seed)
    data, parts = {}, []
    for i, (column, own_steps) in enumerate(zip(columns, steps, strict=True)):
        kinds, available = (NUMBERS, OF_NUMBERS) if column in NUMBERS else (TEXTS, OF_TEXTS)
        data[f"f{i}"] = kinds[column](draw)
        parts.append((f"p{i}", chain([available[name]() for name in own_steps]), [f"f{i}"]))
    X = pd.DataFrame({**data, "z": draw.normal(size=ROWS)})
    y = {
        "classes": draw.random(ROWS) < 0.5,
        "three classes": draw.choice(list("uvw"), ROWS),
        "value": draw.normal(size=ROWS),
        "count": draw.poisson(2.0, ROWS),
    }[estimator]
    mixed = ColumnTransformer([*parts, ("z", "passthrough", ["z"])], remainder=remainder)
    model = make_pipeline(mixed, ESTIMATORS[estimator]())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model.fit(X, y)
        except Exception:
            # scikit-learn raises various errors for such columns.
            return None
    return model, X


def odd_values(feature, column):
    """Return values of a feature that are rare in training rows."""
    if feature.kind == "flag":
        return [True, False, None]
    if feature.kind == "category":
        return ["a", "x", "only", "new", "", "A", None]
    known = sorted({float(value) for value in pd.Series(column).dropna()})
    between = [(lower + upper) / 2 for lower, upper in pairwise(known[:40])]
    near = [math.nextafter(value, end) for value in known[::9] for end in (-math.inf, math.inf)]
    return [*FAR, *known[::5], *between[::4], *near, None]


def odd_rows(signature, X):
    """Return records that the signature accepts, each with one unusual value."""
    usual = {feature.name: feature.example for feature in signature.features}
    rows = [
        usual | {feature.name: value}
        for feature in signature.features
        for value in odd_values(feature, X[feature.name])
    ]
    checked = [signature.check(row) for row in rows]
    return [record for record, errors, _ in checked if not errors]
