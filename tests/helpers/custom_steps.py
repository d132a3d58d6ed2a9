"""Custom pipeline steps, in a module that the service can import."""

from __future__ import annotations

from typing import Any

import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin


class CalendarParts(TransformerMixin, BaseEstimator):
    """A transformer of frames without ``feature_names_in_``."""

    def fit(self, X: Any, y: Any = None) -> CalendarParts:
        return self

    def transform(self, X: Any) -> Any:
        moments = pd.to_datetime(X["day"])
        parts = {"month": moments.dt.month, "weekday": moments.dt.dayofweek}
        return X.drop(columns="day").assign(**parts)


class Selected(TransformerMixin, BaseEstimator):
    """A transformer that selects columns of a frame by name."""

    def __init__(self, names: tuple[str, ...] = ()) -> None:
        self.names = names

    def fit(self, X: Any, y: Any = None) -> Selected:
        return self

    def transform(self, X: Any) -> Any:
        return X[list(self.names)].to_numpy()


def month_of(X: Any) -> Any:
    return pd.to_datetime(X.iloc[:, 0]).dt.month.to_frame()


def codes_of(X: Any) -> Any:
    return X.apply(lambda column: column.cat.codes)


def euros(X: Any) -> Any:
    return X.apply(lambda column: column.str.removeprefix("EUR ").astype(float))


def with_ratio(X: Any) -> Any:
    return X.assign(ratio=X["spend"] / X["age"])


def less_the_mean(X: Any) -> Any:
    return X - X.mean()


def ranks(X: Any) -> Any:
    return X.rank()


def dummies(X: Any) -> Any:
    return pd.get_dummies(X)


def share_within(truth: Any, predicted: Any) -> float:
    return float((truth == predicted).mean())


def months_of(X: Any) -> Any:
    """Return the months of date texts, 0 for other texts; the first one sets the format."""
    return pd.to_datetime(X.iloc[:, 0], errors="coerce").dt.month.fillna(0).to_frame()
