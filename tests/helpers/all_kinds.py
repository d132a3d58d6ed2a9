"""A model with a feature of every kind, for the tests of the pages and the API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from custom_steps import codes_of, month_of
from own_models import start_check_in_process
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder

import slipway

WORDS = ["late", "broken", "refund", "thanks", "friendly", "parcel", "never", "again"]
SIZES = ["small", "medium", "large"]
PLACES = 300


def orders(count: int = 600, seed: int = 7) -> tuple[pd.DataFrame, pd.Series[Any]]:
    """Return generated orders, and whether each order was returned."""
    draw = np.random.default_rng(seed)
    ordered = pd.CategoricalDtype(SIZES, ordered=True)
    columns = {
        "customer": [f"customer {i:05d}" for i in range(count)],
        "remark": [" ".join(draw.choice(WORDS, 4)) for _ in range(count)],
        "ordered_at": pd.Timestamp("2025-01-01 08:30") + pd.to_timedelta(np.arange(count), "h"),
        "size": pd.Categorical(draw.choice(SIZES, count), dtype=ordered),
        "visits": draw.integers(0, 30, count),
        "amount": draw.gamma(2.0, 40.0, count).round(2),
        "gift": np.zeros(count, dtype=bool),
        "coupon": draw.choice(["", "SPRING", "NA"], count),
        "payment": draw.choice(["card", "invoice"], count),
        "place": [f"Place {i % PLACES:04d}" for i in range(count)],
        "rating": np.full(count, np.nan),
    }
    X = pd.DataFrame(columns)
    score = X["remark"].str.contains("broken") + 0.02 * (X["amount"] - 80) - 0.1 * X["visits"]
    return X, pd.Series((score + draw.normal(0, 1, count) > 0).astype(int), name="returned")


def fitted(X: pd.DataFrame, y: Any) -> Pipeline:
    """Fit a pipeline that reads all columns but the customer's name."""
    one_hot = OneHotEncoder(handle_unknown="ignore")
    month = make_pipeline(FunctionTransformer(month_of), "passthrough")
    steps = [
        ("words", TfidfVectorizer(), "remark"),
        ("month", month, ["ordered_at"]),
        ("size", FunctionTransformer(codes_of), ["size"]),
        ("free", one_hot, ["gift", "coupon"]),
        ("closed", OneHotEncoder(), ["payment"]),
        ("place", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["place"]),
        ("numbers", "passthrough", ["visits", "amount"]),
        ("rating", SimpleImputer(keep_empty_features=True), ["rating"]),
    ]
    columns = ColumnTransformer(steps, sparse_threshold=0)
    model = HistGradientBoostingClassifier(max_iter=10, random_state=0)
    return make_pipeline(columns, model).fit(X, y)


def save_all_kinds(folder: Path) -> tuple[Any, pd.DataFrame]:
    """Save the model; return it with the rows that it was fitted on."""
    X, y = orders()
    model = fitted(X, y)
    with start_check_in_process():
        slipway.save(model, X, y, folder / "model.pkl", title="Will the order come back?")
    return model, X
