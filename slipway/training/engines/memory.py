"""Fit a problem's pipeline or its references in memory."""

from __future__ import annotations

import warnings
from typing import Any

from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OrdinalEncoder
from threadpoolctl import threadpool_limits

from slipway.core.errors import SlipwayError
from slipway.data.problem import Problem, field_errors
from slipway.training.engines.selection import Estimator
from slipway.training.frames import Rows
from slipway.training.packaging.golden_rows import SEED
from slipway.training.splits import Split

# The limit of HistGradientBoostingClassifier for one feature is 255.
MAX_CATEGORIES = 250


def fit(problem: Problem, rows: Rows, split: Split, estimator: Estimator = "logistic") -> Pipeline:
    """Fit a pipeline in memory on one side of a split."""
    # The number of threads changes the rounding of sums, and so the hash in the version's name.
    with warnings.catch_warnings(), threadpool_limits(1, user_api="blas"):
        # Several quantiles of rain are equal because most hours are dry.
        warnings.filterwarnings("ignore", "Bins whose width are too small", UserWarning)
        pipeline = build_pipeline(problem, estimator)
        return pipeline.fit(rows.X.iloc[split.fit], rows.y.iloc[split.fit])


def build_pipeline(problem: Problem, estimator: Estimator) -> Pipeline:
    """Build the unfitted pipeline.

    Parameters
    ----------
    problem : Problem
    estimator : {"logistic", "xgboost"}
        The problem's own pipeline, or XGBoost on the same columns.

    Returns
    -------
    Pipeline
    """
    if estimator != "logistic":
        return build_xgboost(problem)
    with field_errors("pipeline"):
        pipeline = problem.pipeline()
    if not hasattr(pipeline, "fit"):
        raise SlipwayError(f"the problem's pipeline() must return a Pipeline, not {pipeline!r}")
    return pipeline


def build_boosting(problem: Problem) -> Pipeline:
    """Build the upper reference: gradient boosting, which can use interactions."""
    columns, n_texts = _encode_texts(problem)
    trees = HistGradientBoostingClassifier(
        categorical_features=list(range(n_texts)), max_iter=300, random_state=SEED
    )
    return make_pipeline(columns, trees)


def build_xgboost(problem: Problem) -> Pipeline:
    """Build XGBoost's gradient boosting, which handles missing numbers at each split.

    Raises
    ------
    SlipwayError
        XGBoost is not installed.
    """
    try:
        from xgboost import XGBClassifier
    except ImportError as error:
        raise SlipwayError("XGBoost is not installed: pip install xgboost-cpu") from error
    columns, n_texts = _encode_texts(problem)
    types = ["c"] * n_texts + ["q"] * (len(problem.features) - n_texts)
    settings: dict[str, Any] = {"n_estimators": 300, "learning_rate": 0.1, "max_depth": 6}
    trees = XGBClassifier(
        **settings,
        tree_method="hist",
        enable_categorical=True,
        feature_types=types,
        random_state=SEED,
        n_jobs=1,
    )
    return make_pipeline(columns, trees)


def _encode_texts(problem: Problem) -> tuple[ColumnTransformer, int]:
    """Build a transformer that encodes categories as numbers and keeps other columns."""
    texts = [feature.name for feature in problem.features if feature.kind == "category"]
    encoder = OrdinalEncoder(
        handle_unknown="use_encoded_value",
        unknown_value=float("nan"),
        max_categories=MAX_CATEGORIES,
    )
    return make_column_transformer((encoder, texts), remainder="passthrough"), len(texts)
