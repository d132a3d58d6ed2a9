"""Models of other libraries load through the allowlist; missing libraries are skipped."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from slipway.models.unpickling.pickles import load_pickle

RANDOM = np.random.default_rng(0)
X = pd.DataFrame(
    {
        "plan": RANDOM.choice(list("abcd"), 200),
        "x": RANDOM.normal(size=200),
        "z": RANDOM.random(200),
    }
)
Y = (RANDOM.random(200) > 0.5).astype(int)
NUMBERS = X[["x", "z"]]
CATEGORIES = X.astype({"plan": "category"})


def xgboost(library):
    yield library.XGBClassifier(n_estimators=3), NUMBERS
    yield library.XGBRFClassifier(n_estimators=3), NUMBERS
    yield library.XGBClassifier(n_estimators=3, enable_categorical=True), CATEGORIES


def lightgbm(library):
    yield library.LGBMClassifier(n_estimators=3, verbose=-1), NUMBERS
    yield library.LGBMClassifier(n_estimators=3, verbose=-1), CATEGORIES


def catboost(library):
    options = {"iterations": 3, "verbose": 0, "allow_writing_files": False}
    yield library.CatBoostClassifier(**options), NUMBERS
    yield library.CatBoostClassifier(cat_features=["plan"], **options), X
    yield make_pipeline(StandardScaler(), library.CatBoostClassifier(**options)), NUMBERS


def imblearn(library):
    from imblearn import ensemble, over_sampling, pipeline, under_sampling

    samplers = [over_sampling.SMOTE(), over_sampling.RandomOverSampler()]
    samplers += [under_sampling.RandomUnderSampler(), under_sampling.TomekLinks()]
    for sampler in samplers:
        yield pipeline.make_pipeline(StandardScaler(), sampler, LogisticRegression()), NUMBERS
    yield ensemble.BalancedRandomForestClassifier(3), NUMBERS
    yield ensemble.RUSBoostClassifier(n_estimators=3), NUMBERS


def category_encoders(library):
    for name in dir(library):
        if name.endswith("Encoder"):
            encoder = getattr(library, name)(cols=["plan"])
            yield make_pipeline(encoder, LogisticRegression()), X


def feature_engine(library):
    from feature_engine import creation, discretisation, encoding, imputation, outliers

    for step in (
        encoding.OneHotEncoder(variables=["plan"]),
        encoding.MeanEncoder(variables=["plan"]),
        encoding.WoEEncoder(variables=["plan"]),
        encoding.OrdinalEncoder(variables=["plan"]),
    ):
        yield make_pipeline(step, LogisticRegression()), X
    for step in (
        imputation.MeanMedianImputer(),
        discretisation.EqualFrequencyDiscretiser(),
        outliers.Winsorizer(),
        creation.MathFeatures(variables=["x", "z"], func=["mean", "sum"]),
    ):
        yield make_pipeline(step, LogisticRegression()), NUMBERS


def skrub(library):
    yield make_pipeline(library.TableVectorizer(), LogisticRegression()), X
    yield library.tabular_pipeline("classifier"), X
    yield make_pipeline(library.SelectCols(["x", "z"]), LogisticRegression()), X


def optbinning(library):
    process = library.BinningProcess(["x", "z"])
    yield make_pipeline(process, LogisticRegression()), NUMBERS


LIBRARIES = [xgboost, lightgbm, catboost, imblearn, category_encoders, feature_engine]
LIBRARIES += [skrub, optbinning]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("models", LIBRARIES, ids=lambda models: models.__name__)
def test_load_pickle_library_models_predict_as_before(models):
    for model, rows in models(pytest.importorskip(models.__name__)):
        model.fit(rows, Y)
        opened = load_pickle(pickle.dumps(model), {})
        np.testing.assert_array_equal(opened.predict_proba(rows), model.predict_proba(rows))
