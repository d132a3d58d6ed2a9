"""Wrappers around a pipeline, texts for missing values in other files, and dates as texts."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
from custom_steps import months_of
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline as make_sampled
from own_models import assert_same_predictions, save_and_serve
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.ensemble import RandomForestClassifier, StackingClassifier, VotingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler


def countries(n=200):
    X = pd.DataFrame({"country": np.resize(["NA", "DE", "US", "None"], n)})
    X["id"] = [f"a{i}" for i in range(n)]
    X["size"] = np.random.default_rng(0).normal(size=n)
    return X, pd.Series(np.where(X["country"] == "NA", "yes", "no"), name="left")


def columns():
    hot = OneHotEncoder(handle_unknown="ignore")
    return make_column_transformer((hot, ["country"]), (StandardScaler(), ["size"]))


def inner():
    return make_pipeline(columns(), LogisticRegression())


WRAPPERS = {
    "sampler": lambda: make_sampled(columns(), RandomOverSampler(), LogisticRegression()),
    "calibrated": lambda: CalibratedClassifierCV(inner(), cv=2),
    "voting": lambda: VotingClassifier([("a", inner()), ("b", inner())], voting="soft"),
    "stacking": lambda: StackingClassifier([("a", inner())], cv=2),
    "one against rest": lambda: OneVsRestClassifier(inner()),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_wrapped_pipeline_keeps_categories_and_unread_columns(tmp_path, wrapper):
    X, y = countries()
    served = save_and_serve(WRAPPERS[wrapper]().fit(X, y), X, y, tmp_path)
    features = {f["name"]: f for f in served.metadata["signature"]["features"]}
    assert features["country"]["kind"] == "category"
    assert set(features) == {"country", "size"}
    assert_same_predictions(served, X.head(12), exact=False)
    assert_same_predictions(served, X.head(2).assign(id=["new", None]), exact=False)


def test_wrapped_regressor_keeps_categories_and_unread_columns(tmp_path):
    X, _ = countries()
    y = X["size"] + 10
    regressor = make_pipeline(columns(), Ridge())
    model = TransformedTargetRegressor(regressor, func=np.log1p, inverse_func=np.expm1)
    served = save_and_serve(model.fit(X, y), X, y, tmp_path)
    assert_same_predictions(served, X.head(12).assign(id=7))


def test_free_text_in_training_is_not_a_missing_value(tmp_path):
    X, y = countries()
    words = make_column_transformer((TfidfVectorizer(token_pattern=r"\S+"), "country"))
    served = save_and_serve(
        make_pipeline(words, RandomForestClassifier(5)).fit(X, y), X, y, tmp_path
    )
    assert_same_predictions(served, X[["country"]].head(8).assign(id="x", size=1.0))


def test_dates_in_several_forms_do_not_change_the_rows_beside_them(tmp_path):
    n = 120
    X = pd.DataFrame({"day": pd.date_range("2025-01-01", periods=n).strftime("%Y-%m-%d")})
    y = (X["day"] < "2025-03-01").astype(int)
    model = make_pipeline(FunctionTransformer(months_of), LogisticRegression()).fit(X, y)
    served = save_and_serve(model, X, y, tmp_path)
    assert served.metadata["signature"]["alone"]
    mixed = pd.DataFrame({"day": ["27.10.2021", *X["day"].head(5), "2021-10-27T10:00:00Z"]})
    assert_same_predictions(served, mixed)


def test_module_beside_the_model_is_imported_if_allowed(tmp_path, monkeypatch):
    from slipway.core.settings import Settings
    from slipway.serving.service import PredictionService

    (tmp_path / "besidemodel.py").write_text("def twice(X):\n    return X * 2\n")
    monkeypatch.setenv("SLIPWAY_PICKLE_ALLOW", "besidemodel:twice")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    from besidemodel import twice  # type: ignore[import-not-found]

    X = pd.DataFrame({"a": np.arange(40.0)})
    model = make_pipeline(FunctionTransformer(twice), Ridge()).fit(X, X["a"])
    import slipway

    slipway.save(model, X, X["a"], tmp_path / "model.pkl")
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(tmp_path)])
    monkeypatch.delitem(sys.modules, "besidemodel")
    live = PredictionService(Settings(model=tmp_path / "model.pkl"))
    assert live.predict_json(b'{"a": 3}')[0] == 200
